//! Losses.

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::elementwise::{Binary, binary};
use crate::kernel::loss::{self, CrossEntropy};
use crate::kernel::reduce::{Reduction, reduce};
use crate::tensor::Tensor;

/// A loss and what is known of each row beside it.
pub struct Loss {
    /// Mean over the rows, shape `[1]`.
    pub mean: Var,
    /// Loss of each row, and what comes before its label.
    pub rows: CrossEntropy,
}

/// Softmax cross entropy of logits [N, K] with sparse labels u32 `[N]`, averaged over the rows
/// (MindSpore: `SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean")`; PyTorch: `CrossEntropyLoss`).
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn softmax_cross_entropy(logits: &Var, labels: &Tensor) -> Result<Loss> {
    smoothed_cross_entropy(logits, labels, 0.0)
}

/// As [`softmax_cross_entropy`] with label smoothing e: the target of a row is (1 - e) * one_hot + e / K (Szegedy et al. 2016,
/// section 7; PyTorch: `CrossEntropyLoss(label_smoothing=e)`. MindSpore's model zoo gives e / (K - 1) to each other class: its
/// e is this one's times (K - 1) / K).
///
/// # Errors
/// Where shapes disagree, the smoothing is not at least 0 and below 1, or the device has failed.
pub fn smoothed_cross_entropy(logits: &Var, labels: &Tensor, smoothing: f32) -> Result<Loss> {
    let rows = loss::softmax_cross_entropy(logits.tensor(), labels, smoothing)?;
    let mean = reduce(Reduction::Mean, &rows.losses, 0..1)?.reshape([1])?;
    let gradient = rows.gradient.clone();
    let mean = Var::record(mean, &[logits], || MeanCrossEntropy { gradient })?;
    Ok(Loss { mean, rows })
}

struct MeanCrossEntropy {
    gradient: Tensor,
}

impl Backward for MeanCrossEntropy {
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(binary(Binary::Mul, &self.gradient, dy, 0.0)?)])
    }
}
