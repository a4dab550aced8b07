// Ends a training step's forward: mean loss and number of hits go into the history, and a loss that is not
// finite raises the flag that keeps the optimizer from touching the parameters.
const capacity = /*{ capacity }*/u;

@group(0) @binding(0) var<storage, read> losses: array<f32>;
@group(0) @binding(1) var<storage, read> hits: array<u32>;
// [loss, hits] of the last `capacity` steps, as a ring.
@group(0) @binding(2) var<storage, read_write> history: array<vec2<f32>>;
// progress: [batch of the epoch, step, halted].
@group(0) @binding(3) var<storage, read_write> progress: array<u32>;
struct Params { rows: u32 }
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  var loss = 0.0;
  var hit = 0u;
  for (var i = 0u; i < params.rows; i++) {
    loss += losses[i];
    hit += hits[i];
  }
  loss /= f32(params.rows);
  // A NaN or an infinity has all exponent bits set; WGSL may assume that neither exists, so look at the bits.
  if ((bitcast<u32>(loss) & 0x7f800000u) == 0x7f800000u) { progress[2] = 1u; }
  history[progress[1] % capacity] = vec2(loss, f32(hit));
  if (progress[2] == 0u) {
    progress[0] += 1u;
    progress[1] += 1u;
  }
}
