//! The layers: what they are made of, what parameters they own, what shape they give.

use std::fmt;
use std::sync::Arc;

use crate::autograd::Var;
use crate::kernel::geometry::{Geometry, Padding};
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

/// Convolution of [N, C, H, W] with weights [O, C / groups, kh, kw].
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// C
    pub in_channels: usize,
    /// O
    pub out_channels: usize,
    /// [kh, kw]
    pub kernel: [usize; 2],
    /// Stride, padding, dilation, groups.
    pub geometry: Geometry,
    /// Adds one number to each output channel.
    pub bias: bool,
    /// How the weights start; the bias starts at 0.
    pub init: Init,
}

impl Conv2d {
    /// A square kernel, stride 1, no padding, with bias, He initial values.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize) -> Self {
        Conv2d {
            in_channels,
            out_channels,
            kernel: [kernel; 2],
            geometry: Geometry::default(),
            bias: true,
            init: Init::He,
        }
    }

    /// The same stride in both directions.
    pub fn stride(mut self, stride: usize) -> Self {
        self.geometry.stride = [stride; 2];
        self
    }

    /// Zeros around the input.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.geometry.padding = padding;
        self
    }

    /// The same dilation in both directions.
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.geometry.dilation = [dilation; 2];
        self
    }

    /// Channels in so many separate parts.
    pub fn groups(mut self, groups: usize) -> Self {
        self.geometry.groups = groups;
        self
    }

    /// Without bias.
    pub fn no_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// How the weights start.
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// [O, C / groups, kh, kw]
    pub fn weight_shape(&self) -> Shape {
        let [kh, kw] = self.kernel;
        [self.out_channels, self.in_channels / self.geometry.groups.max(1), kh, kw].into()
    }
}

/// y = x w^T + bias for x [N, I] and w [O, I].
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// I
    pub in_features: usize,
    /// O
    pub out_features: usize,
    /// Adds one number to each output.
    pub bias: bool,
    /// How the weights start; the bias starts at 0.
    pub init: Init,
}

impl Dense {
    /// With bias, He initial values.
    pub fn new(in_features: usize, out_features: usize) -> Self {
        Dense { in_features, out_features, bias: true, init: Init::He }
    }

    /// Without bias.
    pub fn no_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// How the weights start.
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }
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
            | Layer::Activation(_)
            | Layer::MaxPool2d(_)
            | Layer::AvgPool2d { .. }
            | Layer::Flatten => Some(1),
        }
    }

    /// Name, shape and initial values of its parameters, in the order in which `forward` wants them.
    pub fn parameters(&self) -> Vec<(String, Shape, Init)> {
        let weight_and_bias = |weight: Shape, init: Init, bias: bool| {
            let outputs = weight[0];
            let mut all = vec![("weight".to_string(), weight, init)];
            if bias {
                all.push(("bias".to_string(), [outputs].into(), Init::Constant(0.0)));
            }
            all
        };
        match self {
            Layer::Conv2d(conv) => weight_and_bias(conv.weight_shape(), conv.init, conv.bias),
            Layer::Dense(dense) => {
                weight_and_bias([dense.out_features, dense.in_features].into(), dense.init, dense.bias)
            }
            Layer::Custom(custom) => custom.parameters(),
            Layer::Input
            | Layer::Activation(_)
            | Layer::MaxPool2d(_)
            | Layer::AvgPool2d { .. }
            | Layer::Flatten
            | Layer::Add => Vec::new(),
        }
    }

    /// Shape of the output without the batch axis, from those of the inputs.
    pub(super) fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        let pooled = |window: &Window| {
            let [c, h, w] = image(&inputs[0])?;
            let [h, w] = window.output([h, w])?;
            Ok([c, h, w].into())
        };
        match self {
            Layer::Input | Layer::Activation(_) => Ok(inputs[0].clone()),
            Layer::Conv2d(conv) => {
                let [c, h, w] = image(&inputs[0])?;
                let e = conv.geometry.extents(&[1, c, h, w].into(), &conv.weight_shape())?;
                Ok([conv.out_channels, e.output[0], e.output[1]].into())
            }
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
