//! Learned step size quantization (Esser et al. 2019, arXiv 1902.08153).

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::learned_step::{self, StepRule, StepState};
use crate::kernel::quantize::Observation;
use crate::tensor::Tensor;

/// `x` rounded to whole multiples of `scale`, a parameter that gets a gradient; a float again.
///
/// `scale` is f32 `[C]`, for the channels of the first axis, or `[1]` for the whole tensor; it starts as
/// [`UNSET`](learned_step::UNSET). `steps` counts training steps, u32 of the same shape. When values are rounded, when
/// the scale is set from them, and what they have to do with the scale's gradient, is said at
/// [`quantize`](learned_step::quantize) and [`gradient`](learned_step::gradient).
///
/// # Errors
/// Where the scale or the counters do not fit `x`, the rule's bits are not 2 to 8, or the device has failed.
pub fn learned_step_quant(
    x: &Var,
    scale: &Var,
    steps: &Tensor,
    rule: &StepRule,
    observation: Observation,
) -> Result<Var> {
    let state = StepState { scale: scale.tensor().clone(), steps: steps.clone() };
    let (y, used) = learned_step::quantize(x.tensor(), &state, rule, observation)?;
    // Calibration passes values, and so gradients, whatever the device knows.
    if let Observation::Calibrate { .. } = observation {
        return Ok(x.clone());
    }
    Var::record(y, &[x, scale], || LearnedStep { x: x.tensor().clone(), used, rule: *rule })
}

struct LearnedStep {
    x: Tensor,
    used: Tensor,
    rule: StepRule,
}

impl Backward for LearnedStep {
    fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let (dx, ds) = learned_step::gradient(dy, &self.x, &self.used, &self.rule, wanted[0])?;
        Ok(vec![dx, Some(ds)])
    }
}
