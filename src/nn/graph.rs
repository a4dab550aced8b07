//! The graph: what a network computes, without its values. Rewriting a network is a function from graph to graph.

use super::layer::{Layer, ParameterSpec};
use super::norm::BatchNorm2d;
use super::quantizer::{Quantizers, Slot};
use crate::tensor::Shape;
use crate::{Error, Result};

/// A node's place in [`Graph::nodes`]; inputs come before their users.
pub type NodeId = usize;

/// A named layer and where its inputs come from.
#[derive(Clone, Debug)]
pub struct Node {
    /// The layer path: parameters are `{name}.weight` and so on.
    pub name: String,
    /// What it does.
    pub layer: Layer,
    /// Whose outputs it takes.
    pub inputs: Vec<NodeId>,
    /// Shape of its output without the batch axis.
    pub shape: Shape,
    /// Its fake quantizers.
    pub quantizers: Quantizers,
}

impl Node {
    /// The path of the state of the quantizer in a slot.
    pub fn quantizer_path(&self, slot: Slot) -> String {
        format!("{}.{}", self.name, slot.name())
    }

    pub(super) fn quantizer_parameters(&self) -> Vec<ParameterSpec> {
        let of = |slot| Some(self.quantizers.get(slot)?.parameters(&self.quantizer_path(slot)));
        Slot::ALL.into_iter().filter_map(of).flatten().collect()
    }

    /// Its normalization and the path of that one's parameters, where it has one.
    pub fn norm(&self) -> Option<(&str, &BatchNorm2d)> {
        match &self.layer {
            Layer::BatchNorm2d(norm) => Some((&self.name, norm)),
            Layer::Conv2dBn(layer) => Some((&layer.norm_name, &layer.norm)),
            Layer::Input
            | Layer::Conv2d(_)
            | Layer::Dense(_)
            | Layer::Activation(_)
            | Layer::MaxPool2d(_)
            | Layer::AvgPool2d { .. }
            | Layer::Flatten
            | Layer::Add
            | Layer::Custom(_) => None,
        }
    }
}

/// Named layers, each taking outputs of layers before it.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Inputs before their users; the first is [`Layer::Input`].
    pub nodes: Vec<Node>,
    /// The node whose output is the network's.
    pub output: NodeId,
}

impl Graph {
    /// Fails where the layers do not make a network, with the layer's name: the first must be the only
    /// [`Layer::Input`], and each other must take as many outputs of layers before it as it wants.
    ///
    /// # Errors
    /// See above.
    pub fn check(&self) -> Result<()> {
        let input = self.nodes.iter().position(|node| matches!(node.layer, Layer::Input));
        if input != Some(0) || self.output >= self.nodes.len() {
            return Err(Error::Invalid(format!(
                "a graph of {} layers with its input at {input:?} and its output at {} is no network; the input comes \
                 first",
                self.nodes.len(),
                self.output
            )));
        }
        let fits = |(id, node): &(usize, &Node)| {
            let before = node.inputs.iter().all(|input| input < id);
            before && node.layer.arity().is_none_or(|wanted| wanted == node.inputs.len())
        };
        match self.nodes.iter().enumerate().find(|node| !fits(node)) {
            None => Ok(()),
            Some((id, node)) => Err(Error::Invalid(format!(
                "layer \"{}\", number {id}, takes the outputs of {:?}: these must be layers before it, as many as it \
                 wants",
                node.name, node.inputs
            ))),
        }
    }

    /// Nodes that take the output of `id`.
    pub fn consumers(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.nodes.len()).filter(move |&n| self.nodes[n].inputs.contains(&id))
    }

    /// The one node that takes this output, where nobody else does and it is not the network's own.
    pub fn only_consumer(&self, id: NodeId) -> Option<NodeId> {
        let mut consumers = self.consumers(id);
        match (consumers.next(), consumers.next()) {
            (Some(one), None) if id != self.output => Some(one),
            _ => None,
        }
    }

    /// Joins pairs of neighbours: where `pattern` answers with a layer for a node and the only consumer of its output,
    /// that layer takes the place of both, under the first one's name. A pair is joined once; what came of it takes
    /// part in no second pair.
    ///
    /// ```
    /// use simqat::nn::{Graph, Layer, Node};
    ///
    /// // A new pattern is an arm: a Flatten behind a Flatten does nothing.
    /// let once = |first: &Node, second: &Node| match (&first.layer, &second.layer) {
    ///     (Layer::Flatten, Layer::Flatten) => Some(Layer::Flatten),
    ///     _ => None,
    /// };
    /// let simpler = |graph: &Graph| graph.fuse(once);
    /// ```
    pub fn fuse(&self, pattern: impl Fn(&Node, &Node) -> Option<Layer>) -> Graph {
        let mut nodes: Vec<Node> = Vec::new();
        // Where each old node's output is found now.
        let mut places: Vec<Option<NodeId>> = vec![None; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            if places[id].is_some() {
                continue; // it was the second of a pair
            }
            places[id] = Some(nodes.len());
            let mut node = node.clone();
            let partner = self.only_consumer(id).filter(|&next| self.nodes[next].inputs.len() == 1);
            if let Some(next) = partner
                && let Some(layer) = pattern(&self.nodes[id], &self.nodes[next])
            {
                node.layer = layer;
                node.shape = self.nodes[next].shape.clone();
                places[next] = places[id];
            }
            node.inputs = node.inputs.iter().filter_map(|&input| places[input]).collect();
            nodes.push(node);
        }
        Graph { nodes, output: places[self.output].unwrap_or(0) }
    }
}
