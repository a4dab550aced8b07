// Gradient of fake quantization: passes where x lies within the grid, both ends included (Jacob et al. 2018).
//% include "common/index.wgsl"
//% include "quant/grid.wgsl"

//% if vectors
alias Value = vec4<f32>;
//% else
alias Value = f32;
//% endif
@group(0) @binding(0) var<storage, read> dy: array<Value>;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> grids: array<Grid>;
@group(0) @binding(3) var<storage, read_write> dx: array<Value>;
struct Params { length: u32, stride: u32 }
@group(0) @binding(4) var<uniform> params: Params;

fn pass_through(gradient: Value, value: Value, grid: Grid) -> Value {
  let inside = (value >= Value(grid.lo)) & (value <= Value(grid.hi));
  return select(select(Value(0.0), gradient, inside), gradient, grid.action == passes);
}

@compute @workgroup_size(/*{ size }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
//% if per_channel
  // Workgroups: x = along the channel, y = channel; no division is needed to know which.
  if (id.x >= params.length) { return; }
  let i = id.y * params.length + id.x;
  dx[i] = pass_through(dy[i], x[i], grids[id.y]);
//% else
  let first = linear_index(id, groups, /*{ size }*/u);
  // The last workgroup reaches into what the first invocations take on their second turn.
  if (first >= params.stride) { return; }
  let grid = grids[0];
//% for u in range(unroll)
  {
    let i = first + /*{ u }*/u * params.stride;
    if (i < params.length) { dx[i] = pass_through(dy[i], x[i], grid); }
  }
//% endfor
//% endif
}
