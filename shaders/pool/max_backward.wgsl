// Gradient of max pooling: each input gathers from the windows whose maximum it was, so nothing is added
// atomically and the order of summation is fixed. With `relu`, windows that were cut at zero pass nothing.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
//% if relu
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
//% else
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
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

// The first window along an axis that reaches `place`, counted from the padded edge.
fn first_window(place: u32, kernel: u32, stride: u32) -> u32 {
  return select(0u, (place - kernel) / stride + 1u, place >= kernel);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  let area = height * width;
  if (i >= params.planes * area) { return; }
  let plane = i / area;
  let at = i % area;
  let row = at / width + /*{ pad_top }*/u;
  let column = at % width + /*{ pad_left }*/u;
  let last_y = min(row / /*{ stride_y }*/u + 1u, out_height);
  let last_x = min(column / /*{ stride_x }*/u + 1u, out_width);
  var total = 0.0;
  for (var wy = first_window(row, /*{ kernel_y }*/u, /*{ stride_y }*/u); wy < last_y; wy++) {
    for (var wx = first_window(column, /*{ kernel_x }*/u, /*{ stride_x }*/u); wx < last_x; wx++) {
      let window = (plane * out_height + wy) * out_width + wx;
//% if relu
      total += select(0.0, dy[window], places[window] == at && y[window] > 0.0);
//% else
      total += select(0.0, dy[window], places[window] == at);
//% endif
    }
  }
  dx[i] = total;
}
