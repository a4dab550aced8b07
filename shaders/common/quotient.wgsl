// a / b to the nearest f32, as IEEE 754 defines it. WGSL lets its own division be 2.5 units of the last place off, and each
// adapter is off in its own way; integers are the same everywhere. For a of at least 0, b above 0 and no denormal numbers.
// A quotient that would be denormal is 0; one that is beyond f32 must not be asked for.
fn quotient(a: f32, b: f32) -> f32 {
  let top = bitcast<u32>(a);
  let bottom = bitcast<u32>(b);
  let top_exponent = (top >> 23u) & 255u;
  // Long division of the mantissas, eight binary digits at a time.
  let dividend = (top & 0x7fffffu) | 0x800000u;
  let divisor = (bottom & 0x7fffffu) | 0x800000u;
  let whole = select(0u, 1u, dividend >= divisor);
  var rest = dividend - whole * divisor;
//% for digit in range(3)
  let digits/*{ digit }*/ = (rest << 8u) / divisor;
  rest = (rest << 8u) - digits/*{ digit }*/ * divisor;
//% endfor
  let digits = (whole << 24u) | (digits0 << 16u) | (digits1 << 8u) | digits2;
  // 24 digits, and one more if the dividend was the larger; what lies behind the 24th rounds it. It is never just one half.
  let behind = select(rest * 2u, rest + (digits & 1u) * divisor, whole == 1u);
  let up = select(0u, 1u, behind > divisor);
  let exponent = i32(top_exponent) - i32((bottom >> 23u) & 255u) + 126 + i32(whole);
  // Where all digits are ones, rounding up carries into the exponent, which is right.
  let bits = (u32(exponent) << 23u) + ((digits >> whole) & 0x7fffffu) + up;
  let nearest_f32 = select(0.0, bitcast<f32>(bits), (exponent > 0) & (top_exponent > 0u));
  // An infinity or a NaN stays.
  return select(nearest_f32, a, top_exponent == 255u);
}
