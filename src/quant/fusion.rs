//! Joining layers before they are quantized.

use super::simqat::{SimQat, Style};
use crate::nn::{BnFold, Conv2dBn, Graph, Layer, Node};

/// The graph with every convolution and the normalization behind it in one, where the options say so, and with
/// normalizations that know when to freeze.
pub(super) fn fuse(simqat: &SimQat, graph: &Graph) -> Graph {
    let mut graph = match simqat.enable_fusion {
        true => graph.fuse(conv_bn),
        false => graph.clone(),
    };
    for node in &mut graph.nodes {
        // Also one that was joined before.
        if let Layer::Conv2dBn(layer) = &mut node.layer {
            layer.fold = simqat.form_of(&node.name);
        }
        match &mut node.layer {
            Layer::BatchNorm2d(norm) if simqat.style == Style::Deploy => {
                norm.freeze = norm.freeze.min(simqat.freeze_bn);
            }
            Layer::Conv2dBn(layer) if simqat.style == Style::Deploy || layer.fold == BnFold::TwoConv => {
                layer.norm.freeze = layer.norm.freeze.min(simqat.freeze_bn);
            }
            _ => {}
        }
    }
    graph
}

fn conv_bn(first: &Node, second: &Node) -> Option<Layer> {
    match (&first.layer, &second.layer) {
        (Layer::Conv2d(conv), Layer::BatchNorm2d(norm)) => Some(Layer::Conv2dBn(Conv2dBn {
            conv: conv.clone(),
            norm: norm.clone(),
            norm_name: second.name.clone(),
            fold: BnFold::Without, // until `fuse` says how it trains
        })),
        _ => None,
    }
}

impl SimQat {
    /// How the convolution `name` and the normalization behind it train: what is not rounded needs no second convolution.
    fn form_of(&self, name: &str) -> BnFold {
        if self.settings_for(name).skip { BnFold::Without } else { self.form() }
    }

    /// How joined convolutions and normalizations train.
    pub(super) fn form(&self) -> BnFold {
        match (self.bn_fold, self.one_conv_fold) {
            (false, _) => BnFold::Without,
            (true, true) => BnFold::OneConv,
            (true, false) => BnFold::TwoConv,
        }
    }
}
