//! Running a network: eager, layer by layer, on a tape where gradients are wanted.

use super::graph::Node;
use super::layer::Layer;
use super::network::Network;
use super::norm::{BatchNorm2d, BnFold, Conv2dBn};
use super::plan::Step;
use super::quantizer::{FakeQuantizer, QuantizerRule, Slot};
use crate::autograd::{Tape, Var};
use crate::kernel::norm::NormState;
use crate::kernel::quantize::Observation;
use crate::ops::{self, Fold, FoldForm, Statistics};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// What a pass is for, and what it changes:
///
/// | | ranges | their counters | running statistics | their counters |
/// |---|---|---|---|---|
/// | `Train` | follow | count | follow | count |
/// | `Eval` | | | | |
/// | `Calibrate` | mean | at least 1 | | |
/// | `Reestimate` | of folded weights | at least 1 | mean | |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Observers and running statistics follow the data, delays count.
    Train,
    /// Nothing in the network changes.
    Eval,
    /// Observers see the data, and values pass through their quantizers unchanged; nothing else changes.
    Calibrate {
        /// Batches before it.
        batch: u32,
    },
    /// Running statistics of normalizations become the mean over the batches, and the ranges of folded weights follow;
    /// nothing else changes, counters neither.
    Reestimate {
        /// Batches before it.
        batch: u32,
    },
}

impl Mode {
    fn observation(self) -> Observation {
        match self {
            Mode::Train => Observation::Train,
            Mode::Eval | Mode::Reestimate { .. } => Observation::Off,
            Mode::Calibrate { batch } => Observation::Calibrate { batch },
        }
    }

    fn statistics(self, norm: &BatchNorm2d) -> Statistics {
        match self {
            Mode::Train => Statistics::Batch { momentum: norm.momentum, freeze: norm.freeze },
            Mode::Eval | Mode::Calibrate { .. } => Statistics::Running,
            Mode::Reestimate { batch } => {
                let before = batch as f32;
                Statistics::Estimate { momentum: before / (before + 1.0), freeze: norm.freeze }
            }
        }
    }
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

/// A pass under way.
pub(super) struct Runner<'a> {
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

    /// Shows the observers batch number `batch` (from 0) of a calibration, x [N, C, H, W]: ranges become the means of
    /// the batches' ranges, learned steps get their start. Values pass through the quantizers unchanged.
    ///
    /// # Errors
    /// As [`Network::train_pass`].
    pub fn calibrate(&self, x: &Tensor, batch: u32) -> Result<()> {
        self.run(x, None, Mode::Calibrate { batch }).map(drop)
    }

    /// Lets the running statistics of all normalizations be the mean over the batches shown so far, x [N, C, H, W] being
    /// number `batch` (from 0); statistics from before are forgotten with the first. Frozen ones stay. Ask for
    /// [`Network::observe_folded_weights`] behind the last batch.
    ///
    /// # Errors
    /// As [`Network::train_pass`].
    pub fn reestimate_batch_norm(&self, x: &Tensor, batch: u32) -> Result<()> {
        self.run(x, None, Mode::Reestimate { batch }).map(drop)
    }

    /// Lets the ranges of folded weights be those of the weights folded with the running statistics as they are: after
    /// something else than training changed these. Learned steps stay.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn observe_folded_weights(&self) -> Result<()> {
        let mut runner = Runner::evaluating(self);
        for node in self.nodes() {
            if let Layer::Conv2dBn(layer) = &node.layer
                && layer.fold != BnFold::Without
            {
                let folded = runner.folded_weight(node, layer)?;
                runner.observe_weight(&folded, node)?;
            }
        }
        Ok(())
    }

    fn run(&self, x: &Tensor, tape: Option<Tape>, mode: Mode) -> Result<(Var, Vec<Option<Var>>)> {
        let mut runner = self.runner(x, tape, mode)?;
        let graph = self.graph();
        let mut outputs: Vec<Option<Var>> = vec![None; graph.nodes.len()];
        // A fused pair may run before nodes that stand between its two, so places in the list tell nothing.
        let mut done = vec![false; graph.nodes.len()];
        for &step in self.plan() {
            let (first, last) = step.ends();
            outputs[last] = Some(runner.step(step, x, &outputs)?);
            (done[first], done[last]) = (true, true);
            // What nobody needs any more goes back to the pool, unless the tape keeps it.
            for &id in &graph.nodes[first].inputs {
                if id != graph.output && graph.consumers(id).all(|c| done[c]) {
                    outputs[id] = None;
                }
            }
        }
        let output = outputs[graph.output].take();
        let output = output.ok_or_else(|| Error::Invalid("the network has no output".into()))?;
        Ok((output, runner.leaves))
    }

    fn runner(&self, x: &Tensor, tape: Option<Tape>, mode: Mode) -> Result<Runner<'_>> {
        if x.shape().get(1..) != Some(&self.input_shape()[..]) {
            return Err(Error::Shape(format!(
                "{} takes batches of {}, and a tensor of shape {} came",
                self.name(),
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
        for id in 0..self.nodes().len() {
            let output = runner.step(Step::Layer(id), x, &outputs)?;
            outputs.push(Some(output));
        }
        let named = self.nodes().iter().zip(outputs);
        Ok(named.filter_map(|(n, v)| Some((n.name.clone(), v?.tensor().clone()))).collect())
    }
}

impl<'a> Runner<'a> {
    /// For parts of an evaluation.
    pub(super) fn evaluating(network: &'a Network) -> Self {
        Runner { network, tape: None, mode: Mode::Eval, leaves: vec![None; network.parameters().len()] }
    }

    /// Runs a step: the output of its last node.
    fn step(&mut self, step: Step, x: &Tensor, outputs: &[Option<Var>]) -> Result<Var> {
        let network = self.network;
        let node = &network.nodes()[step.ends().0];
        let mut inputs = Vec::new();
        for (index, &id) in node.inputs.iter().enumerate() {
            let given = outputs.get(id).and_then(Option::as_ref);
            let given =
                given.ok_or_else(|| Error::Invalid(format!("\"{}\" ran before its input", node.name)))?;
            inputs.push(match Slot::of_input(index) {
                Some(slot) => self.quantized(given, node, slot)?,
                None => given.clone(),
            });
        }
        let output = match step {
            Step::Layer(_) => self.layer(node, x, &inputs, false)?,
            Step::WithRelu { .. } => self.layer(node, x, &inputs, true)?,
            Step::ReluPool { pool, .. } => match &network.nodes()[pool].layer {
                Layer::MaxPool2d(window) => ops::relu_max_pool2d(&inputs[0], window)?,
                other => return Err(Error::Invalid(format!("{other:?} does not pool"))),
            },
        };
        // Where a pair runs as one, its quantizer sits on the ReLU.
        let quantized = match step {
            Step::Layer(id) => id,
            Step::WithRelu { relu, .. } | Step::ReluPool { relu, .. } => relu,
        };
        self.quantized(&output, &network.nodes()[quantized], Slot::Output)
    }

    pub(super) fn layer(&mut self, node: &Node, x: &Tensor, inputs: &[Var], relu: bool) -> Result<Var> {
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
            Layer::BatchNorm2d(norm) => {
                let affine = self.affine(&node.name, norm)?;
                affine.batch_norm(&inputs[0], relu)
            }
            Layer::Conv2dBn(layer) => self.conv_bn(node, layer, &inputs[0], relu),
            Layer::Activation(kind) => ops::activation(*kind, &inputs[0]),
            Layer::MaxPool2d(window) => ops::max_pool2d(&inputs[0], window),
            Layer::AvgPool2d { window, count_padding } => ops::avg_pool2d(&inputs[0], window, *count_padding),
            Layer::Flatten => ops::flatten(&inputs[0]),
            Layer::Add if relu => ops::add_relu(&inputs[0], &inputs[1]),
            Layer::Add => ops::add(&inputs[0], &inputs[1]),
            Layer::Custom(custom) => {
                let own = custom.parameters();
                let parameters = own
                    .iter()
                    .map(|(own, ..)| self.parameter(&format!("{}.{own}", node.name)))
                    .collect::<Result<Vec<_>>>()?;
                custom.forward(inputs, &parameters)
            }
        }
    }

    fn weight_and_bias(&mut self, node: &Node) -> Result<(Var, Option<Var>)> {
        let weight = self.parameter(&format!("{}.weight", node.name))?;
        Ok((self.quantized(&weight, node, Slot::Weight)?, self.bias(node)?))
    }

    fn bias(&mut self, node: &Node) -> Result<Option<Var>> {
        let name = format!("{}.bias", node.name);
        let has_bias = self.network.parameter(&name).is_some();
        has_bias.then(|| self.parameter(&name)).transpose()
    }

    fn affine(&mut self, path: &str, norm: &BatchNorm2d) -> Result<Normalization> {
        Ok(Normalization {
            gamma: self.parameter(&format!("{path}.gamma"))?,
            beta: self.parameter(&format!("{path}.beta"))?,
            state: self.network.norm_state(path)?,
            eps: norm.eps,
            statistics: self.mode.statistics(norm),
        })
    }

    /// The weights of a node as its convolution or product takes them in evaluation: folded, where it trains with a
    /// fold, and rounded.
    pub(super) fn rounded_weight(&mut self, node: &Node) -> Result<Var> {
        match &node.layer {
            Layer::Conv2dBn(layer) if layer.fold != BnFold::Without => {
                let folded = self.folded_weight(node, layer)?;
                self.quantized(&folded, node, Slot::Weight)
            }
            _ => Ok(self.weight_and_bias(node)?.0),
        }
    }

    fn folded_weight(&mut self, node: &Node, layer: &Conv2dBn) -> Result<Var> {
        let weight = self.parameter(&format!("{}.weight", node.name))?;
        self.affine(&layer.norm_name, &layer.norm)?.fold(&weight, layer.fold)
    }

    fn conv_bn(&mut self, node: &Node, layer: &Conv2dBn, x: &Var, relu: bool) -> Result<Var> {
        let geometry = &layer.conv.geometry;
        let norm = self.affine(&layer.norm_name, &layer.norm)?;
        if layer.fold == BnFold::Without {
            let (weight, bias) = self.weight_and_bias(node)?;
            return norm.batch_norm(&ops::conv2d(x, &weight, bias.as_ref(), geometry, false)?, relu);
        }
        let (weight, bias) = (self.parameter(&format!("{}.weight", node.name))?, self.bias(node)?);
        // Before the statistics of this step move the running ones, which the folding goes by.
        let folded = norm.fold(&weight, layer.fold)?;
        if matches!(self.mode, Mode::Reestimate { .. }) {
            // The running statistics moved, and with them the folded weights.
            self.observe_weight(&folded, node)?;
        }
        let z = ops::conv2d(x, &self.quantized(&folded, node, Slot::Weight)?, None, geometry, false)?;
        let two = norm.statistics != Statistics::Running && layer.fold == BnFold::TwoConv;
        let z0 = two.then(|| ops::conv2d(x, &weight, None, geometry, false)).transpose()?;
        norm.behind_fold(layer.fold, &z, z0.as_ref(), bias.as_ref(), relu)
    }

    /// The variable of a parameter; a constant, where it is not trained or nobody asks for gradients.
    fn parameter(&mut self, name: &str) -> Result<Var> {
        let index = self.network.parameter_index(name);
        let index =
            index.ok_or_else(|| Error::Invalid(format!("the network has no parameter \"{name}\"")))?;
        let parameter = &self.network.parameters()[index];
        let Some(tape) = self.tape.as_ref().filter(|_| parameter.trainable) else {
            return Ok(Var::constant(parameter.tensor.clone()));
        };
        Ok(self.leaves[index].get_or_insert_with(|| tape.leaf(&parameter.tensor)).clone())
    }

    /// `x` through the quantizer in a slot of a node, if there is one.
    pub(super) fn quantized(&mut self, x: &Var, node: &Node, slot: Slot) -> Result<Var> {
        let Some(quantizer) = node.quantizers.get(slot) else { return Ok(x.clone()) };
        let observation = self.mode.observation();
        match &quantizer.rule {
            QuantizerRule::Range(rule) => {
                ops::fake_quant(x, &self.network.range_state(node, slot)?, rule, observation)
            }
            QuantizerRule::LearnedStep(rule) => {
                let scale = self.parameter(&format!("{}.scale", node.quantizer_path(slot)))?;
                let steps = self.network.quantizer_count(node, slot)?;
                ops::learned_step_quant(x, &scale, &steps, rule, observation)
            }
        }
    }

    /// Lets the range of a node's weights be that of `weight`; a learned step stays.
    fn observe_weight(&self, weight: &Var, node: &Node) -> Result<()> {
        if let Some(FakeQuantizer { rule: QuantizerRule::Range(rule), .. }) = &node.quantizers.weight {
            let state = self.network.range_state(node, Slot::Weight)?;
            ops::fake_quant(weight, &state, rule, Observation::Calibrate { batch: 0 })?;
        }
        Ok(())
    }
}

/// A normalization with its values.
struct Normalization {
    gamma: Var,
    beta: Var,
    state: NormState,
    eps: f32,
    statistics: Statistics,
}

impl Normalization {
    fn batch_norm(&self, x: &Var, relu: bool) -> Result<Var> {
        ops::batch_norm(x, &self.gamma, &self.beta, &self.state, self.eps, self.statistics, relu)
    }

    /// The weights of the folded convolution.
    fn fold(&self, weight: &Var, fold: BnFold) -> Result<Var> {
        let form = match fold {
            BnFold::TwoConv => FoldForm::TwoConv,
            BnFold::OneConv | BnFold::Without => FoldForm::OneConv(self.statistics),
        };
        ops::fold_weight(weight, &self.gamma, &self.state, self.eps, form)
    }

    /// What stands behind the folded convolution `z`.
    fn behind_fold(
        &self,
        fold: BnFold,
        z: &Var,
        z0: Option<&Var>,
        bias: Option<&Var>,
        relu: bool,
    ) -> Result<Var> {
        let (gamma, beta, state) = (&self.gamma, &self.beta, &self.state);
        let all = Fold { gamma, beta, bias, state, eps: self.eps, statistics: self.statistics };
        match fold {
            BnFold::TwoConv => ops::normalize_two_conv(z, z0, &all, relu),
            BnFold::OneConv | BnFold::Without => ops::normalize_one_conv(z, &all, relu),
        }
    }
}
