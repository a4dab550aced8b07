//! The layers with weights: convolution and fully connected.

use crate::kernel::geometry::{Geometry, Padding};
use crate::tensor::Shape;
use crate::tensor::init::Init;

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
