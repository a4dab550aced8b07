//! The graph with the parameters that its layers own.

use std::collections::HashMap;

use super::build::NetworkBuilder;
use super::graph::{Graph, Node, NodeId};
use super::layer::{ParameterSpec, Start};
use super::norm::BatchNorm2d;
use super::plan::{Step, plan};
use super::quantizer::{QuantizerRule, Quantizers, Slot};
use crate::gpu::Gpu;
use crate::kernel::counter;
use crate::kernel::norm::NormState;
use crate::kernel::quantize::RangeState;
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

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

impl Parameter {
    /// True for the state of a quantizer, which a float network does not have.
    pub fn is_of_quantizer(&self) -> bool {
        Slot::is_path_of_state(&self.name)
    }
}

/// A network: named layers in a graph, with their parameters on a device.
pub struct Network {
    name: String,
    gpu: Gpu,
    graph: Graph,
    /// In which pieces the graph runs.
    plan: Vec<Step>,
    parameters: Vec<Parameter>,
    by_name: HashMap<String, usize>,
}

impl Network {
    /// Starts a network of the printed name `name` for inputs of shape [C, H, W] (without the batch axis).
    pub fn builder(name: &str, input: impl Into<Shape>) -> NetworkBuilder {
        NetworkBuilder::new(name, input.into())
    }

    /// The network of a graph, with parameters for all layers: those of `seed`.
    pub(super) fn draw(gpu: &Gpu, name: &str, graph: Graph, seed: u64) -> Result<Network> {
        Network::assemble(gpu, name, graph, |stream, spec| fresh(gpu, spec, seed, stream))
    }

    /// The network of another graph on the same device. Parameters and states that this network has by the same name
    /// and shape are copied; the others start afresh.
    ///
    /// # Errors
    /// Where the graph is no network ([`Graph::check`]), two parameters have one name, or the device has failed.
    pub fn with_graph(&self, name: &str, graph: Graph) -> Result<Network> {
        Network::assemble(&self.gpu, name, graph, |stream, spec| {
            let kept = self.parameter(&spec.name).filter(|p| *p.tensor.shape() == spec.shape);
            match kept {
                Some(parameter) => parameter.tensor.duplicate(),
                None => fresh(&self.gpu, spec, 0, stream),
            }
        })
    }

    /// A copy with other quantizers; as [`Network::with_graph`].
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn with_quantizers(
        &self,
        name: &str,
        quantizers: impl Fn(NodeId, &Node) -> Quantizers,
    ) -> Result<Network> {
        let mut graph = self.graph.clone();
        for (id, node) in graph.nodes.iter_mut().enumerate() {
            node.quantizers = quantizers(id, &self.graph.nodes[id]);
        }
        self.with_graph(name, graph)
    }

    /// The same layers on another device, all values 0: to find out what they take there.
    ///
    /// # Errors
    /// Where that device has no memory for them.
    pub fn blank_on(&self, gpu: &Gpu) -> Result<Network> {
        Network::blank(gpu, &self.name, self.graph.clone())
    }

    /// The network of a graph, all values 0.
    pub(super) fn blank(gpu: &Gpu, name: &str, graph: Graph) -> Result<Network> {
        Network::assemble(gpu, name, graph, |_, spec| {
            let dtype = match spec.start {
                Start::Values(_) => DType::F32,
                Start::Count => DType::U32,
            };
            Tensor::zeros(gpu, &spec.shape, dtype)
        })
    }

    fn assemble(
        gpu: &Gpu,
        name: &str,
        graph: Graph,
        tensor: impl Fn(u64, &ParameterSpec) -> Result<Tensor>,
    ) -> Result<Network> {
        graph.check()?;
        let of_layers = graph.nodes.iter().flat_map(|node| node.layer.parameters(&node.name));
        let of_quantizers = graph.nodes.iter().flat_map(Node::quantizer_parameters);
        let mut parameters = Vec::new();
        let mut by_name = HashMap::new();
        for spec in of_layers.chain(of_quantizers) {
            if by_name.insert(spec.name.clone(), parameters.len()).is_some() {
                return Err(Error::Invalid(format!("two parameters are named \"{}\"", spec.name)));
            }
            let tensor = tensor(parameters.len() as u64, &spec)?;
            parameters.push(Parameter { name: spec.name, tensor, trainable: spec.trainable });
        }
        let plan = plan(&graph);
        Ok(Network { name: name.to_string(), gpu: gpu.clone(), graph, plan, parameters, by_name })
    }

    /// The name that it is printed with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device that its parameters are on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The layers and how they hang together.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The layers, inputs before their users.
    pub fn nodes(&self) -> &[Node] {
        &self.graph.nodes
    }

    /// The node whose output is the network's.
    pub fn output(&self) -> NodeId {
        self.graph.output
    }

    pub(super) fn plan(&self) -> &[Step] {
        &self.plan
    }

    /// Shape of the input without the batch axis: [C, H, W].
    pub fn input_shape(&self) -> &Shape {
        &self.nodes()[0].shape
    }

    /// Shape of the output without the batch axis.
    pub fn output_shape(&self) -> &Shape {
        &self.nodes()[self.output()].shape
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
        self.nodes().iter().any(|n| !n.quantizers.is_empty())
    }

    fn state(&self, owner: &str, own: &str) -> Result<Tensor> {
        let name = format!("{owner}.{own}");
        let found = self.parameter(&name).map(|p| p.tensor.clone());
        found.ok_or_else(|| Error::Invalid(format!("the network has no \"{name}\"")))
    }

    /// The state of a node's quantizer with an observed range.
    ///
    /// # Errors
    /// Where the node has none such in that slot.
    pub fn range_state(&self, node: &Node, slot: Slot) -> Result<RangeState> {
        let owner = node.quantizer_path(slot);
        let of = |own: &str| self.state(&owner, own);
        Ok(RangeState { min: of("min")?, max: of("max")?, steps: of("steps")? })
    }

    /// Training steps that a node's quantizer has seen, u32 `[C]`.
    pub(super) fn quantizer_count(&self, node: &Node, slot: Slot) -> Result<Tensor> {
        self.state(&node.quantizer_path(slot), "steps")
    }

    /// The running statistics under the path `norm`.
    ///
    /// # Errors
    /// Where there are none.
    pub fn norm_state(&self, norm: &str) -> Result<NormState> {
        let of = |own: &str| self.state(norm, own);
        Ok(NormState { mean: of("running_mean")?, var: of("running_var")?, steps: of("steps")? })
    }

    /// The normalizations and the paths of their parameters, whether layers of their own or joined with a convolution.
    pub fn norms(&self) -> impl Iterator<Item = (&str, &BatchNorm2d)> {
        self.nodes().iter().filter_map(Node::norm)
    }

    /// For a training that begins: steps are counted from 0 again, so delays and freezing are those of the new training,
    /// and nothing is frozen. A range that was observed, and a step that was set, count as one step old: the first batch
    /// moves a range and does not replace it. Waits for the device.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn restart_counters(&self) -> Result<()> {
        for parameter in self.parameters.iter().filter(|p| p.tensor.dtype() == DType::U32) {
            let seen = |count: &u32| u32::from(parameter.is_of_quantizer() && count & !counter::FROZEN > 0);
            let counts: Vec<u32> = parameter.tensor.read_u32()?.iter().map(seen).collect();
            parameter.tensor.write_u32(&counts)?;
        }
        Ok(())
    }

    /// Lets all observed ranges stand still from here on, or move again. Recordings follow. Learned steps are the
    /// optimizer's to move.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn freeze_observers(&self, frozen: bool) -> Result<()> {
        for node in self.nodes() {
            for slot in Slot::ALL {
                if let Some(QuantizerRule::Range(_)) = node.quantizers.get(slot).map(|q| q.rule) {
                    counter::freeze(&self.range_state(node, slot)?.steps, frozen)?;
                }
            }
        }
        Ok(())
    }

    /// Lets all normalizations go by their running statistics from here on and leaves these alone, also in training;
    /// or lets them go by the batch again. Recordings follow.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn freeze_batch_norm(&self, frozen: bool) -> Result<()> {
        self.norms().try_for_each(|(path, _)| counter::freeze(&self.norm_state(path)?.steps, frozen))
    }
}

fn fresh(gpu: &Gpu, spec: &ParameterSpec, seed: u64, stream: u64) -> Result<Tensor> {
    match spec.start {
        Start::Values(init) => init.tensor(gpu, &spec.shape, seed, stream),
        Start::Count => Tensor::zeros(gpu, &spec.shape, DType::U32),
    }
}
