// The normalized value. The gradient's kernels call it again to know where a ReLU let pass: the same instruction gives
// the same bits. Wants norm/value.wgsl before it.

fn affine(value: Value, center: f32, factor: f32, beta: f32) -> Value {
  return fma(value - center, Value(factor), Value(beta));
}

// The gradient where a ReLU behind let pass.
fn passed(gradient: Value, value: Value, center: f32, factor: f32, beta: f32) -> Value {
  return select(Value(0.0), gradient, affine(value, center, factor, beta) > Value(0.0));
}
