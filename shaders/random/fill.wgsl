// Fills a tensor with random numbers, four from each counter.
//% include "common/index.wgsl"
//% include "random/philox.wgsl"

@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
struct Params { seed: vec2<u32>, stream: vec2<u32>, vectors: u32 }
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.vectors) { return; }
  let u = unit(philox(params.seed, vec4(i, 0u, params.stream)));
//% if distribution == "normal"
  // Box and Muller 1958; 1 - u lies in (0, 1], where the logarithm is finite. It may be a little above 0 at 1, where it is 0.
  let radius = sqrt(max(-2.0 * log(1.0 - u.xz), vec2(0.0)));
  // From -pi to pi, beyond which WGSL promises no digits of sine and cosine.
  let angle = 6.283185307179586 * (u.yw - select(vec2(0.0), vec2(1.0), u.yw > vec2(0.5)));
  y[i] = vec4(radius.x * cos(angle.x), radius.x * sin(angle.x), radius.y * cos(angle.y), radius.y * sin(angle.y));
//% else
  y[i] = u;
//% endif
}
