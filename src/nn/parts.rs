//! Parts of an evaluation by themselves: what is converted, and what a conversion is compared with.

use super::forward::Runner;
use super::graph::{Node, NodeId};
use super::network::Network;
use super::quantizer::{QuantizerRule, Slot};
use crate::autograd::Var;
use crate::kernel::learned_step::{LEAST_STEP, UNSET};
use crate::kernel::quantize::{Observation, lay_grid};
use crate::rounding::half_away;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// What a quantizer rounds to in evaluation: the multiples of `step` from `lowest` to `highest` times it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Distance of neighbouring values; 0 where all values become 0.
    pub step: f32,
    /// At most 0.
    pub lowest: i32,
    /// At least 0.
    pub highest: i32,
}

impl Network {
    /// What the quantizer in a slot of a node rounds to, for each of its channels; nothing where there is none.
    ///
    /// # Errors
    /// Where a learned step was never set, with the quantizer's path, or the device has failed.
    pub fn quantizer_steps(&self, node: &Node, slot: Slot) -> Result<Option<Vec<Steps>>> {
        let Some(quantizer) = node.quantizers.get(slot) else { return Ok(None) };
        match &quantizer.rule {
            QuantizerRule::Range(rule) => {
                let state = self.range_state(node, slot)?;
                // Without observing, the grid follows from the state alone.
                let grids = lay_grid(&state.min, &state, rule, Observation::Off)?.read_f32()?;
                let steps = grids.chunks_exact(4).map(|grid| match (grid[0], grid[1], grid[2]) {
                    (_, _, 0.0) => Steps { step: 0.0, lowest: 0, highest: 0 },
                    (low, high, step) => Steps {
                        step,
                        lowest: half_away((low / step).into()) as i32,
                        highest: half_away((high / step).into()) as i32,
                    },
                });
                Ok(Some(steps.collect()))
            }
            QuantizerRule::LearnedStep(rule) => {
                let path = node.quantizer_path(slot);
                let name = format!("{path}.scale");
                let scale =
                    self.parameter(&name).map(|p| p.tensor.read_f32()).transpose()?.unwrap_or_default();
                if scale.contains(&UNSET) {
                    return Err(Error::Invalid(format!(
                        "the step of {path} was never set: train past its quant_delay, or calibrate, first"
                    )));
                }
                let (lowest, highest) = rule.codes();
                let of = |scale: f32| Steps { step: scale.max(LEAST_STEP), lowest, highest };
                Ok(Some(scale.into_iter().map(of).collect()))
            }
        }
    }

    /// The weights of a convolution or dense layer as evaluation uses them: folded, where the layer trains with a fold of
    /// its normalization, and rounded.
    ///
    /// # Errors
    /// Where the node has none, or the device has failed.
    pub fn rounded_weight(&self, node: &Node) -> Result<Tensor> {
        Ok(Runner::evaluating(self).rounded_weight(node)?.tensor().clone())
    }

    /// What a node makes of inputs [N, ...] in evaluation, in front of its output's quantizer. Inputs go through its
    /// quantizers of inputs.
    ///
    /// # Errors
    /// Where the inputs do not fit, or the device has failed.
    pub fn unrounded_output(&self, id: NodeId, inputs: &[Tensor]) -> Result<Tensor> {
        let node = &self.nodes()[id];
        let wanted = node.inputs.len();
        let [first, ..] = inputs else {
            return Err(Error::Invalid(format!("\"{}\" takes {wanted} inputs, and none came", node.name)));
        };
        let mut runner = Runner::evaluating(self);
        let mut rounded = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let input = Var::constant(input.clone());
            rounded.push(match Slot::of_input(index) {
                Some(slot) => runner.quantized(&input, node, slot)?,
                None => input,
            });
        }
        if rounded.len() != wanted {
            return Err(Error::Invalid(format!(
                "\"{}\" takes {wanted} inputs, and {} came",
                node.name,
                rounded.len()
            )));
        }
        Ok(runner.layer(node, first, &rounded, false)?.tensor().clone())
    }

    /// `x` through the quantizer in a slot of a node in evaluation; as it is, where there is none.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn rounded(&self, x: &Tensor, id: NodeId, slot: Slot) -> Result<Tensor> {
        let x = Var::constant(x.clone());
        Ok(Runner::evaluating(self).quantized(&x, &self.nodes()[id], slot)?.tensor().clone())
    }
}
