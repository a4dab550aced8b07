// y = op(a, b) for operands of one shape, four values at a time.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
struct Params { vectors: u32, stride: u32, c: f32 }
@group(0) @binding(3) var<uniform> params: Params;

alias Value = vec4<f32>;
fn apply(a: Value, b: Value) -> Value {
//% include "elementwise/binary_ops.wgsl"
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let first = linear_index(id, groups, 64u);
  // The last workgroup reaches into what the first invocations take on their second turn.
  if (first >= params.stride) { return; }
//% for u in range(unroll)
  {
    let i = first + /*{ u }*/u * params.stride;
    if (i < params.vectors) { y[i] = apply(a[i], b[i]); }
  }
//% endfor
}
