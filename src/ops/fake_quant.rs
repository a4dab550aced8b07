//! Fake quantization with a straight-through gradient (Jacob et al. 2018, arXiv 1712.05877).

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::quantize::{self, GridRule, RangeState};
use crate::tensor::Tensor;

/// `x` rounded to the grid of the observed range; a float again.
///
/// With `observe` (training), the range first follows `x` and the step is counted; before the rule's delay
/// has passed, values go through unchanged. Without (evaluation), the range stays and values are always
/// rounded. A state of more than one entry is per channel, over the first axis.
///
/// # Errors
/// Where the state does not fit `x`, or the device has failed.
pub fn fake_quant(x: &Var, state: &RangeState, rule: &GridRule, observe: bool) -> Result<Var> {
    let (y, grids) = quantize::quantize(x.tensor(), state, rule, observe)?;
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
