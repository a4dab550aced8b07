// From sums to codes in integers alone, four at a time: a sum times mantissa / 2^shift, exactly, then rounded once, half away
// from zero (Jacob et al. 2018, arXiv 1712.05877, section 2.2). WGSL has no 64-bit integers, so a product is two words.
struct Wide { high: vec4<u32>, low: vec4<u32> }

fn multiply(a: vec4<u32>, b: vec4<u32>) -> Wide {
  let half = vec4(0xffffu);
  let bits = vec4(16u);
  let low = (a & half) * (b & half);
  let left = (a >> bits) * (b & half);
  let right = (a & half) * (b >> bits);
  // Below 3 * 2^16.
  let middle = (low >> bits) + (left & half) + (right & half);
  let high = (a >> bits) * (b >> bits) + (left >> bits) + (right >> bits) + (middle >> bits);
  return Wide(high, (middle << bits) | (low & half));
}

// A product below 2^63 over 2^shift, shift from 1 to 62, half up; what 32 bits cannot hold gets the largest number.
fn rounded(product: Wide, shift: vec4<u32>) -> vec4<u32> {
  let below = shift - 1u;
  let half = vec4(1u) << (below & vec4(31u));
  let half_is_low = below < vec4(32u);
  let low = product.low + select(vec4(0u), half, half_is_low);
  let carry = select(vec4(0u), vec4(1u), low < product.low);
  let high = product.high + select(half, vec4(0u), half_is_low) + carry;
  let fine = shift & vec4(31u);
  let upper = high >> fine;
  let both = (low >> fine) | (high << ((32u - fine) & vec4(31u)));
  return select(select(both, vec4(0xffffffffu), upper != vec4(0u)), upper, shift > vec4(31u));
}

// With its sign; what i32 cannot hold gets its nearest end.
fn signed(magnitude: vec4<u32>, negative: vec4<bool>) -> vec4<i32> {
  let held = min(magnitude, select(vec4(0x7fffffffu), vec4(0x80000000u), negative));
  return bitcast<vec4<i32>>(select(held, vec4(0u) - held, negative));
}

fn rescale(sum: vec4<i32>, mantissa: vec4<u32>, shift: vec4<u32>) -> vec4<i32> {
  let negative = sum < vec4(0);
  let bits = bitcast<vec4<u32>>(sum);
  // In unsigned numbers, where the lowest of i32 has its opposite.
  let magnitude = select(bits, vec4(0u) - bits, negative);
  return signed(rounded(multiply(magnitude, mantissa), shift), negative);
}

// A word of four codes. Ends are cut off before the zero point is added, which could pass the ends of i32.
fn word_of(rescaled: vec4<i32>, zero_point: i32, low: i32, high: i32) -> u32 {
  let apart = clamp(rescaled, vec4(low - zero_point), vec4(high - zero_point));
  return pack4xI8(apart + zero_point);
}
