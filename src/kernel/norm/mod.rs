//! Normalization by channel: batch statistics, running ones, and what they mean for values and gradients.
//!
//! Every form (a batch normalization by itself, and one folded into the convolution before it) comes down to a rule for
//! each channel, eight numbers that [`rules`] lays down on the device: y = (x - center) * factor + beta, and how the
//! sums of the gradient make the gradients of everything. What uses a rule knows no forms; whether statistics stand
//! still is decided when the rule is laid, from the counter.

mod apply;
mod fold;
mod gradient;
mod layout;
mod statistics;

pub use apply::{input_grad, input_grads, normalize};
pub use fold::{FoldForm, FoldedWeight, fold_weight, fold_weight_grad};
pub use gradient::{ParameterGrads, Shares, parameter_grads, shares};
pub use statistics::{Form, Norm, rules};

use super::catalogue::Entry;
use crate::Result;
use crate::gpu::Gpu;
use crate::tensor::{DType, Tensor};

/// Running statistics of a normalization, on the device.
#[derive(Clone, Debug)]
pub struct NormState {
    /// Mean of each channel, f32 `[C]`.
    pub mean: Tensor,
    /// Variance, f32 `[C]`.
    pub var: Tensor,
    /// Training steps seen, with the mark of frozen state of [`super::counter`], u32 `[C]`.
    pub steps: Tensor,
}

impl NormState {
    /// As a normalization of so many channels starts: mean 0, variance 1, no steps.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn new(gpu: &Gpu, channels: usize) -> Result<NormState> {
        Ok(NormState {
            mean: Tensor::zeros(gpu, [channels], DType::F32)?,
            var: Tensor::full(gpu, [channels], 1.0)?,
            steps: Tensor::zeros(gpu, [channels], DType::U32)?,
        })
    }
}

/// Which statistics normalize.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistics {
    /// Those of the batch (training). The running ones follow: new = momentum * old + (1 - momentum) * batch, the
    /// variance unbiased, and the step is counted.
    Batch {
        /// The share of the running statistics that stays.
        momentum: f32,
        /// From this step on ([`super::counter::NEVER`]: never), and where the state is marked as frozen, the running
        /// statistics are used and left alone; steps are still counted.
        freeze: u32,
    },
    /// As [`Statistics::Batch`], and no step is counted: estimating running statistics is no training.
    Estimate {
        /// The share of the running statistics that stays.
        momentum: f32,
        /// As in [`Statistics::Batch`].
        freeze: u32,
    },
    /// The running ones; nothing changes (evaluation).
    Running,
}

pub(super) fn variants() -> Vec<Entry> {
    let families = [statistics::variants(), apply::variants(), gradient::variants(), fold::variants()];
    families.into_iter().flatten().collect()
}
