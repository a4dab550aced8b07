//! Normalizations and their gradients on the host, in f64: the formulas as they are written down, each form by
//! itself, where the shaders know one rule for all.

use simqat::kernel::norm::Form;

/// A normalization of [rows, channels, plane] with everything that decides about it.
#[derive(Clone)]
pub struct Case {
    pub form: Form,
    pub extents: [usize; 3],
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    /// Zeros where there is none.
    pub bias: Vec<f64>,
    pub mean: Vec<f64>,
    pub var: Vec<f64>,
    pub eps: f64,
    pub relu: bool,
    /// The statistics of the batch rule.
    pub batch: bool,
}

/// Values and gradients.
#[derive(Default)]
pub struct Answer {
    pub y: Vec<f64>,
    pub dz: Vec<f64>,
    pub dz0: Vec<f64>,
    pub gamma: Vec<f64>,
    pub beta: Vec<f64>,
    pub bias: Vec<f64>,
}

/// Mean and biased variance.
pub fn moments(x: &[f64]) -> (f64, f64) {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    (mean, x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count)
}

impl Case {
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
        }
        all
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
        match (self.form, self.batch) {
            (Form::Plain, false) => {
                one.dz = g.iter().map(|g| g * gamma / s).collect();
                one.gamma = vec![g.iter().zip(z).map(|(g, z)| g * (z - mean) / s).sum()];
            }
            (_, false) => {
                one.dz = g.clone();
                one.gamma = vec![sum * (bias - mean) / s];
                one.bias = vec![sum * gamma / s];
            }
            (Form::TwoConv, true) => {
                let (mb, vb) = moments(z0);
                let sb = (vb + self.eps).sqrt();
                one.dz = g.iter().map(|g| g * s / sb).collect();
                one.gamma = vec![-sum * mb / sb];
                let d_mb = -sum * gamma / sb;
                let d_sb = (sum * gamma * mb - dot(&g, z) * s) / (sb * sb);
                one.dz0 = z0.iter().map(|z0| d_mb / count + d_sb * (z0 - mb) / (sb * count)).collect();
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

/// f32 values in f64.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

/// The distance of two tensors by their norms, relative to the second's. Infinite where one is not a number.
pub fn relative_error(actual: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len(), "lengths differ");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let off = norm(&mut actual.iter().zip(expected).map(|(a, e)| f64::from(*a) - e));
    let size = norm(&mut expected.iter().copied());
    match off {
        0.0 => 0.0,
        off if off.is_nan() => f64::INFINITY,
        off => off / size,
    }
}
