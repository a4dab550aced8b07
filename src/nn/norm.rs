//! Batch normalization as a layer of its own and joined with the convolution before it.

use super::layer::{ParameterSpec, Start};
use super::linear::Conv2d;
use crate::kernel::counter::NEVER;
use crate::tensor::init::Init;

/// Batch normalization over the channels of [N, C, H, W] or [N, C] (Ioffe and Szegedy 2015, arXiv 1502.03167).
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm2d {
    /// C
    pub channels: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Share of the old in the running statistics (MindSpore's convention; PyTorch's momentum is 1 minus this).
    pub momentum: f32,
    /// True where scale (gamma) and shift (beta) are trained; otherwise they stay 1 and 0.
    pub affine: bool,
    /// Training steps after which the running statistics normalize and stand still.
    pub freeze: u32,
}

impl BatchNorm2d {
    /// eps 1e-5, momentum 0.9, trained scale and shift, never frozen.
    pub fn new(channels: usize) -> Self {
        BatchNorm2d { channels, eps: 1e-5, momentum: 0.9, affine: true, freeze: NEVER }
    }

    /// Added to the variance.
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = eps;
        self
    }

    /// Share of the old in the running statistics.
    pub fn momentum(mut self, momentum: f32) -> Self {
        self.momentum = momentum;
        self
    }

    /// Scale and shift stay 1 and 0.
    pub fn no_affine(mut self) -> Self {
        self.affine = false;
        self
    }

    pub(super) fn is_usable(&self) -> bool {
        self.eps > 0.0 && self.eps.is_finite() && (0.0..=1.0).contains(&self.momentum)
    }

    /// What it owns, under the layer path `name`.
    pub(super) fn parameters(&self, name: &str) -> Vec<ParameterSpec> {
        let of = |own: &str, start: Start, trainable: bool| {
            ParameterSpec::new(format!("{name}.{own}"), [self.channels], start, trainable)
        };
        let constant = |value: f32| Start::Values(Init::Constant(value));
        vec![
            of("gamma", constant(1.0), self.affine),
            of("beta", constant(0.0), self.affine),
            of("running_mean", constant(0.0), false),
            of("running_var", constant(1.0), false),
            of("steps", Start::Count, false),
        ]
    }
}

/// How training simulates that the normalization is folded into the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BnFold {
    /// Not at all: y = BN(conv(x, FQ(W))).
    Without,
    /// z = conv(x, FQ(W r)) with r = gamma / running deviation, y = BN(z / r).
    OneConv,
    /// A second convolution with the plain weights finds the batch's statistics (Krishnamoorthi 2018, arXiv
    /// 1806.08342, section 3.2.2).
    TwoConv,
}

/// A convolution and the normalization behind it in one. Both keep the names of their parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2dBn {
    /// The convolution; its parameters are under the layer's own name.
    pub conv: Conv2d,
    /// The normalization.
    pub norm: BatchNorm2d,
    /// The path of the normalization's parameters.
    pub norm_name: String,
    /// How training simulates the fold.
    pub fold: BnFold,
}
