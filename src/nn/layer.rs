//! The layers: what they are made of, what parameters they own, what shape they give.

use std::fmt;
use std::sync::Arc;

use super::linear::{Conv2d, Dense};
use super::norm::{BatchNorm2d, Conv2dBn};
use crate::autograd::Var;
use crate::kernel::pool::Window;
use crate::ops::Activation;
use crate::tensor::Shape;
use crate::tensor::init::Init;
use crate::{Error, Result};

/// A step of a network.
#[derive(Clone, Debug)]
pub enum Layer {
    /// Where the batch comes in.
    Input,
    /// Convolution.
    Conv2d(Conv2d),
    /// Fully connected.
    Dense(Dense),
    /// Batch normalization.
    BatchNorm2d(BatchNorm2d),
    /// Convolution and batch normalization in one, made by rewriting.
    Conv2dBn(Conv2dBn),
    /// A function of each value.
    Activation(Activation),
    /// Largest value of each window.
    MaxPool2d(Window),
    /// Mean of each window.
    AvgPool2d {
        /// The windows.
        window: Window,
        /// Padding takes part as zeros.
        count_padding: bool,
    },
    /// [N, ...] to [N, everything else].
    Flatten,
    /// Sum of two inputs of one shape: a residual connection.
    Add,
    /// A host's own layer.
    Custom(Arc<dyn CustomLayer>),
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// f32 values.
    Values(Init),
    /// u32 counters, at 0.
    Count,
}

/// A tensor that a layer or a quantizer owns.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Its whole path: `conv1.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// How it starts.
    pub start: Start,
    /// True where the optimizer moves it.
    pub trainable: bool,
}

impl ParameterSpec {
    pub(super) fn new(name: String, shape: impl Into<Shape>, start: Start, trainable: bool) -> Self {
        ParameterSpec { name, shape: shape.into(), start, trainable }
    }
}

/// A layer from outside the library. It is not quantized, and its parameters are those that it lists.
pub trait CustomLayer: Send + Sync + fmt::Debug {
    /// One line for the printed network, in the form `Name<options>`.
    fn describe(&self) -> String;
    /// Name, shape and initial values of each parameter.
    fn parameters(&self) -> Vec<(String, Shape, Init)>;
    /// Shape of the output, without the batch axis.
    ///
    /// # Errors
    /// Where the inputs do not fit.
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape>;
    /// The output, recorded on the inputs' tape.
    ///
    /// # Errors
    /// Where the device has failed.
    fn forward(&self, inputs: &[Var], parameters: &[Var]) -> Result<Var>;
}

impl Layer {
    /// How many inputs it takes.
    pub(super) fn arity(&self) -> Option<usize> {
        match self {
            Layer::Input => Some(0),
            Layer::Add => Some(2),
            Layer::Custom(_) => None,
            Layer::Conv2d(_)
            | Layer::Dense(_)
            | Layer::BatchNorm2d(_)
            | Layer::Conv2dBn(_)
            | Layer::Activation(_)
            | Layer::MaxPool2d(_)
            | Layer::AvgPool2d { .. }
            | Layer::Flatten => Some(1),
        }
    }

    /// What it owns under the layer path `name`.
    pub fn parameters(&self, name: &str) -> Vec<ParameterSpec> {
        let drawn = |own: &str, shape: Shape, init: Init| {
            ParameterSpec::new(format!("{name}.{own}"), shape, Start::Values(init), true)
        };
        let weight_and_bias = |weight: Shape, init: Init, bias: bool| {
            let outputs = weight[0];
            let mut all = vec![drawn("weight", weight, init)];
            if bias {
                all.push(drawn("bias", [outputs].into(), Init::Constant(0.0)));
            }
            all
        };
        let of_conv = |conv: &Conv2d| weight_and_bias(conv.weight_shape(), conv.init, conv.bias);
        match self {
            Layer::Conv2d(conv) => of_conv(conv),
            Layer::Dense(dense) => {
                weight_and_bias([dense.out_features, dense.in_features].into(), dense.init, dense.bias)
            }
            Layer::BatchNorm2d(norm) => norm.parameters(name),
            Layer::Conv2dBn(layer) => {
                [of_conv(&layer.conv), layer.norm.parameters(&layer.norm_name)].concat()
            }
            Layer::Custom(custom) => {
                custom.parameters().into_iter().map(|(own, shape, init)| drawn(&own, shape, init)).collect()
            }
            Layer::Input
            | Layer::Activation(_)
            | Layer::MaxPool2d(_)
            | Layer::AvgPool2d { .. }
            | Layer::Flatten
            | Layer::Add => Vec::new(),
        }
    }

    /// Output channels of its weights, where it has such.
    pub fn weight_channels(&self) -> Option<usize> {
        match self {
            Layer::Conv2d(conv) | Layer::Conv2dBn(Conv2dBn { conv, .. }) => Some(conv.out_channels),
            Layer::Dense(dense) => Some(dense.out_features),
            Layer::Input
            | Layer::BatchNorm2d(_)
            | Layer::Activation(_)
            | Layer::MaxPool2d(_)
            | Layer::AvgPool2d { .. }
            | Layer::Flatten
            | Layer::Add
            | Layer::Custom(_) => None,
        }
    }

    /// Shape of the output without the batch axis, from those of the inputs.
    pub(super) fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let pooled = |window: &Window| {
            let [c, h, w] = image(&inputs[0])?;
            let [h, w] = window.output([h, w])?;
            Ok([c, h, w].into())
        };
        let convolved = |conv: &Conv2d| {
            let [c, h, w] = image(&inputs[0])?;
            let e = conv.geometry.extents(&[1, c, h, w].into(), &conv.weight_shape())?;
            Ok([conv.out_channels, e.output[0], e.output[1]].into())
        };
        match self {
            Layer::Input | Layer::Activation(_) => Ok(inputs[0].clone()),
            Layer::Conv2d(conv) => convolved(conv),
            Layer::Conv2dBn(layer) => convolved(&layer.conv),
            Layer::BatchNorm2d(norm) if !norm.is_usable() => Err(Error::Invalid(format!(
                "its eps is {} and its momentum {}; eps must be above 0, and momentum from 0 to 1",
                norm.eps, norm.momentum
            ))),
            Layer::BatchNorm2d(norm) if inputs[0].first() == Some(&norm.channels) => Ok(inputs[0].clone()),
            Layer::BatchNorm2d(norm) => Err(Error::Shape(format!(
                "it normalizes {} channels, and its input has shape {}",
                norm.channels, inputs[0]
            ))),
            Layer::Dense(dense) => match inputs[0][..] {
                [features] if features == dense.in_features => Ok([dense.out_features].into()),
                _ => Err(Error::Shape(format!(
                    "it takes {} features, and its input has shape {} (a Flatten before it?)",
                    dense.in_features, inputs[0]
                ))),
            },
            Layer::MaxPool2d(window) | Layer::AvgPool2d { window, .. } => pooled(window),
            Layer::Flatten => Ok([inputs[0].count()].into()),
            Layer::Add if inputs[0] == inputs[1] => Ok(inputs[0].clone()),
            Layer::Add => {
                Err(Error::Shape(format!("it adds shapes {} and {}, which differ", inputs[0], inputs[1])))
            }
            Layer::Custom(custom) => custom.output_shape(inputs),
        }
    }
}

fn image(shape: &Shape) -> Result<[usize; 3]> {
    shape[..]
        .try_into()
        .map_err(|_| Error::Shape(format!("its input must be an image [C, H, W], and has shape {shape}")))
}
