// Gradient of max pooling: each input gathers from the windows whose maximum it was, so nothing is added
// atomically and the order of summation is fixed. With `relu`, windows that were cut at zero pass nothing.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> y_grad: array<f32>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
//% if relu
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> x_grad: array<f32>;
//% else
@group(0) @binding(2) var<storage, read_write> x_grad: array<f32>;
//% endif
struct Params { planes: u32 }
//% if relu
@group(0) @binding(4) var<uniform> params: Params;
//% else
@group(0) @binding(3) var<uniform> params: Params;
//% endif

// Extents of the unpooled and of the pooled plane; constants, since divisions are dear.
const height = /*{ height }*/u;
const width = /*{ width }*/u;
const out_height = /*{ out_height }*/u;
const out_width = /*{ out_width }*/u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  let area = height * width;
  if (i >= params.planes * area) { return; }
  let plane = i / area;
  let at = i % area;
  let row = at / width + /*{ pad_top }*/u;
  let column = at % width + /*{ pad_left }*/u;
  let window_y = row / /*{ stride_y }*/u;
  let window_x = column / /*{ stride_x }*/u;
  // Windows that can reach a pixel are few and known: written out, they are loaded without a loop's masks.
  var total = 0.0;
//% for up in range((kernel_y + stride_y - 1) // stride_y)
//%   for left in range((kernel_x + stride_x - 1) // stride_x)
  {
    // A window above the first wraps around to a large number.
    let wy = window_y - /*{ up }*/u;
    let wx = window_x - /*{ left }*/u;
    let reached = (wy < out_height) & (wx < out_width) & (row - wy * /*{ stride_y }*/u < /*{ kernel_y }*/u) & (column - wx * /*{ stride_x }*/u < /*{ kernel_x }*/u);
    let window = select(0u, (plane * out_height + wy) * out_width + wx, reached);
    total += select(0.0, y_grad[window], reached & (places[window] == at)/*{ " & (y[window] > 0.0)" if relu }*/);
  }
//%   endfor
//% endfor
  x_grad[i] = total;
}
