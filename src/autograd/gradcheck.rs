//! Gradients held against finite differences.

use super::{Tape, Var};
use crate::tensor::Tensor;
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

/// Compares the gradients of `loss`, a function of `inputs` to a single number, with central differences for
/// every value of every input.
///
/// # Errors
/// Where one differs by more than allowed: the message names the input, the place and both values.
pub fn gradcheck(check: GradCheck, inputs: &[Tensor], loss: impl Fn(&[Var]) -> Result<Var>) -> Result<()> {
    let tape = Tape::new();
    let leaves: Vec<Var> = inputs.iter().map(|t| tape.leaf(t)).collect();
    let gradients = tape.backward(&loss(&leaves)?)?;
    for (number, input) in inputs.iter().enumerate() {
        let analytic = match gradients.of(&leaves[number]) {
            Some(gradient) => gradient.read_f32()?,
            None => vec![0.0; input.count()],
        };
        let values = input.read_f32()?;
        let at = |place: usize, value: f32| -> Result<f32> {
            let mut moved = values.clone();
            moved[place] = value;
            let mut vars: Vec<Var> = inputs.iter().map(|t| Var::constant(t.clone())).collect();
            vars[number] = Var::constant(Tensor::from_f32(input.gpu(), input.shape(), &moved)?);
            Ok(loss(&vars)?.tensor().read_f32()?[0])
        };
        for (place, &value) in values.iter().enumerate() {
            let (above, below) = (value + check.step, value - check.step);
            let numeric = (at(place, above)? - at(place, below)?) / (above - below);
            let found = analytic[place];
            let allowed = check.relative * numeric.abs().max(found.abs()) + check.absolute;
            // Written so that a NaN fails.
            if (numeric - found).abs() <= allowed {
                continue;
            }
            return Err(Error::Invalid(format!(
                "input {number}, value {place}: the gradient is {found}, finite differences give {numeric}"
            )));
        }
    }
    Ok(())
}
