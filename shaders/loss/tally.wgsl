// Ends a pass's forward: mean loss and numbers of hits go into the history of its step, and a loss that is not
// finite raises the flag that keeps the optimizer from touching the parameters.
const capacity = /*{ capacity }*/u;

@group(0) @binding(0) var<storage, read> losses: array<f32>;
// How many classes come before each row's label.
@group(0) @binding(1) var<storage, read> ranks: array<u32>;
// [loss, hits, hits among the first five, norm of the gradients] of the last `capacity` steps, as a ring.
@group(0) @binding(2) var<storage, read_write> history: array<vec4<f32>>;
// progress: [batch of the epoch, step, halted, passes of the step that are done].
@group(0) @binding(3) var<storage, read_write> progress: array<u32>;
struct Params { rows: u32, passes: u32 }
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(1)
fn main() {
  // What is there shows what happened.
  if (progress[2] != 0u) { return; }
  var loss = 0.0;
  var hits = vec2(0u, 0u);
  for (var i = 0u; i < params.rows; i++) {
    loss += losses[i];
    hits += select(vec2(0u, 0u), vec2(1u, 1u), vec2(ranks[i]) < vec2(1u, 5u));
  }
  loss /= f32(params.rows);
  // A NaN or an infinity has all exponent bits set; WGSL may assume that neither exists, so look at the bits.
  if ((bitcast<u32>(loss) & 0x7f800000u) == 0x7f800000u) { progress[2] = 1u; }
  // A count that is full is the step's before.
  let before = select(progress[3], 0u, progress[3] >= params.passes);
  let place = progress[1] % capacity;
  var entry = vec4(loss / f32(params.passes), vec2<f32>(hits), 0.0);
  if (before > 0u) { entry += history[place]; }
  history[place] = entry;
  if (progress[2] == 0u) {
    progress[0] += 1u;
    progress[3] = before + 1u;
    if (before + 1u == params.passes) { progress[1] += 1u; }
  }
}
