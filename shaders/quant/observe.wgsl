// Smallest and largest value of each channel, in pieces: [C, length] -> [C, pieces, 2]. `update_range` joins
// the pieces.
//% include "common/index.wgsl"

//% if vectors
alias Value = vec4<f32>;
//% else
alias Value = f32;
//% endif
@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> pieces: array<vec2<f32>>;
// length is in elements of x (four values each with `vectors`).
struct Params { channels: u32, length: u32, pieces: u32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 8u);
  if (i >= params.channels * params.pieces) { return; }
  let base = i / params.pieces * params.length;
  // Neighbours take neighbouring elements, so that loads coalesce.
  let first = i % params.pieces;
  var low = x[base + first];
  var high = low;
  for (var k = first + params.pieces; k < params.length; k += params.pieces) {
    let value = x[base + k];
    low = min(low, value);
    high = max(high, value);
  }
//% if vectors
  pieces[i] = vec2(min(min(low.x, low.y), min(low.z, low.w)), max(max(high.x, high.y), max(high.z, high.w)));
//% else
  pieces[i] = vec2(low, high);
//% endif
}
