// Gradient of max_pairs_forward.wgsl: each invocation writes whole rows of its windows.
//% include "common/index.wgsl"
//% set number = "vec2<f32>" if windows == 2 else "f32"
//% set index = "vec2<u32>" if windows == 2 else "u32"

@group(0) @binding(0) var<storage, read> y_grad: array</*{ number }*/>;
@group(0) @binding(1) var<storage, read> places: array</*{ index }*/>;
//% if relu
@group(0) @binding(2) var<storage, read> y: array</*{ number }*/>;
//% endif
@group(0) @binding(/*{ 3 if relu else 2 }*/) var<storage, read_write> x_grad: array</*{ "vec4<f32>" if windows == 2 else "vec2<f32>" }*/>;
struct Params { planes: u32 }
@group(0) @binding(/*{ 4 if relu else 3 }*/) var<uniform> params: Params;

const across = /*{ out_width // windows }*/u;
const area = /*{ out_height * out_width // windows }*/u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.planes * area) { return; }
  let top = i % area / across * /*{ kernel_y }*/u;
  let column = i % across;
  let base = i / area * (area * /*{ kernel_y }*/u);
  let place = places[i];
//% if relu
  let gradient = select(/*{ number }*/(0.0), y_grad[i], y[i] > /*{ number }*/(0.0));
//% else
  let gradient = y_grad[i];
//% endif
//% for ky in range(kernel_y)
  {
    let at = (top + /*{ ky }*/u) * across + column;
//% if windows == 2
    let first = vec2(at * 4u, at * 4u + 2u);
    let left = select(vec2<f32>(), gradient, place == first);
    let right = select(vec2<f32>(), gradient, place == first + 1u);
    x_grad[base + at] = vec4(left.x, right.x, left.y, right.y);
//% else
    x_grad[base + at] = select(vec2<f32>(), vec2(gradient), vec2(place) == vec2(at * 2u, at * 2u + 1u));
//% endif
  }
//% endfor
}
