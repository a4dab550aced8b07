//! Fake quantization with a straight-through gradient (Jacob et al. 2018, arXiv 1712.05877).

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::quantize::{self, GridRule, Observation, RangeState};
use crate::tensor::Tensor;

/// `x` rounded to the grid of the observed range; a float again.
///
/// What happens to the range, and whether values are rounded or go through unchanged, is told by `observation`
/// and decided on the device. A state of more than one entry is per channel, over the first axis.
///
/// # Errors
/// Where the state does not fit `x`, or the device has failed.
pub fn fake_quant(x: &Var, state: &RangeState, rule: &GridRule, observation: Observation) -> Result<Var> {
    let (y, grids) = quantize::quantize(x.tensor(), state, rule, observation)?;
    // Calibration passes values, and so gradients, whatever the device knows.
    if let Observation::Calibrate { .. } = observation {
        return Ok(x.clone());
    }
    Var::record(y, &[x], || StraightThrough { x: x.tensor().clone(), grids })
}

struct StraightThrough {
    x: Tensor,
    grids: Tensor,
}

impl Backward for StraightThrough {
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(quantize::straight_through(dy, &self.x, &self.grids)?)])
    }
}
