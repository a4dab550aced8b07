// The whole number nearest to value / step, half up: floor(q + 0.5), where the quotient q and the sum are rounded to f32 as
// IEEE 754 says. WGSL's division may be 2.5 units of the last place off, so here a product comes close, and products and
// sums without any rounding decide: the same code on every adapter. For quotients from -256 to 256, and steps of 2^-100 and more;
// below, what decides would be denormal. Wants the alias `Value` before it.

// value - times * step, without rounding where it is small. `times` has at most 12 bits, as have both parts of the step.
fn beyond(value: Value, times: Value, step: f32) -> Value {
  let upper = bitcast<f32>(bitcast<u32>(step) & 0xfffff000u);
  let lower = step - upper;
  return (value - times * upper) - times * lower;
}

fn nearest(value: Value, step: f32) -> Value {
  // Right, or one below: the error is less than the 0.002 that are missing from one half.
  let below = floor(value * (1.0 / step) + 0.498);
  let middle = below + 0.5;
  // f32 rounds a quotient up to the middle from half a unit of the middle's last place below it, 2^-24 of its power of two.
  // Below 0.5 units are half as large, but of the two numbers there, the sum with 0.5 rounds up the nearer one as well.
  let power = bitcast<Value>(bitcast</*{ "vec4<u32>" if vectors else "u32" }*/>(middle) & /*{ "vec4" if vectors else "u32" }*/(0x7f800000u));
  let reach = select(power, Value(0.75), middle == Value(0.5)) * (step * (1.0 / 16777216.0));
  return select(below, below + 1.0, beyond(value, middle, step) >= -reach);
}
