//! Initial values of parameters, drawn on the host so that every adapter starts from the same bits.

use serde::{Deserialize, Serialize};

use super::{Shape, Tensor};
use crate::Result;
use crate::gpu::Gpu;
use crate::random::Philox;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// The same value everywhere.
    Constant(f32),
    /// Normal with this standard deviation.
    Normal(f32),
    /// Normal with this standard deviation, drawn again where it is more than two deviations off (MindSpore's and
    /// TensorFlow's truncated normal: the deviation is that of the normal before it is cut).
    TruncatedNormal(f32),
    /// Uniform between minus and plus this number.
    Uniform(f32),
    /// He et al. 2015 (arXiv 1502.01852, equation 10): normal with standard deviation sqrt(2 / fan_in).
    He,
    /// He et al. 2015 (equation 14): normal with standard deviation sqrt(2 / fan_out), which keeps the variance of
    /// gradients. torchvision's ResNets start so.
    HeFanOut,
    /// He et al. 2015: uniform of the same deviation as [`Init::He`], within sqrt(6 / fan_in).
    HeUniform,
    /// Glorot and Bengio 2010 (equation 12): normal with standard deviation sqrt(2 / (fan_in + fan_out)).
    XavierNormal,
    /// Glorot and Bengio 2010 (equation 16): uniform within sqrt(6 / (fan_in + fan_out)).
    XavierUniform,
}

impl Init {
    /// Values for a parameter: [O, I, kh, kw] or [O, I] (fans are counted from these), or any other shape.
    ///
    /// `stream` tells the parameters of one network apart.
    pub fn values(self, shape: &Shape, seed: u64, stream: u64) -> Vec<f32> {
        let outputs = shape.first().copied().unwrap_or(1).max(1);
        let taps: usize = shape.iter().skip(2).product();
        let fan_in = (shape.count() / outputs).max(1) as f32;
        let fan_out = (outputs * taps) as f32;
        let (law, spread) = match self {
            Init::Constant(value) => (Law::Constant, value),
            Init::Normal(deviation) => (Law::Normal, deviation),
            Init::TruncatedNormal(deviation) => (Law::TruncatedNormal, deviation),
            Init::Uniform(bound) => (Law::Uniform, bound),
            Init::He => (Law::Normal, (2.0 / fan_in).sqrt()),
            Init::HeFanOut => (Law::Normal, (2.0 / fan_out).sqrt()),
            Init::HeUniform => (Law::Uniform, (6.0 / fan_in).sqrt()),
            Init::XavierNormal => (Law::Normal, (2.0 / (fan_in + fan_out)).sqrt()),
            Init::XavierUniform => (Law::Uniform, (6.0 / (fan_in + fan_out)).sqrt()),
        };
        let mut random = Philox::new(seed, stream);
        std::iter::repeat_with(|| law.draw(&mut random) * spread).take(shape.count()).collect()
    }

    /// As [`Init::values`], on the device.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn tensor(self, gpu: &Gpu, shape: impl Into<Shape>, seed: u64, stream: u64) -> Result<Tensor> {
        let shape = shape.into();
        Tensor::from_f32(gpu, &shape, &self.values(&shape, seed, stream))
    }
}

/// What a value is drawn from, up to a factor.
#[derive(Clone, Copy)]
enum Law {
    Constant,
    Normal,
    TruncatedNormal,
    Uniform,
}

impl Law {
    fn draw(self, random: &mut Philox) -> f32 {
        match self {
            Law::Constant => 1.0,
            Law::Normal => random.normal(),
            Law::TruncatedNormal => loop {
                let value = random.normal();
                if value.abs() <= 2.0 {
                    break value;
                }
            },
            Law::Uniform => 2.0 * random.uniform() - 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_deviation_that_the_formula_says() {
        let shape = Shape::from([64, 32, 3, 3]);
        let (fan_in, fan_out) = (32.0f32 * 9.0, 64.0f32 * 9.0);
        // A normal cut at two deviations has 0.8796 of its deviation: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
        for (init, deviation) in [
            (Init::Normal(0.5), 0.5),
            (Init::TruncatedNormal(0.5), 0.5 * 0.8796),
            (Init::Uniform(0.5), 0.5 / 3f32.sqrt()),
            (Init::He, (2.0 / fan_in).sqrt()),
            (Init::HeFanOut, (2.0 / fan_out).sqrt()),
            (Init::HeUniform, (2.0 / fan_in).sqrt()),
            (Init::XavierNormal, (2.0 / (fan_in + fan_out)).sqrt()),
            (Init::XavierUniform, (2.0 / (fan_in + fan_out)).sqrt()),
        ] {
            let values = init.values(&shape, 1, 0);
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
            // 18 432 values: the deviation's relative standard error is at most 1 / sqrt(2 n) = 0.52 %, the mean's is
            // 0.74 % of the deviation; four of each.
            assert!((variance.sqrt() / deviation - 1.0).abs() < 0.021, "{init:?}: {}", variance.sqrt());
            assert!(mean.abs() < 0.03 * deviation, "{init:?}: {mean}");
        }
        let cut = Init::TruncatedNormal(0.5).values(&shape, 1, 0);
        assert!(cut.iter().all(|v| v.abs() <= 1.0) && cut.iter().any(|v| v.abs() > 0.95));
    }
}
