// Gradient of fake quantization: passes where x lies within the grid, both ends included (Jacob et al. 2018).
//% include "common/index.wgsl"
//% include "quant/grid.wgsl"

//% if vectors
alias Value = vec4<f32>;
//% else
alias Value = f32;
//% endif
@group(0) @binding(0) var<storage, read> y_grad: array<Value>;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> grids: array<Grid>;
@group(0) @binding(3) var<storage, read_write> x_grad: array<Value>;
struct Params { length: u32, stride: u32 }
@group(0) @binding(4) var<uniform> params: Params;

fn pass_through(gradient: Value, value: Value, grid: Grid) -> Value {
  let inside = (value >= Value(grid.lo)) & (value <= Value(grid.hi));
  return select(select(Value(0.0), gradient, inside), gradient, grid.action == passes);
}

//% if per_channel
// A workgroup owns a channel: many short workgroups cost more than a few that go around.
@compute @workgroup_size(/*{ size }*/)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let grid = grids[group.x];
  let base = group.x * params.length;
  for (var k = lane; k < params.length; k += /*{ size }*/u) {
    let i = base + k;
    x_grad[i] = pass_through(y_grad[i], x[i], grid);
  }
}
//% else
@compute @workgroup_size(/*{ size }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let first = linear_index(id, groups, /*{ size }*/u);
  // The last workgroup reaches into what the first invocations take on their second turn.
  if (first >= params.stride) { return; }
  let grid = grids[0];
//% for u in range(unroll)
  {
    let i = first + /*{ u }*/u * params.stride;
    if (i < params.length) { x_grad[i] = pass_through(y_grad[i], x[i], grid); }
  }
//% endfor
}
//% endif
