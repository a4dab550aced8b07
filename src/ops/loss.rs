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
    /// Loss and hit of each row.
    pub rows: CrossEntropy,
}

/// Softmax cross entropy of logits [N, K] with sparse labels u32 `[N]`, averaged over the rows
/// (MindSpore: `SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean")`; PyTorch: `CrossEntropyLoss`).
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn softmax_cross_entropy(logits: &Var, labels: &Tensor) -> Result<Loss> {
    let rows = loss::softmax_cross_entropy(logits.tensor(), labels)?;
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
