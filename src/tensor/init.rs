//! Initial values of parameters, drawn on the host so that every adapter starts from the same bits.

use serde::{Deserialize, Serialize};

use super::random::Philox;
use super::{Shape, Tensor};
use crate::Result;
use crate::gpu::Gpu;

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// The same value everywhere.
    Constant(f32),
    /// Normal with this standard deviation.
    Normal(f32),
    /// He et al. 2015 (arXiv 1502.01852, equation 10): normal with standard deviation sqrt(2 / fan_in).
    He,
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
        let mut random = Philox::new(seed, stream);
        let draw = || match self {
            Init::Constant(value) => value,
            Init::Normal(deviation) => random.normal() * deviation,
            Init::He => random.normal() * (2.0 / fan_in).sqrt(),
            Init::XavierUniform => (2.0 * random.uniform() - 1.0) * (6.0 / (fan_in + fan_out)).sqrt(),
        };
        std::iter::repeat_with(draw).take(shape.count()).collect()
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
