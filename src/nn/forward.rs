//! Running a network: eager, layer by layer, on a tape where gradients are wanted.

use super::layer::Layer;
use super::network::{Network, Node};
use super::plan::Step;
use super::quantizer::Slot;
use crate::autograd::{Tape, Var};
use crate::kernel::quantize::Observation;
use crate::ops;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Observers follow the data, delays count.
    Train,
    /// Nothing in the network changes.
    Eval,
}

/// A forward pass that can be walked back.
pub struct Pass {
    /// The network's output.
    pub output: Var,
    /// Where it was recorded.
    pub tape: Tape,
    /// For each entry of [`Network::parameters`] that took part and is trainable: its variable.
    leaves: Vec<Option<Var>>,
}

impl Pass {
    /// The variable of parameter number `index` of [`Network::parameters`].
    pub fn leaf(&self, index: usize) -> Option<&Var> {
        self.leaves.get(index)?.as_ref()
    }
}

struct Runner<'a> {
    network: &'a Network,
    tape: Option<Tape>,
    mode: Mode,
    leaves: Vec<Option<Var>>,
}

impl Network {
    /// A training pass over `x` [N, C, H, W]: observers move, and the result can be walked back.
    ///
    /// # Errors
    /// Where `x` does not have the network's input shape, or the device has failed.
    pub fn train_pass(&self, x: &Tensor) -> Result<Pass> {
        let tape = Tape::new();
        let (output, leaves) = self.run(x, Some(tape.clone()), Mode::Train)?;
        Ok(Pass { output, tape, leaves })
    }

    /// The output for `x` [N, C, H, W], with nothing changed in the network.
    ///
    /// # Errors
    /// As [`Network::train_pass`].
    pub fn predict(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.run(x, None, Mode::Eval)?.0.tensor().clone())
    }

    fn run(&self, x: &Tensor, tape: Option<Tape>, mode: Mode) -> Result<(Var, Vec<Option<Var>>)> {
        let mut runner = self.runner(x, tape, mode)?;
        let mut outputs: Vec<Option<Var>> = vec![None; self.nodes.len()];
        // A fused pair may run before nodes that stand between its two, so places in the list tell nothing.
        let mut done = vec![false; self.nodes.len()];
        for step in self.plan() {
            let (first, last) = step.ends();
            outputs[last] = Some(runner.step(step, x, &outputs)?);
            (done[first], done[last]) = (true, true);
            // What nobody needs any more goes back to the pool, unless the tape keeps it.
            for (id, slot) in outputs.iter_mut().enumerate().filter(|(id, _)| *id != self.output) {
                if slot.is_some() && self.consumers(id).iter().all(|&c| done[c]) {
                    *slot = None;
                }
            }
        }
        let output = outputs[self.output].take();
        let output = output.ok_or_else(|| Error::Invalid("the network has no output".into()))?;
        Ok((output, runner.leaves))
    }

    fn runner(&self, x: &Tensor, tape: Option<Tape>, mode: Mode) -> Result<Runner<'_>> {
        if x.shape().get(1..) != Some(&self.input_shape()[..]) {
            return Err(Error::Shape(format!(
                "{} takes batches of {}, and a tensor of shape {} came",
                self.name,
                self.input_shape(),
                x.shape()
            )));
        }
        Ok(Runner { network: self, tape, mode, leaves: vec![None; self.parameters().len()] })
    }

    /// The output of every layer for `x`, in evaluation mode and layer by layer without fusing: to look into
    /// a network.
    ///
    /// # Errors
    /// As [`Network::predict`].
    pub fn activations(&self, x: &Tensor) -> Result<Vec<(String, Tensor)>> {
        let mut runner = self.runner(x, None, Mode::Eval)?;
        let mut outputs: Vec<Option<Var>> = Vec::new();
        for id in 0..self.nodes.len() {
            let output = runner.step(Step::Layer(id), x, &outputs)?;
            outputs.push(Some(output));
        }
        let named = self.nodes.iter().zip(outputs);
        Ok(named.filter_map(|(n, v)| Some((n.name.clone(), v?.tensor().clone()))).collect())
    }
}

impl Runner<'_> {
    /// Runs a step: the output of its last node.
    fn step(&mut self, step: Step, x: &Tensor, outputs: &[Option<Var>]) -> Result<Var> {
        let network = self.network;
        let node = &network.nodes[step.ends().0];
        let inputs = node
            .inputs
            .iter()
            .map(|&id| {
                let given = outputs.get(id).cloned().flatten();
                given.ok_or_else(|| Error::Invalid(format!("\"{}\" ran before its input", node.name)))
            })
            .collect::<Result<Vec<Var>>>()?;
        let inputs = match (&inputs[..], node.quantizers.input) {
            ([one], Some(_)) => vec![self.quantized(one, node, Slot::Input)?],
            _ => inputs,
        };
        let output = match step {
            Step::Layer(_) => self.layer(node, x, &inputs, false)?,
            Step::WithRelu { .. } => self.layer(node, x, &inputs, true)?,
            Step::ReluPool { pool, .. } => match &network.nodes[pool].layer {
                Layer::MaxPool2d(window) => ops::relu_max_pool2d(&inputs[0], window)?,
                other => return Err(Error::Invalid(format!("{other:?} does not pool"))),
            },
        };
        // Where a pair runs as one, its quantizer sits on the ReLU.
        let quantized = match step {
            Step::Layer(id) => id,
            Step::WithRelu { relu, .. } | Step::ReluPool { relu, .. } => relu,
        };
        let quantized = &network.nodes[quantized];
        match quantized.quantizers.output {
            Some(_) => self.quantized(&output, quantized, Slot::Output),
            None => Ok(output),
        }
    }

    fn layer(&mut self, node: &Node, x: &Tensor, inputs: &[Var], relu: bool) -> Result<Var> {
        match &node.layer {
            Layer::Input => Ok(Var::constant(x.clone())),
            Layer::Conv2d(conv) => {
                let (weight, bias) = self.weight_and_bias(node)?;
                ops::conv2d(&inputs[0], &weight, bias.as_ref(), &conv.geometry, relu)
            }
            Layer::Dense(_) => {
                let (weight, bias) = self.weight_and_bias(node)?;
                ops::dense(&inputs[0], &weight, bias.as_ref(), relu)
            }
            Layer::Activation(kind) => ops::activation(*kind, &inputs[0]),
            Layer::MaxPool2d(window) => ops::max_pool2d(&inputs[0], window),
            Layer::AvgPool2d { window, count_padding } => ops::avg_pool2d(&inputs[0], window, *count_padding),
            Layer::Flatten => ops::flatten(&inputs[0]),
            Layer::Add => ops::add(&inputs[0], &inputs[1]),
            Layer::Custom(custom) => {
                let names = custom.parameters();
                let parameters =
                    names.iter().map(|(own, ..)| self.parameter(node, own)).collect::<Result<Vec<_>>>()?;
                custom.forward(inputs, &parameters)
            }
        }
    }

    fn weight_and_bias(&mut self, node: &Node) -> Result<(Var, Option<Var>)> {
        let weight = self.parameter(node, "weight")?;
        let weight = match node.quantizers.weight {
            Some(_) => self.quantized(&weight, node, Slot::Weight)?,
            None => weight,
        };
        let has_bias = self.network.parameter_index(&format!("{}.bias", node.name)).is_some();
        let bias = has_bias.then(|| self.parameter(node, "bias")).transpose()?;
        Ok((weight, bias))
    }

    fn parameter(&mut self, node: &Node, own: &str) -> Result<Var> {
        let name = format!("{}.{own}", node.name);
        let index = self
            .network
            .parameter_index(&name)
            .ok_or_else(|| Error::Invalid(format!("the network has no parameter \"{name}\"")))?;
        let tensor = &self.network.parameters()[index].tensor;
        let Some(tape) = &self.tape else { return Ok(Var::constant(tensor.clone())) };
        Ok(self.leaves[index].get_or_insert_with(|| tape.leaf(tensor)).clone())
    }

    fn quantized(&self, x: &Var, node: &Node, slot: Slot) -> Result<Var> {
        let Some(quantizer) = node.quantizers.get(slot) else { return Ok(x.clone()) };
        let state = self.network.range_state(node, slot)?;
        let observation = match self.mode {
            Mode::Train => Observation::Train,
            Mode::Eval => Observation::Off,
        };
        ops::fake_quant(x, &state, &quantizer.rule, observation)
    }
}
