// Max pooling of [N, C, H, W] planes; keeps the place of each maximum (the first of equals) for the backward.
// With `relu`, the result is also cut at zero: relu(max(x)) = max(relu(x)), and this reads the planes once.
// Extents are constants: a division by a number known in advance is a multiplication.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read_write> places: array<u32>;
struct Params { planes: u32 }
@group(0) @binding(3) var<uniform> params: Params;
const height = /*{ height }*/u;
const width = /*{ width }*/u;
const out_width = /*{ out_width }*/u;
const out_area = /*{ out_height * out_width }*/u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.planes * out_area) { return; }
  let top = i32((i % out_area) / out_width * /*{ stride_y }*/u) - /*{ pad_top }*/;
  let left = i32(i % out_width * /*{ stride_x }*/u) - /*{ pad_left }*/;
  let base = i / out_area * (height * width);
  var best = 0.0;
  var place = 0xffffffffu;
//% for ky in range(kernel_y)
//% for kx in range(kernel_x)
  {
    let row = top + /*{ ky }*/;
    let column = left + /*{ kx }*/;
//% if pad_top > 0 or pad_left > 0
    // A negative place is a large number without its sign.
    if ((u32(row) < height) & (u32(column) < width))
//% endif
    {
      let at = u32(row) * width + u32(column);
      let value = x[base + at];
      if ((place == 0xffffffffu) | (value > best)) { best = value; place = at; }
    }
  }
//% endfor
//% endfor
//% if relu
  best = max(best, 0.0);
//% endif
  y[i] = best;
  places[i] = place;
}
