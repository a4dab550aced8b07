// Adds a pass's gradient to the sum over the passes of a step; the first pass replaces what is there.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
// progress[3]: passes of the step whose losses are known, this one included.
@group(0) @binding(1) var<storage, read> progress: array<u32>;
@group(0) @binding(2) var<storage, read_write> total: array<vec4<f32>>;
struct Params { vectors: u32, stride: u32 }
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let first = linear_index(id, groups, 64u);
  // The last workgroup reaches into what the first invocations take on their second turn.
  if (first >= params.stride) { return; }
  let begins = progress[3] <= 1u;
//% for u in range(unroll)
  {
    let i = first + /*{ u }*/u * params.stride;
    if (i < params.vectors) {
      if (begins) { total[i] = gradient[i]; } else { total[i] += gradient[i]; }
    }
  }
//% endfor
}
