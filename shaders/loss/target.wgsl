// What a row is held against: the share 1 of the label's class, or with label smoothing e (Szegedy et al. 2016, section 7)
// (1 - e) * one_hot + e / K. Names `params` of the shader that includes it.

// Loss of a row: `total` is the sum of exp(logit - largest), `gap` is largest - the label's logit, and `mean_gap` the same
// as a mean over all classes.
fn row_loss(total: f32, gap: f32, mean_gap: f32) -> f32 {
  // The differences first: beside a large logit, the small logarithm would be rounded away.
//% if smooth
  return log(total) + ((1.0 - params.smoothing) * gap + params.smoothing * mean_gap);
//% else
  return log(total) + gap;
//% endif
}

fn target_share(is_label: bool) -> f32 {
//% if smooth
  let rest = params.smoothing / f32(params.classes);
  return select(rest, 1.0 - params.smoothing + rest, is_label);
//% else
  return select(0.0, 1.0, is_label);
//% endif
}

// True where class k stands before the label's: of equal logits, the first class does.
fn comes_before(k: u32, value: f32, label: u32, own: f32) -> bool {
  return (value > own) | ((value == own) & (k < label));
}

// Infinite for a label that is no class, so that it is noticed. Two factors: WGSL refuses an infinite constant.
fn unknown_class(label: u32) -> f32 {
  return select(0.0, 3.0e38, label >= params.classes) * 10.0;
}
