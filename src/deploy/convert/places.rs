//! Where the values of an integer layer are found in the simulated network.

use crate::Result;
use crate::nn::{Network, NodeId, Slot};
use crate::tensor::Tensor;

/// The nodes that compute what an integer layer does, and the quantizer behind them.
#[derive(Clone, Debug)]
pub(in crate::deploy) struct Place {
    /// One behind the other; none for the network's input and for changes of grid.
    pub chain: Vec<NodeId>,
    /// None where codes are only moved.
    pub rounding: Option<(NodeId, Slot)>,
}

/// What the simulated network gives for a layer.
pub(in crate::deploy) struct Simulated {
    /// In front of the quantizer.
    pub unrounded: Tensor,
    /// Behind it.
    pub rounded: Tensor,
}

impl Place {
    /// What the simulated network makes of inputs [N, ...], given as the numbers that their codes stand for.
    pub fn simulate(&self, simulated: &Network, inputs: &[Tensor]) -> Result<Simulated> {
        let unrounded = match self.chain.split_first() {
            None => inputs[0].clone(),
            Some((&first, rest)) => {
                rest.iter().try_fold(simulated.unrounded_output(first, inputs)?, |x, &id| {
                    simulated.unrounded_output(id, &[x])
                })?
            }
        };
        let rounded = match self.rounding {
            Some((id, slot)) => simulated.rounded(&unrounded, id, slot)?,
            None => unrounded.clone(),
        };
        Ok(Simulated { unrounded, rounded })
    }
}
