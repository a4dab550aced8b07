// Learned step size quantization (Esser et al. 2019, arXiv 1902.08153): what its kernels share.
//% include "common/counter.wgsl"
//% if vectors
alias Value = vec4<f32>;
fn sum_of(value: Value) -> f32 { return (value.x + value.y) + (value.z + value.w); }
//% else
alias Value = f32;
fn sum_of(value: Value) -> f32 { return value; }
//% endif

// One block for all of them; a kernel leaves aside what it has no use for. Lengths are in elements of x (four values each with `vectors`).
struct Params {
  length: u32,
  stride: u32,
  pieces: u32,
  mode: u32,      // what the pass does to the state
  delay: u32,     // steps that pass values unchanged
  rate: f32,      // share of a calibrating batch in the scale; 1 sets it anew
  factor: f32,    // of a sum: magnitudes to the initial scale, or slopes to the scale's gradient
  lowest: f32,    // the codes at both ends
  highest: f32,
}
const trains = 1u;
const calibrates = 2u;

// A scale that nobody has set, and a step that rounds nothing: values pass.
const unset = 0.0;
// Training may drive a scale to zero and below. Dividing by zero gives NaN, and a negative step would turn codes around; with this one, values
// up to 3e26 divide to finite numbers, and steps of real networks are a million times larger.
const least_step = 9.094947e-13; // 2^-40

// The step that a scale stands for.
fn in_use(scale: f32) -> f32 { return select(max(scale, least_step), unset, scale == unset); }

fn passes_values(counter: u32) -> bool { return count_of(counter) < params.delay; }

// True where the pass computes the scale from the values: in calibration, and in the first training step that quantizes without one. Who has
// marked the state keeps both away.
fn sets_scale(counter: u32, scale: f32) -> bool {
  let starts = (params.mode == trains) & (scale == unset) & !passes_values(counter);
  return (starts | (params.mode == calibrates)) & (counter < frozen_mark);
}

// The scale after values whose magnitudes add up to `sum`: 2 mean|x| / sqrt(highest), section 2.1, or the mean of calibrating batches. Values of
// nothing but zeros tell no scale, and leave it to the next step; so do values that are not finite.
fn scale_after(scale: f32, sum: f32) -> f32 {
  let initial = sum * params.factor;
  let next = select(scale + params.rate * (initial - scale), initial, params.rate == 1.0);
  // An infinity or a NaN has all exponent bits set; WGSL may assume that neither exists, so look at the bits.
  let is_finite = (bitcast<u32>(next) & 0x7f800000u) != 0x7f800000u;
  return select(unset, next, is_finite & (next >= least_step));
}

//% include "quant/nearest.wgsl"

// The value at the nearest code, half up.
fn stepped(value: Value, step: f32) -> Value {
  let divisor = select(step, 1.0, step == unset);
  // Far out it does not matter where a value lies, and quotients stay small.
  let held = clamp(value, Value((params.lowest - 1.0) * divisor), Value((params.highest + 1.0) * divisor));
  let code = clamp(nearest(held, divisor), Value(params.lowest), Value(params.highest));
  return select(code * divisor, value, step == unset);
}
