//! Normalizations and their gradients on the host, in f64: the formulas as they are written down, each form by
//! itself, where the shaders know one rule for all.

use super::norm_of;
use crate::kernel::norm::Form;

/// A normalization of [rows, channels, plane] with everything that decides about it.
#[derive(Clone)]
pub struct Normalization {
    /// By itself, or folded into the convolution before it.
    pub form: Form,
    /// Rows, channels, plane.
    pub extents: [usize; 3],
    /// Factor of each channel.
    pub gamma: Vec<f64>,
    /// Shift of each channel.
    pub beta: Vec<f64>,
    /// The convolution's; zeros if there is none.
    pub bias: Vec<f64>,
    /// Running means.
    pub mean: Vec<f64>,
    /// Running variances.
    pub var: Vec<f64>,
    /// Added to a variance under the root.
    pub eps: f64,
    /// A ReLU behind it.
    pub relu: bool,
    /// The statistics of the batch rule, and not the running ones.
    pub batch: bool,
}

/// Values and gradients.
#[derive(Default)]
pub struct Answer {
    /// Values.
    pub y: Vec<f64>,
    /// Gradient of what is normalized.
    pub dz: Vec<f64>,
    /// Gradient of the values of the unfolded convolution.
    pub dz0: Vec<f64>,
    /// Gradient of gamma.
    pub gamma: Vec<f64>,
    /// Gradient of beta.
    pub beta: Vec<f64>,
    /// Gradient of the convolution's bias.
    pub bias: Vec<f64>,
    /// What was added up to make the gradients.
    pub sizes: Sizes,
}

/// Gradients are sums of terms with both signs. These are the norms that gradients would have if their terms did not cancel, which
/// rounding is relative to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// For the gradient of what is normalized.
    pub dz: f64,
    /// For the gradient of the values of the unfolded convolution.
    pub dz0: f64,
    /// For the gradient of gamma.
    pub gamma: f64,
    /// For the gradient of beta.
    pub beta: f64,
    /// For the gradient of the bias.
    pub bias: f64,
}

impl Sizes {
    /// Of two groups of channels together.
    fn with(self, other: Sizes) -> Sizes {
        Sizes {
            dz: self.dz.hypot(other.dz),
            dz0: self.dz0.hypot(other.dz0),
            gamma: self.gamma.hypot(other.gamma),
            beta: self.beta.hypot(other.beta),
            bias: self.bias.hypot(other.bias),
        }
    }
}

/// Mean and biased variance.
pub fn moments(x: &[f64]) -> (f64, f64) {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    (mean, x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count)
}

impl Normalization {
    /// Where a channel's values lie.
    fn places(&self, channel: usize) -> Vec<usize> {
        let [rows, channels, plane] = self.extents;
        (0..rows).flat_map(|n| (0..plane).map(move |p| (n * channels + channel) * plane + p)).collect()
    }

    /// What the weights of a channel are multiplied by, and the slope of that by gamma.
    pub fn ratio(&self, channel: usize) -> (f64, f64) {
        let (gamma, s) = (self.gamma[channel], (self.var[channel] + self.eps).sqrt());
        // The distance that the device keeps from zero, where it divides by the factor again.
        let least = f64::from(1e-6f32);
        if self.form == Form::OneConv && self.batch && gamma.abs() < least {
            let sign = if gamma < 0.0 { -1.0 } else { 1.0 };
            return (sign * least / s, 0.0);
        }
        (gamma / s, 1.0 / s)
    }

    /// Normalizes `z` and differentiates by the gradient `g` of the result. `z0`, the values of the unfolded
    /// convolution, is looked at in the form of two.
    pub fn answer(&self, z: &[f64], z0: &[f64], g: &[f64]) -> Answer {
        let zeros = || vec![0.0; z.len()];
        let mut all = Answer { y: zeros(), dz: zeros(), dz0: zeros(), ..Default::default() };
        for channel in 0..self.extents[1] {
            let places = self.places(channel);
            let of = |x: &[f64]| places.iter().map(|&i| x[i]).collect::<Vec<f64>>();
            let one = self.channel(channel, &of(z), &of(if z0.is_empty() { z } else { z0 }), &of(g));
            for (k, &i) in places.iter().enumerate() {
                (all.y[i], all.dz[i], all.dz0[i]) = (one.y[k], one.dz[k], one.dz0[k]);
            }
            all.gamma.extend(one.gamma);
            all.beta.extend(one.beta);
            all.bias.extend(one.bias);
            all.sizes = all.sizes.with(one.sizes);
        }
        all
    }

    /// `g` without the gradients of values so near to the corner of the ReLU that single and double precision, or a
    /// value and one a small step beside it, may lie on two sides of it.
    pub fn off_the_corner(&self, z: &[f64], z0: &[f64], g: &mut [f32]) {
        if self.relu {
            let y = Normalization { relu: false, ..self.clone() }.answer(z, z0, z).y;
            g.iter_mut().zip(&y).filter(|(_, y)| y.abs() < 1e-3).for_each(|(g, _)| *g = 0.0);
        }
    }

    fn channel(&self, c: usize, z: &[f64], z0: &[f64], g: &[f64]) -> Answer {
        let (gamma, beta, bias, mean) = (self.gamma[c], self.beta[c], self.bias[c], self.mean[c]);
        let s = (self.var[c] + self.eps).sqrt();
        let count = z.len() as f64;
        let y: Vec<f64> = match (self.form, self.batch) {
            (Form::Plain, false) => z.iter().map(|z| (z - mean) / s * gamma + beta).collect(),
            (_, false) => z.iter().map(|z| z + beta + (bias - mean) * gamma / s).collect(),
            (Form::TwoConv, true) => {
                let (mb, vb) = moments(z0);
                let sb = (vb + self.eps).sqrt();
                z.iter().map(|z| z * s / sb + beta - gamma * mb / sb).collect()
            }
            (_, true) => {
                let (hat, _) = self.standardized(c, z);
                hat.iter().map(|hat| gamma * hat + beta).collect()
            }
        };
        let passed = |y: &f64| !self.relu || *y > 0.0;
        let g: Vec<f64> = g.iter().zip(&y).map(|(g, y)| if passed(y) { *g } else { 0.0 }).collect();
        let y = y.iter().map(|&y| if self.relu { y.max(0.0) } else { y }).collect();
        let sum = g.iter().sum::<f64>();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut one =
            Answer { y, beta: vec![sum], bias: vec![0.0], dz0: vec![0.0; z.len()], ..Default::default() };
        let size = norm_of(g.iter().copied());
        // Of g times a distance from a mean, in deviations. The mean is rounded too, so no distance counts as nothing.
        let by_distance =
            |hat: &dyn Fn(f64) -> f64| norm_of(g.iter().zip(z).map(|(g, &z)| g * hat(z).hypot(1.0)));
        one.sizes.beta = size;
        match (self.form, self.batch) {
            (Form::Plain, false) => {
                one.dz = g.iter().map(|g| g * gamma / s).collect();
                one.gamma = vec![g.iter().zip(z).map(|(g, z)| g * (z - mean) / s).sum()];
                one.sizes.gamma = by_distance(&|z| (z - mean) / s);
            }
            (_, false) => {
                one.dz = g.clone();
                one.gamma = vec![sum * (bias - mean) / s];
                one.bias = vec![sum * gamma / s];
                one.sizes.gamma = size * (bias.abs() + mean.abs()) / s;
                one.sizes.bias = size * gamma.abs() / s;
            }
            (Form::TwoConv, true) => {
                let (mb, vb) = moments(z0);
                let sb = (vb + self.eps).sqrt();
                one.dz = g.iter().map(|g| g * s / sb).collect();
                one.gamma = vec![-sum * mb / sb];
                let d_mb = -sum * gamma / sb;
                let d_sb = (sum * gamma * mb - dot(&g, z) * s) / (sb * sb);
                one.dz0 = z0.iter().map(|z0| d_mb / count + d_sb * (z0 - mb) / (sb * count)).collect();
                // A mean is a sum too.
                let mean_size = size * norm_of(z0.iter().copied()) / count.sqrt();
                one.sizes.gamma = mean_size / sb;
                let d_sb_size =
                    (mean_size * gamma.abs() + norm_of(g.iter().zip(z).map(|(g, z)| g * z)) * s) / (sb * sb);
                one.sizes.dz0 = (size * gamma.abs() + d_sb_size * vb.sqrt()) / (sb * count.sqrt());
            }
            (form, true) => {
                // Through u = z / r, with r of the folded weights (1 where nothing was folded).
                let (r, slope) = if form == Form::OneConv { self.ratio(c) } else { (1.0, 0.0) };
                let (hat, deviation) = self.standardized(c, z);
                let by_hat = dot(&g, &hat);
                let du: Vec<f64> = g
                    .iter()
                    .zip(&hat)
                    .map(|(g, hat)| gamma / deviation * (g - sum / count - hat * by_hat / count))
                    .collect();
                one.dz = du.iter().map(|du| du / r).collect();
                one.gamma = vec![by_hat - dot(&du, z) / (r * r) * slope];
                let mean = moments(z).0;
                one.sizes.gamma = by_distance(&|z| (z - mean) / (r * deviation));
                one.sizes.dz = size * (gamma / (deviation * r)).abs();
            }
        }
        one
    }

    /// (u - mean) / deviation of u = z / r, and the deviation.
    fn standardized(&self, channel: usize, z: &[f64]) -> (Vec<f64>, f64) {
        let r = if self.form == Form::OneConv { self.ratio(channel).0 } else { 1.0 };
        let u: Vec<f64> = z.iter().map(|z| z / r).collect();
        let (mean, variance) = moments(&u);
        let deviation = (variance + self.eps).sqrt();
        (u.iter().map(|u| (u - mean) / deviation).collect(), deviation)
    }

    /// The running mean and variance after a step whose statistics are of `observed`.
    pub fn moved(&self, observed: &[f64], momentum: f64) -> (Vec<f64>, Vec<f64>) {
        if !self.batch {
            return (self.mean.clone(), self.var.clone());
        }
        let each = |channel: usize| {
            let values: Vec<f64> = self.places(channel).iter().map(|&i| observed[i]).collect();
            let (mut mean, mut variance) = moments(&values);
            if self.form == Form::OneConv {
                let (r, _) = self.ratio(channel);
                (mean, variance) = (mean / r, variance / (r * r));
            }
            let count = values.len() as f64;
            let mixed = |old: f64, new: f64| momentum * old + (1.0 - momentum) * new;
            (
                mixed(self.mean[channel], mean + self.bias[channel]),
                mixed(self.var[channel], variance * count / (count - 1.0)),
            )
        };
        (0..self.extents[1]).map(each).unzip()
    }
}
