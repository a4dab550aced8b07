//! Which layers run in one kernel. A plan changes where passes over the activations are saved, never what is
//! computed: values are the same bits with and without.

use super::graph::{Graph, NodeId};
use super::layer::Layer;
use super::quantizer::{FakeQuantizer, QuantizerRule};
use crate::ops::Activation;

/// A piece of the network that runs as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One layer by itself.
    Layer(NodeId),
    /// A convolution, dense layer, normalization or addition whose kernel also applies the ReLU behind it.
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

/// The pieces of a graph, in an order in which they can run.
pub(super) fn plan(graph: &Graph) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut done = vec![false; graph.nodes.len()];
    for id in 0..graph.nodes.len() {
        if done[id] {
            continue;
        }
        let step = step_at(graph, id);
        done[step.ends().1] = true;
        steps.push(step);
    }
    steps
}

fn step_at(graph: &Graph, id: NodeId) -> Step {
    let node = &graph.nodes[id];
    let next = graph.only_consumer(id);
    let relu = |n: &NodeId| matches!(graph.nodes[*n].layer, Layer::Activation(Activation::Relu));
    match (&node.layer, next) {
        (
            Layer::Conv2d(_) | Layer::Dense(_) | Layer::BatchNorm2d(_) | Layer::Conv2dBn(_) | Layer::Add,
            Some(relu_id),
        ) if relu(&relu_id) && node.quantizers.output.is_none() => {
            let takes_pool = matches!(step_at(graph, relu_id), Step::ReluPool { .. });
            let bare = graph.nodes[relu_id].quantizers.input.is_none();
            if takes_pool || !bare { Step::Layer(id) } else { Step::WithRelu { linear: id, relu: relu_id } }
        }
        (Layer::Activation(Activation::Relu), Some(pool)) if pools_behind(graph, id, pool) => {
            Step::ReluPool { relu: id, pool }
        }
        _ => Step::Layer(id),
    }
}

fn pools_behind(graph: &Graph, relu: NodeId, pool: NodeId) -> bool {
    let Layer::MaxPool2d(window) = &graph.nodes[pool].layer else { return false };
    let relu = &graph.nodes[relu];
    let sees_all = match relu.shape[..] {
        [_, height, width] => window.covers([height, width]),
        _ => false,
    };
    let commutes = |quantizer: FakeQuantizer| match quantizer.rule {
        QuantizerRule::Range(_) => sees_all,
        // A step starts from the mean of all values, and the pooled ones have another.
        QuantizerRule::LearnedStep(_) => false,
    };
    graph.nodes[pool].quantizers.is_empty() && relu.quantizers.output.is_none_or(commutes)
}
