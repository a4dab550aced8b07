// Smallest and largest value of each channel, in pieces: [C, length] -> [C, pieces, 2]. `update_range` joins
// the pieces; of a channel whose range stands still it looks at none, and none is written.
//% include "common/counter.wgsl"

//% if vectors
alias Value = vec4<f32>;
//% else
alias Value = f32;
//% endif
@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> steps: array<u32>;
@group(0) @binding(2) var<storage, read_write> pieces: array<vec2<f32>>;
// length is in elements of x (four values each with `vectors`).
struct Params { length: u32, pieces: u32, freeze: u32 }
@group(0) @binding(3) var<uniform> params: Params;

// Workgroups: x = pieces, y = channel.
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if ((id.x >= params.pieces) | stands_still(steps[id.y], params.freeze)) { return; }
  let base = id.y * params.length;
  // Neighbours take neighbouring elements, so that loads coalesce.
  let first = id.x;
  var low = x[base + first];
  var high = low;
  for (var k = first + params.pieces; k < params.length; k += params.pieces) {
    let value = x[base + k];
    low = min(low, value);
    high = max(high, value);
  }
//% if vectors
  pieces[id.y * params.pieces + id.x] = vec2(min(min(low.x, low.y), min(low.z, low.w)), max(max(high.x, high.y), max(high.z, high.w)));
//% else
  pieces[id.y * params.pieces + id.x] = vec2(low, high);
//% endif
}
