// y = value
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
struct Params { vectors: u32, value: f32 }
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i < params.vectors) { y[i] = vec4(params.value); }
}
