// y = op(x), four values at a time. `a` and `b` are the op's own constants.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
struct Params { vectors: u32, stride: u32, a: f32, b: f32 }
@group(0) @binding(2) var<uniform> params: Params;

// The built-in's value, or the NaN that came in: some built-ins lose it. WGSL may assume that there is none, so look at the bits.
fn kept(v: vec4<f32>, value: vec4<f32>) -> vec4<f32> {
  return select(value, v, (bitcast<vec4<u32>>(v) & vec4(0x7fffffffu)) > vec4(0x7f800000u));
}

// The same for what is defined from zero on; below, all bits of the exponent make a NaN.
fn from_zero_on(v: vec4<f32>, value: vec4<f32>) -> vec4<f32> {
  let none = bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) | vec4(0x7fc00000u));
  return select(kept(v, value), none, v < vec4(0.0));
}

fn apply(v: vec4<f32>) -> vec4<f32> {
//% if op == "relu"
  return max(v, vec4(0.0));
//% elif op == "relu6"
  return clamp(v, vec4(0.0), vec4(6.0));
//% elif op == "leaky_relu"
  return select(v * params.a, v, v > vec4(0.0));
//% elif op == "sigmoid"
  // Below -88 the result is no normal number any more, and the exponential soon no number.
  let far = v < vec4(-88.0);
  return kept(v, select(1.0 / (1.0 + exp(select(-v, vec4(0.0), far))), vec4(0.0), far));
//% elif op == "tanh"
  // An adapter may compute sinh / cosh, and both overflow at 89. From 10 on, f32 has nothing between the value and 1.
  let far = abs(v) > vec4(10.0);
  return kept(v, select(tanh(select(v, vec4(0.0), far)), sign(v), far));
//% elif op == "hsigmoid"
  return clamp(v + 3.0, vec4(0.0), vec4(6.0)) / 6.0;
//% elif op == "hswish"
  return v * (clamp(v + 3.0, vec4(0.0), vec4(6.0)) / 6.0);
//% elif op == "exp"
  return kept(v, exp(v));
//% elif op == "log"
  return from_zero_on(v, log(v));
//% elif op == "sqrt"
  return from_zero_on(v, sqrt(v));
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
