//! Which node gets which quantizers: the rules of the wrapping, and of what is redundant.

use super::simqat::{Placement, SimQat};
use crate::nn::{FakeQuantizer, Layer, Network, NodeId, Quantizers};

/// The quantizers of a node.
pub(super) fn quantizers_of(simqat: &SimQat, network: &Network, id: NodeId) -> Quantizers {
    let node = &network.nodes()[id];
    if !is_wrapped(&node.layer) {
        return Quantizers::default();
    }
    let activation = FakeQuantizer { rule: simqat.activations.rule(), channels: 1 };
    let weight = output_channels(&node.layer).map(|channels| FakeQuantizer {
        rule: simqat.weights.rule(),
        channels: if simqat.weights.per_channel { channels } else { 1 },
    });
    let needs_input = !node.inputs.iter().all(|&producer| is_quantized(network, producer));
    Quantizers {
        input: needs_input.then_some(activation),
        weight,
        output: has_output_quantizer(simqat, network, id).then_some(activation),
    }
}

/// Convolutions, dense layers and activations are wrapped; what only moves values stays as it is.
fn is_wrapped(layer: &Layer) -> bool {
    match layer {
        Layer::Conv2d(_) | Layer::Dense(_) | Layer::Activation(_) => true,
        Layer::Input
        | Layer::MaxPool2d(_)
        | Layer::AvgPool2d { .. }
        | Layer::Flatten
        | Layer::Add
        | Layer::Custom(_) => false,
    }
}

fn output_channels(layer: &Layer) -> Option<usize> {
    match layer {
        Layer::Conv2d(conv) => Some(conv.out_channels),
        Layer::Dense(dense) => Some(dense.out_features),
        Layer::Input
        | Layer::Activation(_)
        | Layer::MaxPool2d(_)
        | Layer::AvgPool2d { .. }
        | Layer::Flatten
        | Layer::Add
        | Layer::Custom(_) => None,
    }
}

/// Behind a convolution or dense layer whose only consumer is an activation, the default placement leaves
/// the quantizer to the activation: an integer kernel applies both before it rounds.
fn has_output_quantizer(simqat: &SimQat, network: &Network, id: NodeId) -> bool {
    let layer = &network.nodes()[id].layer;
    let feeds_activation = match network.consumers(id)[..] {
        [one] => matches!(network.nodes()[one].layer, Layer::Activation(_)),
        _ => false,
    };
    is_wrapped(layer)
        && !(simqat.placement == Placement::AfterActivation
            && !matches!(layer, Layer::Activation(_))
            && feeds_activation)
}

/// True where the values of this output lie on a grid already, so that a consumer's input quantizer would do
/// nothing new. Layers that only move values hand the grid on.
fn is_quantized(network: &Network, id: NodeId) -> bool {
    let node = &network.nodes()[id];
    match &node.layer {
        Layer::MaxPool2d(_) | Layer::Flatten => is_quantized(network, node.inputs[0]),
        // The activation behind it quantizes; between the two nothing is rounded, as in an integer kernel.
        Layer::Conv2d(_) | Layer::Dense(_) => true,
        Layer::Activation(_) => true,
        Layer::Input | Layer::AvgPool2d { .. } | Layer::Add | Layer::Custom(_) => false,
    }
}
