//! Which layer gets which quantizers: the rules of the wrapping, and of what is redundant.

use super::simqat::{SimQat, Style};
use crate::nn::{FakeQuantizer, Graph, Layer, NodeId, Quantizers};
use crate::ops::Activation;

/// The graph with quantizers.
pub(super) fn place(simqat: &SimQat, mut graph: Graph) -> Graph {
    let wrapped: Vec<bool> = (0..graph.nodes.len()).map(|id| is_wrapped(simqat, &graph, id)).collect();
    // Whether a node's values lie on a grid, so that a consumer's input quantizer would do nothing new.
    let mut on_grid = vec![false; graph.nodes.len()];
    for id in 0..graph.nodes.len() {
        let quantizers = match wrapped[id] {
            true => quantizers_of(simqat, &graph, id, &wrapped, &on_grid),
            false => Quantizers::default(),
        };
        let node = &mut graph.nodes[id];
        node.quantizers = quantizers;
        on_grid[id] = match &node.layer {
            // They only move values, and hand the grid on.
            Layer::MaxPool2d(_) | Layer::Flatten => on_grid[node.inputs[0]],
            // Where a wrapped layer has no quantizer at its output, the activation behind it has: between the two
            // nothing is rounded, as in an integer kernel.
            _ => wrapped[id],
        };
    }
    graph
}

fn quantizers_of(
    simqat: &SimQat,
    graph: &Graph,
    id: NodeId,
    wrapped: &[bool],
    on_grid: &[bool],
) -> Quantizers {
    let node = &graph.nodes[id];
    let settings = simqat.settings_for(&node.name);
    let activation = |producer: NodeId| {
        let signed = can_be_negative(graph, producer);
        FakeQuantizer::per_layer(settings.activations.rule(signed, simqat.freeze_observers))
    };
    // Rounding before a function of each value and behind it loses twice; behind is where an integer kernel does.
    let is_activation = matches!(node.layer, Layer::Activation(_));
    let rounds_once = simqat.style == Style::Deploy && is_activation;
    let input = |index: usize| {
        node.inputs.get(index).filter(|&&p| !on_grid[p] && !rounds_once).map(|&p| activation(p))
    };
    let weight = node.layer.weight_channels().map(|channels| {
        let rule = settings.weights.rule(true, simqat.freeze_observers);
        match settings.weights.per_channel {
            true => FakeQuantizer::per_channel(rule, channels),
            false => FakeQuantizer::per_layer(rule),
        }
    });
    // Behind a layer whose only consumer is an activation, an integer kernel applies both before it rounds.
    let left_to_activation = simqat.style == Style::Deploy
        && !is_activation
        && graph
            .only_consumer(id)
            .is_some_and(|next| matches!(graph.nodes[next].layer, Layer::Activation(_)) && wrapped[next]);
    Quantizers {
        input: input(0),
        second_input: input(1),
        weight,
        output: (!left_to_activation).then(|| activation(id)),
    }
}

/// Layers that compute are wrapped; what only moves values stays as it is.
fn is_wrapped(simqat: &SimQat, graph: &Graph, id: NodeId) -> bool {
    let node = &graph.nodes[id];
    let kind = match &node.layer {
        Layer::Conv2d(_) | Layer::Conv2dBn(_) | Layer::Dense(_) | Layer::Activation(_) => true,
        Layer::Add => simqat.style == Style::Deploy,
        Layer::Input
        | Layer::BatchNorm2d(_)
        | Layer::MaxPool2d(_)
        | Layer::AvgPool2d { .. }
        | Layer::Flatten
        | Layer::Custom(_) => false,
    };
    kind && !simqat.settings_for(&node.name).skip
}

/// False where the values of a node are certainly not negative.
fn can_be_negative(graph: &Graph, id: NodeId) -> bool {
    let node = &graph.nodes[id];
    let any_input = || node.inputs.iter().any(|&input| can_be_negative(graph, input));
    match &node.layer {
        Layer::Activation(kind) => match kind {
            Activation::Relu | Activation::Relu6 | Activation::Sigmoid | Activation::HSigmoid => false,
            Activation::LeakyRelu(_) | Activation::Tanh | Activation::HSwish => true,
        },
        Layer::MaxPool2d(_) | Layer::AvgPool2d { .. } | Layer::Flatten | Layer::Add => any_input(),
        Layer::Input
        | Layer::Conv2d(_)
        | Layer::Conv2dBn(_)
        | Layer::Dense(_)
        | Layer::BatchNorm2d(_)
        | Layer::Custom(_) => true,
    }
}
