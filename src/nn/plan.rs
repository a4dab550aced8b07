//! Which layers run in one kernel. A plan changes where passes over the activations are saved, never what is
//! computed: values are the same bits with and without.

use super::layer::Layer;
use super::network::{Network, NodeId};
use crate::ops::Activation;

/// A piece of the network that runs as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One layer by itself.
    Layer(NodeId),
    /// A convolution or dense layer whose kernel also applies the ReLU behind it.
    WithRelu { linear: NodeId, relu: NodeId },
    /// A ReLU and the max pooling behind it. A quantizer on the ReLU's output is applied after the pooling:
    /// it is monotone too, so the largest value rounded is the largest of the rounded values, on a quarter of
    /// them; and its range, which reaches from zero to the largest value, is the same before and after, as long
    /// as every value is in a window. Only where two values of a window round to the same code may their
    /// gradient go to another of the two.
    ReluPool { relu: NodeId, pool: NodeId },
}

impl Step {
    /// The node whose inputs it takes, and the node whose output it makes.
    pub(super) fn ends(self) -> (NodeId, NodeId) {
        match self {
            Step::Layer(id) => (id, id),
            Step::WithRelu { linear, relu } => (linear, relu),
            Step::ReluPool { relu, pool } => (relu, pool),
        }
    }
}

impl Network {
    pub(super) fn plan(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut done = vec![false; self.nodes.len()];
        for id in 0..self.nodes.len() {
            if done[id] {
                continue;
            }
            let step = self.step_at(id);
            done[step.ends().1] = true;
            steps.push(step);
        }
        steps
    }

    fn step_at(&self, id: NodeId) -> Step {
        let node = &self.nodes[id];
        let next = self.only_consumer(id);
        let relu = |n: &NodeId| matches!(self.nodes[*n].layer, Layer::Activation(Activation::Relu));
        match (&node.layer, next) {
            (Layer::Conv2d(_) | Layer::Dense(_), Some(relu_id))
                if relu(&relu_id) && node.quantizers.output.is_none() =>
            {
                let takes_pool = matches!(self.step_at(relu_id), Step::ReluPool { .. });
                let bare = self.nodes[relu_id].quantizers.input.is_none();
                if takes_pool || !bare {
                    Step::Layer(id)
                } else {
                    Step::WithRelu { linear: id, relu: relu_id }
                }
            }
            (Layer::Activation(Activation::Relu), Some(pool)) if self.pools_behind(id, pool) => {
                Step::ReluPool { relu: id, pool }
            }
            _ => Step::Layer(id),
        }
    }

    fn pools_behind(&self, relu: NodeId, pool: NodeId) -> bool {
        let Layer::MaxPool2d(window) = &self.nodes[pool].layer else { return false };
        let relu = &self.nodes[relu];
        let sees_all = match relu.shape[..] {
            [_, height, width] => window.covers([height, width]),
            _ => false,
        };
        self.nodes[pool].quantizers.is_empty() && (relu.quantizers.output.is_none() || sees_all)
    }

    /// The one node that takes this output, where nobody else does and it is not the network's own.
    fn only_consumer(&self, id: NodeId) -> Option<NodeId> {
        match self.consumers(id)[..] {
            [one] if id != self.output => Some(one),
            _ => None,
        }
    }
}
