// y = x moved to the nearest point of its channel's grid, half up. x is [C, length].
//% include "common/index.wgsl"
//% include "quant/grid.wgsl"
//% include "quant/round.wgsl"

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> grids: array<Grid>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;
// length is a channel's, in elements of x (four values each with `vectors`).
struct Params { length: u32, stride: u32 }
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(/*{ size }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
//% if per_channel
  // Workgroups: x = along the channel, y = channel; no division is needed to know which.
  if (id.x >= params.length) { return; }
  let i = id.y * params.length + id.x;
  y[i] = rounded(x[i], grids[id.y]);
//% else
  let first = linear_index(id, groups, /*{ size }*/u);
  // The last workgroup reaches into what the first invocations take on their second turn.
  if (first >= params.stride) { return; }
  let grid = grids[0];
//% for u in range(unroll)
  {
    let i = first + /*{ u }*/u * params.stride;
    if (i < params.length) { y[i] = rounded(x[i], grid); }
  }
//% endfor
//% endif
}
