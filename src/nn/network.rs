//! The graph, and the parameters that its layers own.

use std::collections::HashMap;

use super::build::NetworkBuilder;
use super::layer::Layer;
use super::quantizer::{FakeQuantizer, Quantizers, Slot};
use crate::gpu::Gpu;
use crate::kernel::quantize::RangeState;
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

/// A node's place in [`Network::nodes`]; inputs come before their users.
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

/// A named tensor that training changes or carries along.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Path of its layer and its own name: `conv1.weight`.
    pub name: String,
    /// The values.
    pub tensor: Tensor,
    /// True where the optimizer moves it by its gradient; false for state, such as observed ranges.
    pub trainable: bool,
}

/// A network: named layers in a graph, with their parameters on a device.
pub struct Network {
    pub(super) name: String,
    pub(super) gpu: Gpu,
    pub(super) nodes: Vec<Node>,
    pub(super) output: NodeId,
    parameters: Vec<Parameter>,
    by_name: HashMap<String, usize>,
}

impl Network {
    /// Starts a network of the printed name `name` for inputs of shape [C, H, W] (without the batch axis).
    pub fn builder(name: &str, input: impl Into<Shape>) -> NetworkBuilder {
        NetworkBuilder::new(name, input.into())
    }

    /// A network over given nodes, with parameters for all layers: those of `seed`.
    pub(super) fn assemble(
        gpu: &Gpu,
        name: String,
        nodes: Vec<Node>,
        output: NodeId,
        seed: u64,
    ) -> Result<Network> {
        let mut network = Network {
            name,
            gpu: gpu.clone(),
            nodes,
            output,
            parameters: Vec::new(),
            by_name: HashMap::new(),
        };
        for id in 0..network.nodes.len() {
            let node = network.nodes[id].clone();
            for (own, shape, init) in node.layer.parameters() {
                let stream = network.parameters.len() as u64;
                let tensor = init.tensor(gpu, shape, seed, stream)?;
                network.push(format!("{}.{own}", node.name), tensor, true)?;
            }
        }
        Ok(network)
    }

    fn push(&mut self, name: String, tensor: Tensor, trainable: bool) -> Result<()> {
        if self.by_name.insert(name.clone(), self.parameters.len()).is_some() {
            return Err(Error::Invalid(format!("two parameters are named \"{name}\"")));
        }
        self.parameters.push(Parameter { name, tensor, trainable });
        Ok(())
    }

    /// The name that it is printed with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device that its parameters are on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The layers, inputs before their users.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node whose output is the network's.
    pub fn output(&self) -> NodeId {
        self.output
    }

    /// Shape of the input without the batch axis: [C, H, W].
    pub fn input_shape(&self) -> &Shape {
        &self.nodes[0].shape
    }

    /// Shape of the output without the batch axis.
    pub fn output_shape(&self) -> &Shape {
        &self.nodes[self.output].shape
    }

    /// Every parameter and state tensor, layer by layer.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.by_name.get(name).map(|&i| &self.parameters[i])
    }

    pub(super) fn parameter_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Numbers that training moves.
    pub fn trainable_count(&self) -> usize {
        self.parameters.iter().filter(|p| p.trainable).map(|p| p.tensor.count()).sum()
    }

    /// True where any node has a fake quantizer.
    pub fn is_quantized(&self) -> bool {
        self.nodes.iter().any(|n| !n.quantizers.is_empty())
    }

    /// Nodes that take the output of `id`.
    pub fn consumers(&self, id: NodeId) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|&n| self.nodes[n].inputs.contains(&id)).collect()
    }

    /// A copy with other quantizers, parameter values carried over by name. State of the quantizers starts
    /// afresh, except where this network has the same quantizer already.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn with_quantizers(
        &self,
        name: &str,
        quantizers: impl Fn(NodeId, &Node) -> Quantizers,
    ) -> Result<Network> {
        let mut nodes = self.nodes.clone();
        for (id, node) in nodes.iter_mut().enumerate() {
            node.quantizers = quantizers(id, &self.nodes[id]);
        }
        let mut copy = Network {
            name: name.to_string(),
            gpu: self.gpu.clone(),
            nodes,
            output: self.output,
            parameters: Vec::new(),
            by_name: HashMap::new(),
        };
        for p in self.parameters.iter().filter(|p| p.trainable) {
            copy.push(p.name.clone(), p.tensor.duplicate()?, true)?;
        }
        for id in 0..copy.nodes.len() {
            let node = copy.nodes[id].clone();
            for slot in Slot::ALL {
                if let Some(quantizer) = node.quantizers.get(slot) {
                    copy.push_range(self, &node.name, slot, quantizer)?;
                }
            }
        }
        Ok(copy)
    }

    fn push_range(&mut self, old: &Network, node: &str, slot: Slot, quantizer: &FakeQuantizer) -> Result<()> {
        let channels = quantizer.channels;
        // Golden Stick's initial range; the first observed batch replaces it.
        let fresh = [
            ("min", Tensor::full(&self.gpu, [channels], -6.0)?),
            ("max", Tensor::full(&self.gpu, [channels], 6.0)?),
            ("steps", Tensor::zeros(&self.gpu, [channels], DType::U32)?),
        ];
        for (own, fresh) in fresh {
            let name = format!("{node}.{}.{own}", slot.name());
            let kept = old.parameter(&name).filter(|p| p.tensor.shape() == fresh.shape());
            let tensor = match kept {
                Some(p) => p.tensor.duplicate()?,
                None => fresh,
            };
            self.push(name, tensor, false)?;
        }
        Ok(())
    }

    /// The state of a node's quantizer.
    ///
    /// # Errors
    /// Where the node has none in that slot.
    pub fn range_state(&self, node: &Node, slot: Slot) -> Result<RangeState> {
        let find = |own: &str| {
            let name = format!("{}.{}.{own}", node.name, slot.name());
            self.parameter(&name)
                .map(|p| p.tensor.clone())
                .ok_or_else(|| Error::Invalid(format!("the network has no \"{name}\"")))
        };
        Ok(RangeState { min: find("min")?, max: find("max")?, steps: find("steps")? })
    }
}
