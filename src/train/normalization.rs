//! From bytes to what a network takes.

use serde::{Deserialize, Serialize};

use crate::gpu::Gpu;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Mean and standard deviation of each channel, of values between 0 and 1. A byte becomes (byte / 255 - mean) / deviation.
///
/// It is computed as (byte - 255 mean) * (1 / (255 deviation)), with both constants rounded to f32: a difference and then a
/// product, which no compiler may fuse. So a byte becomes the same number in every shader, on every adapter that rounds sums and
/// products to the nearest, and on the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// One for each channel.
    pub mean: Vec<f32>,
    /// One for each channel; not 0.
    pub deviation: Vec<f32>,
}

impl Normalization {
    /// Fails where it is not one for pictures of so many channels.
    pub(super) fn check(&self, channels: usize) -> Result<()> {
        let Normalization { mean, deviation } = self;
        let usable = |m: &f32, d: &f32| m.is_finite() && d.is_finite() && factor(*d).is_finite();
        let all = std::iter::zip(mean, deviation).all(|(m, d)| usable(m, d));
        if mean.len() != channels || deviation.len() != channels || !all {
            return Err(Error::Invalid(format!(
                "data.mean = {mean:?} and data.deviation = {deviation:?}: the pictures have {channels} channels, and \
                 each needs a mean and a deviation that is not 0"
            )));
        }
        Ok(())
    }

    /// For each channel what is taken off a byte, and what the difference is multiplied by.
    pub(super) fn constants(&self) -> impl Iterator<Item = [f32; 2]> {
        let Normalization { mean, deviation } = self;
        std::iter::zip(mean, deviation).map(|(&m, &d)| [(255.0 * f64::from(m)) as f32, factor(d)])
    }

    /// The constants as f32 [C, 2], checked.
    pub(super) fn on_device(&self, gpu: &Gpu, channels: usize) -> Result<Tensor> {
        self.check(channels)?;
        Tensor::from_f32(gpu, [channels, 2], &self.constants().flatten().collect::<Vec<_>>())
    }
}

fn factor(deviation: f32) -> f32 {
    (1.0 / (255.0 * f64::from(deviation))) as f32
}
