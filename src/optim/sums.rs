//! Gradients of a step that takes its images in several passes.

use crate::Result;
use crate::kernel::gradient::accumulate;
use crate::tensor::{DType, Tensor};

/// One sum for each parameter, over the passes of a step. The first pass of a step replaces what is there, so nothing is ever
/// cleared.
pub struct GradientSums {
    sums: Vec<Tensor>,
}

impl GradientSums {
    /// For parameters of these shapes.
    ///
    /// # Errors
    /// Where the device has no more memory, or has failed.
    pub fn new(parameters: &[Tensor]) -> Result<GradientSums> {
        let empty = |p: &Tensor| Tensor::empty(p.gpu(), p.shape(), DType::F32);
        Ok(GradientSums { sums: parameters.iter().map(empty).collect::<Result<_>>()? })
    }

    /// Adds the gradient of parameter number `index`; `progress` knows which pass it is, see
    /// [`crate::kernel::loss::tally`].
    ///
    /// # Errors
    /// Where shapes disagree, or the device has failed.
    pub fn add(&self, index: usize, gradient: &Tensor, progress: &Tensor) -> Result<()> {
        accumulate(gradient, &self.sums[index], progress)
    }

    /// The sum for parameter number `index`.
    pub fn of(&self, index: usize) -> &Tensor {
        &self.sums[index]
    }
}
