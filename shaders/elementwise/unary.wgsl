// y = op(x), four values at a time. `a` and `b` are the op's own constants.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
struct Params { vectors: u32, stride: u32, a: f32, b: f32 }
@group(0) @binding(2) var<uniform> params: Params;

fn apply(v: vec4<f32>) -> vec4<f32> {
//% if op == "relu"
  return max(v, vec4(0.0));
//% elif op == "relu6"
  return clamp(v, vec4(0.0), vec4(6.0));
//% elif op == "leaky_relu"
  return select(v * params.a, v, v > vec4(0.0));
//% elif op == "sigmoid"
  return 1.0 / (1.0 + exp(-v));
//% elif op == "tanh"
  return tanh(v);
//% elif op == "hsigmoid"
  return clamp(v + 3.0, vec4(0.0), vec4(6.0)) / 6.0;
//% elif op == "hswish"
  return v * (clamp(v + 3.0, vec4(0.0), vec4(6.0)) / 6.0);
//% elif op == "exp"
  return exp(v);
//% elif op == "log"
  return log(v);
//% elif op == "sqrt"
  return sqrt(v);
//% elif op == "neg"
  return -v;
//% elif op == "affine"
  return v * params.a + params.b;
//% endif
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let first = linear_index(id, groups, 64u);
  // The last workgroup reaches into what the first invocations take on their second turn.
  if (first >= params.stride) { return; }
//% for u in range(unroll)
  {
    let i = first + /*{ u }*/u * params.stride;
    if (i < params.vectors) { y[i] = apply(x[i]); }
  }
//% endfor
}
