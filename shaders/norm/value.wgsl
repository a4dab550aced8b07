// What a kernel works on at a time, and the sum of its values.
//% if vectors
alias Value = vec4<f32>;

fn summed(value: Value) -> f32 { return dot(value, vec4(1.0)); }
//% else
alias Value = f32;

fn summed(value: Value) -> f32 { return value; }
//% endif
