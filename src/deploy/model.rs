//! The integer network as data.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::grid::Grid;
use super::multiplier::Multiplier;
use crate::{Error, Result};

/// A network of int8 layers: a graph in the order in which it can run.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Model {
    /// Name of the network.
    pub name: String,
    /// Inputs before their users, each with a name of its own; the first, and no other, is [`Op::Input`].
    pub layers: Vec<Layer>,
    /// The layer whose codes are the network's output.
    pub output: usize,
    /// What a host wants to keep beside it: the recipe, the names of the classes.
    pub metadata: BTreeMap<String, String>,
}

/// A layer: codes from codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The path of the simulated network's layer.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The layers whose codes it takes.
    pub inputs: Vec<usize>,
    /// Shape of its codes without the batch: [C, H, W] or `[features]`.
    pub shape: Vec<usize>,
    /// What its codes stand for.
    pub grid: Grid,
    /// What happens to its values before they become codes: [`Function::Identity`], or where it adds up, [`Function::Relu`] or
    /// [`Function::Relu6`], which come down to a narrower range of codes: [`Layer::ends`].
    pub activation: Function,
}

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The network's input: [`Grid::code`] of its values.
    Input,
    /// Convolution.
    Conv2d(Conv2d),
    /// Fully connected: weights [outputs, inputs].
    Dense(Linear),
    /// The highest code of each window; padding is never it.
    MaxPool2d(Window),
    /// Mean of each window; padding counts as zeros.
    AvgPool2d(Window),
    /// [C, H, W] to [C * H * W].
    Flatten,
    /// Sum of two inputs.
    Add,
    /// A function of each code, which also takes it from its input's grid to its own: looked up.
    Table(Table),
}

/// A convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Weights [O, C / groups, kh, kw].
    pub linear: Linear,
    /// [kh, kw]
    pub kernel: [usize; 2],
    /// [y, x]
    pub stride: [usize; 2],
    /// [y, x]
    pub dilation: [usize; 2],
    /// Zeros around the input: its zero point.
    pub padding: Padding,
    /// Channels in so many separate parts.
    pub groups: usize,
}

/// Rows and columns around an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Above.
    pub top: usize,
    /// Left.
    pub left: usize,
    /// Below.
    pub bottom: usize,
    /// Right.
    pub right: usize,
}

/// Weights with a scale and a bias for each output. Their zero point is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Outputs first.
    pub weight: Vec<i8>,
    /// What the code 1 stands for: one number for each output.
    pub scale: Vec<f32>,
    /// Bits of a code of `weight`: from 2 to 8.
    pub bits: u32,
    /// One number for each output, in units of the input's scale times `scale`; all zeros where there is none.
    pub bias: Vec<i32>,
}

/// Windows of pooling; [y, x] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Steps from one window to the next.
    pub stride: [usize; 2],
    /// Rows and columns on each side.
    pub padding: [usize; 2],
}

/// A function of a code, looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What was tabulated.
    pub function: Function,
    /// 256 codes: entry `code + 128` is that of `code`. They stand in the file, so that no machine's own exponential
    /// function takes part.
    pub codes: Vec<i8>,
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// x
    Identity,
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x, or x times this number where x is negative
    LeakyRelu(f32),
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// relu6(x + 3) / 6
    HSigmoid,
    /// x * relu6(x + 3) / 6
    HSwish,
    /// tanh(x)
    Tanh,
}

impl Function {
    /// Its value at `x`.
    pub fn at(self, x: f32) -> f32 {
        // In f64, so that only the last step rounds.
        let x = f64::from(x);
        let relu6 = |x: f64| x.clamp(0.0, 6.0);
        let y = match self {
            Function::Identity => x,
            Function::Relu => x.max(0.0),
            Function::Relu6 => relu6(x),
            Function::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::HSigmoid => relu6(x + 3.0) / 6.0,
            Function::HSwish => x * (relu6(x + 3.0) / 6.0),
            Function::Tanh => x.tanh(),
        };
        y as f32
    }
}

impl Table {
    /// The codes of a function, from one grid to another.
    pub fn new(function: Function, from: &Grid, to: &Grid) -> Table {
        let codes = (i8::MIN..=i8::MAX).map(|code| to.code(function.at(from.value(code)))).collect();
        Table { function, codes }
    }

    fn check(&self, grid: &Grid) -> Result<()> {
        if self.codes.len() != 256 {
            return Err(Error::Invalid(format!("its table has {} codes instead of 256", self.codes.len())));
        }
        let Grid { low, high, .. } = grid;
        match self.codes.iter().find(|code| !(low..=high).contains(code)) {
            Some(code) => Err(Error::Invalid(format!(
                "its table has the code {code}, and its codes go from {low} to {high}"
            ))),
            None => Ok(()),
        }
    }
}

impl Op {
    /// Its weights, where it has some.
    pub fn linear(&self) -> Option<&Linear> {
        match self {
            Op::Conv2d(Conv2d { linear, .. }) | Op::Dense(linear) => Some(linear),
            Op::Input | Op::MaxPool2d(_) | Op::AvgPool2d(_) | Op::Flatten | Op::Add | Op::Table(_) => None,
        }
    }
}

impl Window {
    /// Values in a window.
    pub fn area(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

impl Layer {
    /// The lowest and the highest code that it gives: its grid's, or where its activation ends.
    pub fn ends(&self) -> [i8; 2] {
        let Grid { zero_point, low, high, .. } = self.grid;
        match self.activation {
            Function::Relu => [low.max(zero_point), high],
            // Rounding keeps the order, so the rounded end is the end of what is rounded.
            Function::Relu6 => [low.max(zero_point), high.min(self.grid.code(6.0))],
            _ => [low, high],
        }
    }

    /// Fails where numbers are so large that multiplying them could overflow; no memory holds such a network.
    fn check_numbers(&self) -> Result<()> {
        const LARGEST: usize = 1 << 31;
        let window = |w: &Window| [w.kernel, w.stride, w.padding].concat();
        let own = match &self.op {
            Op::Conv2d(conv) => {
                let Padding { top, left, bottom, right } = conv.padding;
                [&conv.kernel[..], &conv.stride, &conv.dilation, &[top, left, bottom, right, conv.groups]]
                    .concat()
            }
            Op::MaxPool2d(w) | Op::AvgPool2d(w) => window(w),
            Op::Input | Op::Dense(_) | Op::Flatten | Op::Add | Op::Table(_) => Vec::new(),
        };
        let count = self.shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        if own.iter().any(|&n| n > 1 << 15) || count.is_none_or(|count| count > LARGEST) {
            return Err(Error::Invalid(format!(
                "its shape {:?} or its numbers {own:?} are too large",
                self.shape
            )));
        }
        Ok(())
    }

    /// Height and width of its codes, channels before; features are channels of 1 x 1.
    pub fn planes(&self) -> [usize; 3] {
        match self.shape[..] {
            [c, h, w] => [c, h, w],
            _ => [self.shape.iter().product(), 1, 1],
        }
    }
}

impl Int8Model {
    /// The layer that takes the network's input.
    pub fn input(&self) -> &Layer {
        &self.layers[0]
    }

    /// The layer whose codes are the network's output.
    pub fn output(&self) -> &Layer {
        &self.layers[self.output]
    }

    /// The grid of input number `index` of a layer.
    fn input_grid(&self, layer: &Layer, index: usize) -> &Grid {
        &self.layers[layer.inputs[index]].grid
    }

    /// What takes the sums of a convolution or a dense layer, output by output, to codes: input scale times weight scale
    /// over output scale. The sums are those of `(code - zero point of the input) * weight`, and the bias; behind the
    /// multiplication the output's zero point is added, and [`Layer::ends`] cut off.
    ///
    /// # Errors
    /// Where a factor is out of range; with the layer's name.
    pub fn linear_multipliers(&self, layer: &Layer) -> Result<Vec<Multiplier>> {
        let (Op::Conv2d(Conv2d { linear, .. }) | Op::Dense(linear)) = &layer.op else {
            return Ok(Vec::new());
        };
        let input = f64::from(self.input_grid(layer, 0).scale);
        let output = f64::from(layer.grid.scale);
        let one = |&scale: &f32| Multiplier::new(input * f64::from(scale) / output);
        linear.scale.iter().map(one).collect::<Result<_>>().map_err(|e| of_layer(layer, &e))
    }

    /// What takes the sum of a window's `code - zero point` to the mean's code.
    ///
    /// # Errors
    /// As [`Int8Model::linear_multipliers`].
    pub fn mean_multiplier(&self, layer: &Layer, window: &Window) -> Result<Multiplier> {
        let input = f64::from(self.input_grid(layer, 0).scale);
        let factor = input / (f64::from(layer.grid.scale) * window.area() as f64);
        Multiplier::new(factor).map_err(|e| of_layer(layer, &e))
    }

    /// What takes both inputs' `code - zero point` to the sum's code: products are added up, and the sum is rounded once
    /// ([`Multiplier::round`] of either).
    ///
    /// # Errors
    /// As [`Int8Model::linear_multipliers`].
    pub fn add_multipliers(&self, layer: &Layer) -> Result<[Multiplier; 2]> {
        let factor = |index| f64::from(self.input_grid(layer, index).scale) / f64::from(layer.grid.scale);
        Multiplier::sharing([factor(0), factor(1)]).map_err(|e| of_layer(layer, &e))
    }

    /// Codes of a batch of images' values [N, ...] in the network's input shape.
    pub fn quantize(&self, values: &[f32]) -> Vec<i8> {
        self.input().grid.codes(values)
    }

    /// What codes of the network's output stand for.
    pub fn dequantize(&self, codes: &[i8]) -> Vec<f32> {
        codes.iter().map(|&code| self.output().grid.value(code)).collect()
    }

    /// Fails with the layer's name where this is no network that the engines could run: every shape, every count, every
    /// scale is looked at, so that engines need not.
    ///
    /// # Errors
    /// See above.
    pub fn check(&self) -> Result<()> {
        let inputs = self.layers.iter().filter(|layer| matches!(layer.op, Op::Input)).count();
        let first = self.layers.first().is_some_and(|layer| matches!(layer.op, Op::Input));
        if inputs != 1 || !first || self.output >= self.layers.len() {
            return Err(Error::Invalid(format!(
                "an int8 network begins with its only input; this one has {} layers, {inputs} inputs, and its output is \
                 layer {}",
                self.layers.len(),
                self.output
            )));
        }
        let mut names = BTreeSet::new();
        if let Some(layer) = self.layers.iter().find(|layer| !names.insert(layer.name.as_str())) {
            return Err(Error::Invalid(format!("two layers are named \"{}\"; rename one", layer.name)));
        }
        for (id, layer) in self.layers.iter().enumerate() {
            self.check_layer(id, layer).map_err(|e| of_layer(layer, &e))?;
        }
        Ok(())
    }

    fn check_layer(&self, id: usize, layer: &Layer) -> Result<()> {
        let arity = match layer.op {
            Op::Input => 0,
            Op::Add => 2,
            Op::Conv2d(_)
            | Op::Dense(_)
            | Op::MaxPool2d(_)
            | Op::AvgPool2d(_)
            | Op::Flatten
            | Op::Table(_) => 1,
        };
        if layer.inputs.len() != arity || layer.inputs.iter().any(|&input| input >= id) {
            return Err(Error::Invalid(format!(
                "it takes {arity} layers before it, which is layer {id}, and the model says {:?}",
                layer.inputs
            )));
        }
        layer.grid.check()?;
        layer.check_numbers()?;
        match (layer.activation, &layer.op) {
            (Function::Identity, _) => {}
            (Function::Relu | Function::Relu6, Op::Conv2d(_) | Op::Dense(_) | Op::AvgPool2d(_) | Op::Add) => {
            }
            (activation, _) => {
                return Err(Error::Invalid(format!(
                    "{activation:?} cannot be its activation: only Relu and Relu6 can, of layers that add up; others are \
                     tables of their own"
                )));
            }
        }
        let from = |index: usize| &self.layers[layer.inputs[index]];
        let image = |shape: &[usize]| match shape {
            [c, h, w] => Ok([*c, *h, *w]),
            _ => Err(Error::Invalid(format!("its input must be [C, H, W], and is {shape:?}"))),
        };
        let shape = match &layer.op {
            Op::Input if !matches!(layer.shape.len(), 1 | 3) => {
                return Err(Error::Invalid(format!(
                    "its shape must be [C, H, W] or [features], and is {:?}",
                    layer.shape
                )));
            }
            Op::Input => layer.shape.clone(),
            Op::Flatten | Op::MaxPool2d(_) if from(0).grid != layer.grid => {
                return Err(Error::Invalid("it only moves codes, and its grid is not its input's".into()));
            }
            Op::Flatten => vec![from(0).shape.iter().product()],
            Op::Conv2d(conv) => {
                let [c, h, w] = image(&from(0).shape)?;
                conv.check(c, from(0).grid.scale)?;
                let [h, w] = conv.output([h, w])?;
                vec![conv.linear.scale.len(), h, w]
            }
            Op::Dense(linear) => {
                let [inputs] = from(0).shape[..] else {
                    return Err(Error::Invalid(format!(
                        "its input must be flat, and is {:?}",
                        from(0).shape
                    )));
                };
                linear.check(inputs, from(0).grid.scale)?;
                vec![linear.scale.len()]
            }
            Op::MaxPool2d(window) | Op::AvgPool2d(window) => {
                let [c, h, w] = image(&from(0).shape)?;
                // Sums are i32 on every engine.
                if matches!(layer.op, Op::AvgPool2d(_)) && window.area() > i32::MAX as usize / 255 {
                    return Err(Error::Invalid(format!(
                        "a sum over {window:?} could pass 2^31; pool in two steps"
                    )));
                }
                let [h, w] = window.output([h, w])?;
                vec![c, h, w]
            }
            Op::Add if from(0).shape == from(1).shape => from(0).shape.clone(),
            Op::Add => {
                return Err(Error::Invalid(format!(
                    "it adds shapes {:?} and {:?}, which differ",
                    from(0).shape,
                    from(1).shape
                )));
            }
            Op::Table(table) => {
                table.check(&layer.grid)?;
                from(0).shape.clone()
            }
        };
        if shape != layer.shape || shape.iter().product::<usize>() == 0 {
            return Err(Error::Invalid(format!(
                "the model says its shape is {:?}; from its input it follows that it is {shape:?}",
                layer.shape
            )));
        }
        match &layer.op {
            Op::Conv2d(_) | Op::Dense(_) => self.linear_multipliers(layer).map(drop),
            Op::AvgPool2d(window) => self.mean_multiplier(layer, window).map(drop),
            Op::Add => self.add_multipliers(layer).map(drop),
            Op::Input | Op::MaxPool2d(_) | Op::Flatten | Op::Table(_) => Ok(()),
        }
    }
}

fn of_layer(layer: &Layer, error: &Error) -> Error {
    let message = error.to_string();
    let name = format!("layer \"{}\": ", layer.name);
    Error::Invalid(if message.starts_with(&name) { message } else { name + &message })
}

impl Linear {
    /// Largest magnitude of a sum: an input code is at most 255 away from its zero point.
    fn reach(&self, inputs: usize) -> u64 {
        let bias = self.bias.iter().map(|b| u64::from(b.unsigned_abs())).max().unwrap_or(0);
        (inputs as u64).saturating_mul(255 * 128).saturating_add(bias)
    }

    fn check(&self, inputs: usize, input_scale: f32) -> Result<()> {
        let outputs = self.scale.len();
        if outputs == 0 || self.weight.len() != outputs.saturating_mul(inputs) || self.bias.len() != outputs {
            return Err(Error::Invalid(format!(
                "{outputs} outputs of {inputs} inputs do not go with {} weights and {} biases",
                self.weight.len(),
                self.bias.len()
            )));
        }
        if !(2..=8).contains(&self.bits) {
            return Err(Error::Invalid(format!("its weights have {} bits; there are 2 to 8", self.bits)));
        }
        let half = 1i16 << (self.bits - 1);
        if let Some(weight) = self.weight.iter().find(|&&w| !(-half..half).contains(&i16::from(w))) {
            return Err(Error::Invalid(format!(
                "a weight's code is {weight}, beyond its {} bits",
                self.bits
            )));
        }
        if let Some(scale) = self.scale.iter().find(|s| !(s.is_normal() && **s > 0.0)) {
            return Err(Error::Invalid(format!(
                "a weight's scale is {scale}; scales are positive, finite numbers (the input's is {input_scale})"
            )));
        }
        // Sums are i32 on every engine.
        if self.reach(inputs) > i32::MAX as u64 {
            return Err(Error::Invalid(format!(
                "a sum of {inputs} products and its bias could pass 2^31; split the layer"
            )));
        }
        Ok(())
    }
}

impl Conv2d {
    /// Input channels of a group.
    pub fn channels_per_group(&self) -> usize {
        self.linear.weight.len() / (self.linear.scale.len() * self.kernel[0] * self.kernel[1])
    }

    fn check(&self, channels: usize, input_scale: f32) -> Result<()> {
        let outputs = self.linear.scale.len();
        let positive = [self.kernel, self.stride, self.dilation].concat().iter().all(|&n| n > 0);
        if !positive
            || self.groups == 0
            || !channels.is_multiple_of(self.groups)
            || !outputs.is_multiple_of(self.groups)
        {
            return Err(Error::Invalid(format!(
                "{channels} channels to {outputs} in {} groups, kernel {:?}, stride {:?} and dilation {:?} make no \
                 convolution",
                self.groups, self.kernel, self.stride, self.dilation
            )));
        }
        let inputs = self.kernel.iter().fold(channels / self.groups, |inputs, &n| inputs.saturating_mul(n));
        self.linear.check(inputs, input_scale)
    }

    /// Height and width of the output.
    ///
    /// # Errors
    /// Where the kernel is larger than the padded input.
    pub fn output(&self, plane: [usize; 2]) -> Result<[usize; 2]> {
        let Padding { top, left, bottom, right } = self.padding;
        along([0, 1].map(|axis| {
            let reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1;
            (plane[axis] + [top + bottom, left + right][axis], reach, self.stride[axis])
        }))
    }
}

impl Window {
    /// Height and width of the output.
    ///
    /// # Errors
    /// Where windows do not fit, or could lie in the padding alone.
    pub fn output(&self, plane: [usize; 2]) -> Result<[usize; 2]> {
        if (0..2).any(|axis| self.padding[axis] > self.kernel[axis] / 2) {
            return Err(Error::Invalid(format!("{self:?} could lie in the padding alone")));
        }
        along([0, 1].map(|axis| (plane[axis] + 2 * self.padding[axis], self.kernel[axis], self.stride[axis])))
    }
}

/// Places of a window, for each axis (padded extent, extent of the window, stride).
fn along(axes: [(usize, usize, usize); 2]) -> Result<[usize; 2]> {
    let places = axes.map(|(extent, window, stride)| match extent.checked_sub(window) {
        Some(room) if window > 0 && stride > 0 => room / stride + 1,
        _ => 0,
    });
    if places.contains(&0) {
        return Err(Error::Invalid(format!("windows (extent, window, stride) of {axes:?} do not fit")));
    }
    Ok(places)
}
