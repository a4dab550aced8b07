// y = (x - center) * factor + beta, cut at zero with `relu`, by each channel's rule. x is [rows, channels, plane].
//% include "common/index.wgsl"
//% include "norm/value.wgsl"
//% include "norm/rule.wgsl"
//% include "norm/affine.wgsl"

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> rules: array<StoredRule>;
@group(0) @binding(2) var<storage, read> betas: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<Value>;
// In elements of x (four values each with `vectors`); width is a row's, of all channels.
struct Params { rows: u32, width: u32, plane: u32 }
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(/*{ size }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
//% include "norm/place.wgsl"
  let rule = rules[channel].forward;
  let beta = betas[channel];
  for (var row = id.z * /*{ unroll }*/u; row < params.rows; row += groups.z * /*{ unroll }*/u) {
//% for u in range(unroll)
    if (row + /*{ u }*/u < params.rows) {
      let i = (row + /*{ u }*/u) * params.width + column;
      let value = affine(x[i], rule.x, rule.y, beta);
      y[i] = /*{ "max(value, Value(0.0))" if relu else "value" }*/;
    }
//% endfor
  }
}
