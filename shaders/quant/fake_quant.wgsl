// y = x moved to the nearest point of its channel's grid, half up. x is [C, length].
//% include "common/index.wgsl"
//% include "quant/grid.wgsl"

//% if vectors
alias Value = vec4<f32>;
//% else
alias Value = f32;
//% endif
@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> grids: array<Grid>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;
// count and length are in elements of x (four values each with `vectors`).
struct Params { count: u32, length: u32, stride: u32 }
@group(0) @binding(3) var<uniform> params: Params;

fn quantize(value: Value, grid: Grid) -> Value {
  let inside = clamp(value, Value(grid.lo), Value(grid.hi));
  let index = floor((inside - grid.lo) / grid.scale + 0.5);
  let rounded = index * grid.scale + grid.lo;
  return select(select(rounded, Value(0.0), grid.action == vanishes), value, grid.action == passes);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let first = linear_index(id, groups, 64u);
  // The last workgroup reaches into what the first invocations take on their second turn.
  if (first >= params.stride) { return; }
//% if not per_channel
  let grid = grids[0];
//% endif
//% for u in range(unroll)
  {
    let i = first + /*{ u }*/u * params.stride;
    if (i < params.count) {
//% if per_channel
      let grid = grids[i / params.length];
//% endif
      y[i] = quantize(x[i], grid);
    }
  }
//% endfor
}
