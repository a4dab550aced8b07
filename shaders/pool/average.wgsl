// Average pooling of [N, C, H, W] planes, and its gradient. Padding counts as zeros in the mean when
// `count_padding`, else the mean is over the values that are there.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
struct Params { planes: u32 }
@group(0) @binding(2) var<uniform> params: Params;

// Extents of the unpooled and of the pooled plane; constants, since divisions are dear.
const height = /*{ height }*/u;
const width = /*{ width }*/u;
const out_height = /*{ out_height }*/u;
const out_width = /*{ out_width }*/u;

fn window_first(window: u32, stride: u32, pad: u32) -> u32 {
  return select(0u, window * stride - pad, window * stride >= pad);
}
fn window_end(window: u32, stride: u32, kernel: u32, pad: u32, extent: u32) -> u32 {
  return min(window * stride + kernel - min(pad, window * stride + kernel), extent);
}
fn share(wy: u32, wx: u32) -> f32 {
//% if count_padding
  return 1.0 / f32(/*{ kernel_y }*/u * /*{ kernel_x }*/u);
//% else
  let rows = window_end(wy, /*{ stride_y }*/u, /*{ kernel_y }*/u, /*{ pad_top }*/u, height)
    - window_first(wy, /*{ stride_y }*/u, /*{ pad_top }*/u);
  let columns = window_end(wx, /*{ stride_x }*/u, /*{ kernel_x }*/u, /*{ pad_left }*/u, width)
    - window_first(wx, /*{ stride_x }*/u, /*{ pad_left }*/u);
  return 1.0 / f32(rows * columns);
//% endif
}
//% if direction == "backward"
fn first_window(place: u32, kernel: u32, stride: u32) -> u32 {
  return select(0u, (place - kernel) / stride + 1u, place >= kernel);
}
//% endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  var total = 0.0;
//% if direction == "forward"
  let area = out_height * out_width;
  if (i >= params.planes * area) { return; }
  let wy = i % area / out_width;
  let wx = i % out_width;
  let base = i / area * height * width;
  let bottom = window_end(wy, /*{ stride_y }*/u, /*{ kernel_y }*/u, /*{ pad_top }*/u, height);
  let right = window_end(wx, /*{ stride_x }*/u, /*{ kernel_x }*/u, /*{ pad_left }*/u, width);
  for (var row = window_first(wy, /*{ stride_y }*/u, /*{ pad_top }*/u); row < bottom; row++) {
    for (var column = window_first(wx, /*{ stride_x }*/u, /*{ pad_left }*/u); column < right; column++) {
      total += x[base + row * width + column];
    }
  }
  y[i] = total * share(wy, wx);
//% else
  let area = height * width;
  if (i >= params.planes * area) { return; }
//% if out_height * out_width == 1
  // One window for the plane.
  let inside = (i % area / width + /*{ pad_top }*/u < /*{ kernel_y }*/u) & (i % width + /*{ pad_left }*/u < /*{ kernel_x }*/u);
  y[i] = select(0.0, x[i / area] * share(0u, 0u), inside);
//% else
  let row = i % area / width + /*{ pad_top }*/u;
  let column = i % width + /*{ pad_left }*/u;
  let last_y = min(row / /*{ stride_y }*/u + 1u, out_height);
  let last_x = min(column / /*{ stride_x }*/u + 1u, out_width);
  for (var wy = first_window(row, /*{ kernel_y }*/u, /*{ stride_y }*/u); wy < last_y; wy++) {
    for (var wx = first_window(column, /*{ kernel_x }*/u, /*{ stride_x }*/u); wx < last_x; wx++) {
      total += x[(i / area * out_height + wy) * out_width + wx] * share(wy, wx);
    }
  }
  y[i] = total;
//% endif
//% endif
}
