// [outer, length, inner] -> [outer, inner], one invocation for each result. The order of summation is fixed.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
struct Params { outer: u32, length: u32, inner: u32, scale: f32 }
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.outer * params.inner) { return; }
  var at = (i / params.inner) * params.length * params.inner + i % params.inner;
  var total = x[at];
  for (var k = 1u; k < params.length; k++) {
    at += params.inner;
//% if op == "max"
    total = max(total, x[at]);
//% else
    total += x[at];
//% endif
  }
  y[i] = total * params.scale;
}
