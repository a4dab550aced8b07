//! Moments of a batch, running statistics, and the rules that follow from them.

use super::super::catalogue::{Entry, entry};
use super::super::extent;
use super::super::lanes::Lanes;
use super::super::params::params;
use super::layout::{Layout, Pieces, Source, expect_channels, expect_shape, folded};
use super::{NormState, Statistics};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Which normalization, and what of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// By itself, of the values that it takes its statistics of.
    Plain,
    /// Of a convolution with folded weights, by the statistics of the one with the unfolded weights.
    TwoConv,
    /// Of a convolution with folded weights, by its own statistics, the factor of folding divided out.
    OneConv,
}

impl Form {
    const ALL: [Form; 3] = [Form::Plain, Form::TwoConv, Form::OneConv];

    fn name(self) -> &'static str {
        match self {
            Form::Plain => "plain",
            Form::TwoConv => "two_conv",
            Form::OneConv => "one_conv",
        }
    }
}

/// A normalization: what decides about its rules.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Which.
    pub form: Form,
    /// Factor of the normalized values, f32 `[C]`.
    pub gamma: &'a Tensor,
    /// Bias of the convolution before it, which did not add it; f32 `[C]`. For the folds only.
    pub bias: Option<&'a Tensor>,
    /// Running statistics.
    pub state: &'a NormState,
    /// What is added to variances; above zero.
    pub eps: f32,
}

params!(ObserveParams {
    rows: u32,
    channels: u32,
    plane: u32,
    piece_rows: u32,
    piece_columns: u32,
    freeze: u32,
});
params!(StatisticsParams {
    rows: u32,
    channels: u32,
    plane: u32,
    pieces: u32,
    freeze: u32,
    count: u32,
    epsilon: f32,
    share: f32,
    unbias: f32,
    stay: f32,
});

fn observe_shader(lanes: Lanes, along: u32, vectors: bool) -> ShaderSpec {
    let spec = ShaderSpec::new("norm/observe.wgsl").with("source", "values");
    lanes.give(spec).with("along", along).with("vectors", vectors)
}

fn statistics_shader(form: Form, bias: bool, source: Source) -> ShaderSpec {
    source.constants(ShaderSpec::new("norm/statistics.wgsl").with("form", form.name()).with("bias", bias))
}

impl Norm<'_> {
    fn check(&self, channels: usize) -> Result<()> {
        expect_channels("gamma", self.gamma, channels)?;
        if self.form == Form::Plain && self.bias.is_some() {
            return Err(Error::Invalid(
                "a normalization by itself takes no bias; let the convolution before it add it".into(),
            ));
        }
        if let Some(bias) = self.bias {
            expect_channels("the bias", bias, channels)?;
        }
        expect_channels("the running mean", &self.state.mean, channels)?;
        expect_channels("the running variance", &self.state.var, channels)?;
        self.state.steps.expect(DType::U32)?;
        expect_shape("the step counter", self.state.steps.shape(), channels)?;
        check_eps(self.eps)
    }
}

/// Fails unless `eps` can be added to a variance of zero.
pub(super) fn check_eps(eps: f32) -> Result<()> {
    if eps > 0.0 && eps.is_finite() {
        return Ok(());
    }
    Err(Error::Invalid(format!("eps of a normalization is {eps}; it must be above zero, for example 1e-5")))
}

/// The rules of a normalization, f32 [C, 8]. With [`Statistics::Batch`], those of the statistics of `x` [N, C, ...],
/// which move the running ones; for [`Form::TwoConv`], `x` is the output of the convolution with unfolded weights, and
/// otherwise what is to be normalized.
///
/// # Errors
/// Where shapes disagree, eps is not above zero, the momentum is not between 0 and 1, a batch has fewer than two values
/// in a channel, or the device has failed.
pub fn rules(norm: &Norm<'_>, x: &Tensor, statistics: Statistics) -> Result<Tensor> {
    let layout = Layout::of(x)?;
    norm.check(layout.channels)?;
    let gpu = x.gpu();
    let rules = Tensor::empty(gpu, [layout.channels, 8], DType::F32)?;
    let mut params = StatisticsParams {
        rows: layout.rows as u32,
        channels: layout.channels as u32,
        plane: layout.plane as u32,
        epsilon: norm.eps,
        ..Default::default()
    };
    let lanes = Lanes::of(gpu);
    let mut pieces = None;
    let mut source = Source::Nowhere;
    if let Statistics::Batch { momentum, freeze } | Statistics::Estimate { momentum, freeze } = statistics {
        let values = layout.values();
        if values < 2 {
            return Err(Error::Shape(format!(
                "a batch of shape {} has one value in a channel, of which no variance can be estimated; train on \
                 more, or normalize with the running statistics",
                x.shape()
            )));
        }
        if !(0.0..=1.0).contains(&momentum) {
            return Err(Error::Invalid(format!(
                "the momentum of a normalization is {momentum}; it must be between 0 and 1, for example 0.9"
            )));
        }
        params.freeze = freeze;
        params.count = matches!(statistics, Statistics::Batch { .. }).into();
        params.stay = momentum;
        params.share = (1.0 / values as f64) as f32;
        params.unbias = (values as f64 / (values - 1) as f64) as f32;
        let along = lanes.along(layout.plane);
        source = Source::Values { lanes, along, vectors: layout.vectors };
        if let Some(cut) = layout.pieces(gpu, lanes) {
            pieces = Some(observe(x, &layout, cut, norm.state, freeze)?);
            params.pieces = (cut.count[0] * cut.count[1]) as u32;
            source = Source::Pieces { lanes };
        }
    }
    let mut launch = gpu.launch(statistics_shader(norm.form, norm.bias.is_some(), source));
    if statistics != Statistics::Running {
        launch = launch.bind(pieces.as_ref().unwrap_or(x).buffer());
    }
    launch = launch.bind(norm.gamma.buffer());
    if let Some(bias) = norm.bias {
        launch = launch.bind(bias.buffer());
    }
    launch = launch.bind(norm.state.mean.buffer()).bind(norm.state.var.buffer());
    if statistics == Statistics::Running {
        launch.bind(rules.buffer()).params(&params).threads(layout.channels as u64, 64)?;
    } else {
        let [x, y] = folded(gpu, layout.channels)?;
        launch.bind(norm.state.steps.buffer()).bind(rules.buffer()).params(&params).groups([x, y, 1])?;
    }
    Ok(rules)
}

/// Moments of the pieces of every channel.
fn observe(x: &Tensor, layout: &Layout, cut: Pieces, state: &NormState, freeze: u32) -> Result<Tensor> {
    let gpu = x.gpu();
    let lanes = Lanes::of(gpu);
    let [along_plane, along_rows] = cut.count;
    let pieces = Tensor::empty(gpu, [layout.channels, along_rows * along_plane, 4], DType::F32)?;
    gpu.launch(observe_shader(lanes, lanes.along(cut.columns), layout.vectors))
        .bind(x.buffer())
        .bind(state.steps.buffer())
        .bind(pieces.buffer())
        .params(&ObserveParams {
            rows: layout.rows as u32,
            channels: layout.channels as u32,
            plane: layout.plane as u32,
            piece_rows: cut.rows as u32,
            piece_columns: cut.columns as u32,
            freeze,
        })
        .groups([
            extent(layout.channels, "the number of channels")?,
            along_plane as u32,
            along_rows as u32,
        ])?;
    Ok(pieces)
}

pub(super) fn variants() -> Vec<Entry> {
    let mut all = Vec::new();
    for source in Source::all() {
        if let Source::Values { lanes, along, vectors } = source {
            all.push(entry(observe_shader(lanes, along, vectors), ObserveParams::LAYOUT));
        }
    }
    for form in Form::ALL {
        for bias in [false, true] {
            if form == Form::Plain && bias {
                continue;
            }
            let each = |source| entry(statistics_shader(form, bias, source), StatisticsParams::LAYOUT);
            all.extend(Source::all().into_iter().map(each));
        }
    }
    all
}
