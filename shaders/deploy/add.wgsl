// Sum of two tensors of codes: both products with their mantissas are added up, and rounded once.
//% include "common/index.wgsl"
//% include "deploy/requantize.wgsl"
//% set word = "vec4<u32>" if vector else "u32"

@group(0) @binding(0) var<storage, read> left: array</*{ word }*/>;
@group(0) @binding(1) var<storage, read> right: array</*{ word }*/>;
@group(0) @binding(2) var<storage, read_write> output: array</*{ word }*/>;
struct Params {
  invocations: u32,
  left_zero_point: i32,
  right_zero_point: i32,
  left_mantissa: u32,
  right_mantissa: u32,
  shift: u32,
  zero_point: i32,
  low: i32,
  high: i32,
}
@group(0) @binding(3) var<uniform> params: Params;

fn sum_of(left: u32, right: u32) -> u32 {
  let a = unpack4xI8(left) - params.left_zero_point;
  let b = unpack4xI8(right) - params.right_zero_point;
  // At most 255 times 16 bits each: the sum is high * 2^16 + low in signed numbers,
  let low = a * i32(params.left_mantissa & 0xffffu) + b * i32(params.right_mantissa & 0xffffu);
  let carried = a * i32(params.left_mantissa >> 16u) + b * i32(params.right_mantissa >> 16u) + (low >> vec4(16u));
  // its lower half without a sign, so that the upper half's is the sum's;
  let rest = bitcast<vec4<u32>>(low) & vec4(0xffffu);
  let negative = carried < vec4(0);
  // and where that is negative, the opposite of both halves.
  let borrow = select(vec4(0u), vec4(1u), rest > vec4(0u));
  let high = select(bitcast<vec4<u32>>(carried), bitcast<vec4<u32>>(-carried) - borrow, negative);
  let lower = select(rest, (vec4(0x10000u) - rest) & vec4(0xffffu), negative);
  let product = Wide(high >> vec4(16u), (high << vec4(16u)) | lower);
  let value = signed(rounded(product, vec4(params.shift)), negative);
  return word_of(value, params.zero_point, params.low, params.high);
}

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, /*{ threads }*/u);
  if (i >= params.invocations) { return; }
  let a = left[i];
  let b = right[i];
//% if vector
  output[i] = vec4(sum_of(a.x, b.x), sum_of(a.y, b.y), sum_of(a.z, b.z), sum_of(a.w, b.w));
//% else
  output[i] = sum_of(a, b);
//% endif
}
