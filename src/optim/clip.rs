//! Clipping gradients by their norm.

use crate::kernel::gradient::{clip, partial_sums, square_sums};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Scales the gradients of all parameters together, so that the norm of all their values is at most `limit`
/// (PyTorch: `clip_grad_norm_`). All of it happens on the device.
pub struct GradientClip {
    limit: f32,
    factor: Tensor,
    partials: Tensor,
    /// Where the partial sums of each parameter begin.
    places: Vec<usize>,
}

impl GradientClip {
    /// For gradients of these parameters.
    ///
    /// # Errors
    /// Where the limit is not a positive number, there are no parameters, or the device has failed.
    pub fn new(parameters: &[Tensor], limit: f32) -> Result<GradientClip> {
        if !(limit > 0.0 && limit.is_finite()) {
            return Err(Error::Invalid(format!(
                "optimizer.clip_norm = {limit}: it must be a positive number"
            )));
        }
        let Some(first) = parameters.first() else {
            return Err(Error::Invalid("clipping needs parameters, and was given none".into()));
        };
        let mut places = Vec::new();
        let mut end = 0;
        for parameter in parameters {
            places.push(end);
            end += partial_sums(parameter.count());
        }
        Ok(GradientClip {
            limit,
            factor: Tensor::full(first.gpu(), [1], 1.0)?,
            // Zeros: a parameter that no gradient reaches adds nothing.
            partials: Tensor::zeros(first.gpu(), [end], DType::F32)?,
            places,
        })
    }

    /// Takes the gradient of parameter number `index` into the norm.
    ///
    /// # Errors
    /// Where it has another size than the parameter, or the device has failed.
    pub fn measure(&self, index: usize, gradient: &Tensor) -> Result<()> {
        square_sums(gradient, &self.partials, self.places[index])
    }

    /// Ends the norm of a step of `passes`: it goes into the step's entry of `history`, and what [`GradientClip::factor`] holds
    /// is up to date. See [`crate::kernel::gradient::clip`].
    ///
    /// # Errors
    /// Where a shape is another, or the device has failed.
    pub fn finish(&self, history: &Tensor, progress: &Tensor, passes: usize) -> Result<()> {
        clip(&self.partials, &self.factor, history, progress, passes, self.limit)
    }

    /// The factor of all gradients, f32 `[1]`, for [`Momentum::scaled_by`](super::Momentum::scaled_by).
    pub fn factor(&self) -> &Tensor {
        &self.factor
    }
}
