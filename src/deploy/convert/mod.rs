//! From a network with fake quantizers to one of integers.

mod linear;
mod places;

use crate::nn::{Graph, Layer as NnLayer, Network, Node, NodeId, Slot, Steps};
use crate::ops::Activation;
use crate::quant::SimQat;
use crate::tensor::Shape;
use crate::{Error, Result};

use super::grid::Grid;
use super::model::{Conv2d, Function, Int8Model, Layer, Op, Padding, Table, Window};
use linear::Stored;
pub(super) use places::Place;

/// An integer network and what it came from.
pub struct Conversion {
    /// The integer network.
    pub model: Int8Model,
    /// Where numbers had to be changed to fit, one sentence for each layer.
    pub notes: Vec<String>,
    /// The simulated network with the numbers that the model stores: folded and rounded weights, biases in whole units. Its
    /// quantizers of activations are the original's.
    pub simulated: Network,
    /// For each layer of the model: where its values are in `simulated`.
    pub(super) places: Vec<Place>,
}

/// Makes an integer network of a network that was trained with SimQAT, or quantized after training.
///
/// Normalizations are folded into weights and biases with their running statistics; weights keep the very codes that
/// evaluation of the simulated network uses, and biases become i32 in units of the input's scale times the weight's (Jacob et
/// al. 2018, arXiv 1712.05877, equation 11).
///
/// # Errors
/// Where a layer has no integer form, with its name and what to do, or the device has failed.
pub fn convert(network: &Network) -> Result<Conversion> {
    let graph = network.graph();
    if !network.is_quantized() {
        return Err(Error::Invalid(format!(
            "{} has no quantizers: convert a network that was trained with SimQAT (`simqat train --simqat`), or calibrate \
             this one first (`simqat calibrate`)",
            network.name()
        )));
    }
    let mut walk = Walk {
        network,
        graph,
        values: Vec::new(),
        layers: Vec::new(),
        places: Vec::new(),
        settled: Vec::new(),
        stored: Vec::new(),
        notes: Vec::new(),
    };
    for (id, node) in graph.nodes.iter().enumerate() {
        let value = walk.node(id, node).map_err(|e| match e {
            Error::Invalid(message) => Error::Invalid(format!("layer \"{}\": {message}", node.name)),
            other => other,
        })?;
        walk.values.push(value);
    }
    let output = match &walk.values[graph.output] {
        Value::Codes(layer) => *layer,
        Value::Pending(_) => {
            return Err(Error::Invalid(format!(
                "layer \"{}\": the network's output is not quantized, so its logits have no codes; quantize that layer",
                graph.nodes[graph.output].name
            )));
        }
    };
    let simulated = linear::simulated(network, &walk.stored)?;
    let Walk { layers, places, notes, .. } = walk;
    let model = Int8Model { name: network.name().into(), layers, output, metadata: Default::default() };
    model.check()?;
    Ok(Conversion { model, notes, simulated, places })
}

impl SimQat {
    /// The integer network that a network of [`SimQat::apply`] stands for once it is trained; [`convert`] also tells what was
    /// changed on the way.
    ///
    /// # Errors
    /// As [`convert`].
    pub fn convert(&self, network: &Network) -> Result<Int8Model> {
        Ok(convert(network)?.model)
    }
}

/// What is known of a node's output.
enum Value {
    /// Codes of that layer.
    Codes(usize),
    /// It is computed but not rounded yet: the quantizer is behind its next layer, or each consumer has one.
    Pending(Box<Pending>),
}

impl Value {
    fn pending(pending: Pending) -> Value {
        Value::Pending(Box::new(pending))
    }
}

#[derive(Clone)]
struct Pending {
    name: String,
    op: Op,
    inputs: Vec<usize>,
    shape: Vec<usize>,
    activation: Function,
    /// The nodes that compute it, in their order.
    chain: Vec<NodeId>,
    /// Nodes behind it that only move values, which they can as well do with codes.
    moves: Vec<NodeId>,
}

/// What was pending and has a layer now, so that consumers with the same grid share it.
struct Settled {
    name: String,
    /// Without an activation behind it, and with it, are two.
    chain: Vec<NodeId>,
    moves: Vec<NodeId>,
    grid: Grid,
    layer: usize,
}

struct Walk<'a> {
    network: &'a Network,
    graph: &'a Graph,
    values: Vec<Value>,
    layers: Vec<Layer>,
    places: Vec<Place>,
    settled: Vec<Settled>,
    stored: Vec<(NodeId, Stored)>,
    notes: Vec<String>,
}

/// The codes of a quantizer of activations.
fn grid(steps: &Steps, bits: u32) -> Grid {
    let Steps { step, lowest, highest } = *steps;
    if step == 0.0 {
        // Everything becomes 0, which any scale says.
        return Grid { scale: 1.0, zero_point: 0, low: 0, high: 0 };
    }
    let high = (1i32 << (bits - 1)) - 1;
    let low = high - (highest - lowest);
    Grid { scale: step, zero_point: (low - lowest) as i8, low: low as i8, high: high as i8 }
}

fn function(activation: Activation) -> Function {
    match activation {
        Activation::Relu => Function::Relu,
        Activation::Relu6 => Function::Relu6,
        Activation::LeakyRelu(slope) => Function::LeakyRelu(slope),
        Activation::Sigmoid => Function::Sigmoid,
        Activation::Tanh => Function::Tanh,
        Activation::HSigmoid => Function::HSigmoid,
        Activation::HSwish => Function::HSwish,
    }
}

fn window(window: &crate::kernel::pool::Window) -> Window {
    let crate::kernel::pool::Window { kernel, stride, padding } = *window;
    Window { kernel, stride, padding }
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}

impl Walk<'_> {
    fn node(&mut self, id: NodeId, node: &Node) -> Result<Value> {
        let mut inputs = Vec::new();
        for (index, &input) in node.inputs.iter().enumerate() {
            inputs.push(self.input(id, node, index, input)?);
        }
        let value = self.computed(id, node, &inputs)?;
        match (self.grid_at(node, Slot::Output)?, value) {
            (None, value) => Ok(value),
            (Some(grid), Value::Pending(pending)) => {
                Ok(Value::Codes(self.settle(&pending, grid, (id, Slot::Output))?))
            }
            (Some(_), Value::Codes(_)) => refuse("it only moves values, and has a quantizer at its output"),
        }
    }

    /// The grid of the quantizer of activations in a slot.
    fn grid_at(&self, node: &Node, slot: Slot) -> Result<Option<Grid>> {
        let steps = self.network.quantizer_steps(node, slot)?;
        let bits = node.quantizers.get(slot).map_or(8, |quantizer| quantizer.rule.bits());
        Ok(steps.and_then(|steps| steps.first().map(|steps| grid(steps, bits))))
    }

    /// An input of a node, behind the quantizer that the node has there.
    fn input(&mut self, id: NodeId, node: &Node, index: usize, input: NodeId) -> Result<Value> {
        let slot = [Slot::Input, Slot::SecondInput].get(index).copied();
        let wanted = slot.map(|slot| self.grid_at(node, slot)).transpose()?.flatten();
        let value = match &self.values[input] {
            Value::Codes(layer) => Value::Codes(*layer),
            Value::Pending(pending) => Value::Pending(pending.clone()),
        };
        let (Some(grid), Some(slot)) = (wanted, slot) else { return Ok(value) };
        let pending = match value {
            Value::Codes(from) if self.layers[from].grid == grid => return Ok(Value::Codes(from)),
            // Rounded twice, as the simulated network does.
            Value::Codes(from) => {
                self.table(&format!("{}.{}", node.name, slot.name()), from, Function::Identity)
            }
            Value::Pending(pending) => *pending,
        };
        Ok(Value::Codes(self.settle(&pending, grid, (id, slot))?))
    }

    /// What a node computes, in front of its output's quantizer.
    fn computed(&mut self, id: NodeId, node: &Node, inputs: &[Value]) -> Result<Value> {
        let shape = |shape: &Shape| shape[..].to_vec();
        let ready = |op: Op, inputs: Vec<usize>| {
            Value::pending(Pending {
                name: node.name.clone(),
                op,
                inputs,
                shape: shape(&node.shape),
                activation: Function::Identity,
                chain: vec![id],
                moves: Vec::new(),
            })
        };
        let codes = |index: usize| match inputs.get(index) {
            Some(Value::Codes(layer)) => Ok(*layer),
            _ => refuse(format!(
                "its input from \"{}\" is not quantized: every layer that computes must be, so take `skip` from it, or \
                 quantize with the style \"deploy\"",
                node.inputs.get(index).map_or("?", |&input| &self.graph.nodes[input].name)
            )),
        };
        match &node.layer {
            NnLayer::Input => match ready(Op::Input, Vec::new()) {
                Value::Pending(pending) => Ok(Value::pending(Pending { chain: Vec::new(), ..*pending })),
                codes => Ok(codes),
            },
            NnLayer::Conv2d(conv) => {
                let from = codes(0)?;
                self.conv(id, node, conv, from).map(|op| ready(op, vec![from]))
            }
            NnLayer::Conv2dBn(layer) => {
                let from = codes(0)?;
                self.conv(id, node, &layer.conv, from).map(|op| ready(op, vec![from]))
            }
            NnLayer::Dense(_) => {
                let from = codes(0)?;
                let linear = self.linear(id, node, from)?;
                Ok(ready(Op::Dense(linear), vec![from]))
            }
            NnLayer::BatchNorm2d(_) => refuse(
                "a normalization by itself has no integer form: join it with the convolution before it \
                 (simqat.enable_fusion = true; the convolution must have no other consumer)",
            ),
            NnLayer::Activation(kind) => match (&inputs[0], function(*kind)) {
                (Value::Codes(from), function) => {
                    Ok(Value::pending(Pending { chain: vec![id], ..self.table(&node.name, *from, function) }))
                }
                (Value::Pending(before), activation @ (Function::Relu | Function::Relu6))
                    if before.activation == Function::Identity
                        && before.moves.is_empty()
                        && !matches!(before.op, Op::Input | Op::Table(_)) =>
                {
                    let chain = [&before.chain[..], &[id]].concat();
                    Ok(Value::pending(Pending { activation, chain, ..(**before).clone() }))
                }
                (Value::Pending(_), function) => refuse(format!(
                    "{function:?} takes sums that were not rounded, which integers can do for ReLU and ReLU6 behind one \
                     layer alone: use one of these, or the style \"golden_stick\", which rounds before activations"
                )),
            },
            NnLayer::MaxPool2d(_) | NnLayer::Flatten => match &inputs[0] {
                Value::Codes(from) => {
                    let (from, grid) = (*from, self.layers[*from].grid);
                    self.moved(id, from, grid).map(Value::Codes)
                }
                // The largest value rounded is the largest of the rounded values.
                Value::Pending(before) => {
                    let moves = [&before.moves[..], &[id]].concat();
                    Ok(Value::pending(Pending { moves, ..(**before).clone() }))
                }
            },
            NnLayer::AvgPool2d { window: w, count_padding } => {
                if !count_padding && w.padding != [0; 2] {
                    return refuse(
                        "its windows are of different size at the edges, and a mean has one divisor here: set \
                         count_padding, or pool without padding",
                    );
                }
                Ok(ready(Op::AvgPool2d(window(w)), vec![codes(0)?]))
            }
            NnLayer::Add => Ok(ready(Op::Add, vec![codes(0)?, codes(1)?])),
            NnLayer::Custom(_) => {
                refuse("a host's own layer has no integer form; run it before or behind the model")
            }
        }
    }

    fn table(&self, name: &str, from: usize, function: Function) -> Pending {
        Pending {
            name: name.into(),
            // Filled in when its grid is known.
            op: Op::Table(Table { function, codes: Vec::new() }),
            inputs: vec![from],
            shape: self.layers[from].shape.clone(),
            activation: Function::Identity,
            chain: Vec::new(),
            moves: Vec::new(),
        }
    }

    fn conv(&mut self, id: NodeId, node: &Node, conv: &crate::nn::Conv2d, from: usize) -> Result<Op> {
        let [channels, height, width] = self.layers[from].planes();
        let extents = conv.geometry.extents(&[1, channels, height, width].into(), &conv.weight_shape())?;
        let [top, left] = extents.pad;
        // As many rows below as the last window reaches into.
        let behind = |axis: usize, extent: usize, before: usize| {
            let reach = (conv.kernel[axis] - 1) * conv.geometry.dilation[axis] + 1;
            ((extents.output[axis] - 1) * conv.geometry.stride[axis] + reach).saturating_sub(extent + before)
        };
        Ok(Op::Conv2d(Conv2d {
            linear: self.linear(id, node, from)?,
            kernel: conv.kernel,
            stride: conv.geometry.stride,
            dilation: conv.geometry.dilation,
            padding: Padding { top, left, bottom: behind(0, height, top), right: behind(1, width, left) },
            groups: conv.geometry.groups,
        }))
    }

    fn linear(&mut self, id: NodeId, node: &Node, from: usize) -> Result<super::model::Linear> {
        let stored = Stored::new(self.network, node, self.layers[from].grid.scale)?;
        if let Some(note) = &stored.note {
            self.notes.push(format!("layer \"{}\": {note}", node.name));
        }
        let linear = stored.linear.clone();
        self.stored.push((id, stored));
        Ok(linear)
    }

    /// Rounds what is pending to a grid: its layer, and layers for the moves behind it.
    fn settle(&mut self, pending: &Pending, grid: Grid, rounding: (NodeId, Slot)) -> Result<usize> {
        let settled = |moves: &[NodeId]| {
            let same = |s: &&Settled| {
                s.grid == grid && s.name == pending.name && s.chain == pending.chain && s.moves == moves
            };
            self.settled.iter().find(same).map(|settled| settled.layer)
        };
        // What another consumer takes with fewer moves is moved on from there.
        let known = (0..=pending.moves.len()).rev();
        let known = known.filter_map(|count| Some((count, settled(&pending.moves[..count])?))).next();
        let (moved, mut last) = match known {
            Some(known) => known,
            None => (0, self.round(pending, grid, rounding)?),
        };
        let remember = |walk: &mut Self, moves: &[NodeId], layer| {
            let (name, chain) = (pending.name.clone(), pending.chain.clone());
            walk.settled.push(Settled { name, chain, moves: moves.to_vec(), grid, layer });
        };
        remember(self, &pending.moves[..moved], last);
        for count in moved..pending.moves.len() {
            last = self.moved(pending.moves[count], last, grid)?;
            remember(self, &pending.moves[..=count], last);
        }
        Ok(last)
    }

    /// A layer for what is pending, without the moves behind it.
    fn round(&mut self, pending: &Pending, grid: Grid, rounding: (NodeId, Slot)) -> Result<usize> {
        if pending.op == Op::Input && !self.layers.is_empty() {
            return refuse("the network's input goes to several layers, and each rounds it in its own way");
        }
        let op = match &pending.op {
            Op::Table(table) => {
                Op::Table(Table::new(table.function, &self.layers[pending.inputs[0]].grid, &grid))
            }
            op => op.clone(),
        };
        let name = self.free_name(&pending.name, &self.graph.nodes[rounding.0].name);
        let (inputs, shape) = (pending.inputs.clone(), pending.shape.clone());
        self.layers.push(Layer { name, op, inputs, shape, grid, activation: pending.activation });
        self.places.push(Place { chain: pending.chain.clone(), rounding: Some(rounding) });
        Ok(self.layers.len() - 1)
    }

    /// A name that no layer has yet: where one of this name was rounded to another grid, with what takes this one.
    fn free_name(&self, name: &str, at: &str) -> String {
        let mut free = name.to_string();
        let mut others = 1;
        while self.layers.iter().any(|layer| layer.name == free) {
            free = if others == 1 { format!("{name}@{at}") } else { format!("{name}@{at}.{others}") };
            others += 1;
        }
        free
    }

    /// A layer that moves codes.
    fn moved(&mut self, id: NodeId, from: usize, grid: Grid) -> Result<usize> {
        let node = &self.graph.nodes[id];
        let op = match &node.layer {
            NnLayer::MaxPool2d(w) => Op::MaxPool2d(window(w)),
            _ => Op::Flatten,
        };
        let name = self.free_name(&node.name, &self.layers[from].name);
        let shape = node.shape[..].to_vec();
        self.layers.push(Layer { name, op, inputs: vec![from], shape, grid, activation: Function::Identity });
        self.places.push(Place { chain: vec![id], rounding: None });
        Ok(self.layers.len() - 1)
    }
}
