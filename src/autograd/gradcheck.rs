//! Gradients held against finite differences.

use super::{Tape, Var};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// How to compare.
#[derive(Clone, Copy, Debug)]
pub struct GradCheck {
    /// Half the distance of the two evaluations. In f32, near the cube root of the precision times the
    /// values' size is best: 1e-2 for values around 1.
    pub step: f32,
    /// Allowed distance, relative to the larger of the two gradients.
    pub relative: f32,
    /// Allowed distance besides: rounding of the loss divided by the step.
    pub absolute: f32,
}

impl Default for GradCheck {
    fn default() -> Self {
        GradCheck { step: 1e-2, relative: 1e-2, absolute: 2e-3 }
    }
}

/// The gradient that came nearest to its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slack {
    /// Its distance from the finite difference.
    pub error: f32,
    /// The distance that was allowed there.
    pub allowed: f32,
}

impl Slack {
    fn nearer(self, other: Slack) -> Slack {
        // Bounds may be zero, so compare products instead of quotients.
        if other.error * self.allowed > self.error * other.allowed || self.allowed == 0.0 {
            other
        } else {
            self
        }
    }
}

/// Compares the gradients of `loss`, a function of `inputs` to a single number, with central differences for
/// every value of every input, and answers which gradient came nearest to its bound.
///
/// # Errors
/// [`Error::Mismatch`] if one differs by more than allowed: the message names the input, the place and both values.
pub fn gradcheck(check: GradCheck, inputs: &[Tensor], loss: impl Fn(&[Var]) -> Result<Var>) -> Result<Slack> {
    let tape = Tape::new();
    let leaves: Vec<Var> = inputs.iter().map(|t| tape.leaf(t)).collect();
    let gradients = tape.backward(&loss(&leaves)?)?;
    let mut nearest = Slack::default();
    for (number, input) in inputs.iter().enumerate() {
        let analytic = match gradients.of(&leaves[number]) {
            Some(gradient) => gradient.read_f32()?,
            None => vec![0.0; input.count()],
        };
        let values = input.read_f32()?;
        let steps: Vec<[f32; 2]> = values.iter().map(|v| [v + check.step, v - check.step]).collect();
        let losses = moved_losses(inputs, number, &values, &steps, &loss)?;
        for (place, (&found, [above, below])) in analytic.iter().zip(&steps).enumerate() {
            let numeric = (losses[2 * place] - losses[2 * place + 1]) / (above - below);
            let error = (numeric - found).abs();
            let allowed = check.relative * numeric.abs().max(found.abs()) + check.absolute;
            // Written so that a NaN fails.
            if error <= allowed {
                nearest = nearest.nearer(Slack { error, allowed });
                continue;
            }
            return Err(Error::Mismatch(format!(
                "input {number}, value {place}: the gradient is {found}, finite differences give {numeric}"
            )));
        }
    }
    Ok(nearest)
}

/// The loss with each value of one input moved, to both sides: all are computed before the host waits, once.
fn moved_losses(
    inputs: &[Tensor],
    number: usize,
    values: &[f32],
    steps: &[[f32; 2]],
    loss: impl Fn(&[Var]) -> Result<Var>,
) -> Result<Vec<f32>> {
    let (input, gpu) = (&inputs[number], inputs[number].gpu());
    let mut vars: Vec<Var> = inputs.iter().map(|t| Var::constant(t.clone())).collect();
    let losses = Tensor::empty(gpu, [2 * steps.len()], DType::F32)?;
    let mut moved = values.to_vec();
    for (place, to) in steps.iter().enumerate() {
        for (side, &value) in to.iter().enumerate() {
            moved[place] = value;
            vars[number] = Var::constant(Tensor::from_f32(gpu, input.shape(), &moved)?);
            let found = loss(&vars)?;
            gpu.copy(found.tensor().buffer(), losses.buffer(), 4 * (2 * place + side) as u64)?;
        }
        moved[place] = values[place];
    }
    losses.read_f32()
}
