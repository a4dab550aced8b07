// What a training step of the one-convolution fold multiplies the weights of a channel by. The normalization behind
// divides by it again, so any number will do where gamma / s will not: near zero, z / r would be 0 / 0.
const least_gamma = 1e-6;

// follows is 1 where the factor follows gamma, and 0 where it is held.
struct Ratio { factor: f32, follows: f32 }

fn training_ratio(gamma: f32, deviation: f32) -> Ratio {
  if (abs(gamma) >= least_gamma) { return Ratio(gamma / deviation, 1.0); }
  // The sign stays, and there is no jump in size: observed ranges of the folded weights move slowly.
  return Ratio(select(least_gamma, -least_gamma, gamma < 0.0) / deviation, 0.0);
}
