// y = op(a, b) where the operands' shapes differ: a stride of 0 stretches an axis. Axes come innermost first.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
struct Params {
  extents: array<vec4<u32>, 2>,
  a_strides: array<vec4<u32>, 2>,
  b_strides: array<vec4<u32>, 2>,
  count: u32,
  axes: u32,
  c: f32,
}
@group(0) @binding(3) var<uniform> params: Params;

alias Value = f32;
fn apply(a: Value, b: Value) -> Value {
//% include "elementwise/binary_ops.wgsl"
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.count) { return; }
  var rest = i;
  var at_a = 0u;
  var at_b = 0u;
  for (var axis = 0u; axis < params.axes; axis++) {
    let extent = params.extents[axis / 4u][axis % 4u];
    let place = rest % extent;
    rest = rest / extent;
    at_a += place * params.a_strides[axis / 4u][axis % 4u];
    at_b += place * params.b_strides[axis / 4u][axis % 4u];
  }
  y[i] = apply(a[at_a], b[at_b]);
}
