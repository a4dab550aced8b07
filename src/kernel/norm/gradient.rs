//! Sums of a gradient by channel, and the gradients of parameters that they make.

use super::super::catalogue::{Entry, entry};
use super::super::lanes::Lanes;
use super::super::params::params;
use super::super::{extent, same_shape};
use super::apply::expect_rules;
use super::layout::{Layout, Pieces, Source, expect_channels, folded};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

params!(SumsParams { rows: u32, channels: u32, plane: u32, piece_rows: u32, piece_columns: u32 });
params!(SlopesParams { rows: u32, channels: u32, plane: u32, pieces: u32 });

fn sums_shader(lanes: Lanes, along: u32, vectors: bool, relu: bool) -> ShaderSpec {
    let spec = ShaderSpec::new("norm/gradient_sums.wgsl");
    lanes.give(spec).with("along", along).with("vectors", vectors).with("relu", relu)
}

fn slopes_shader(source: Source, relu: bool, bias: bool) -> ShaderSpec {
    source.constants(ShaderSpec::new("norm/slopes.wgsl").with("relu", relu).with("bias", bias))
}

/// What the gradients of values need of their channels, f32 [C, 8].
pub struct Shares(pub(super) Tensor);

/// The gradients of a normalization's parameters, f32 `[C]` each.
pub struct ParameterGrads {
    /// Of gamma, but for what goes through folded weights.
    pub gamma: Tensor,
    /// Of beta.
    pub beta: Tensor,
    /// Of the convolution's bias, where it was asked for.
    pub bias: Option<Tensor>,
    /// For the gradients of values.
    pub shares: Shares,
}

/// Gradients of the parameters of y = normalize(x, rules, beta, relu), from the gradient `dy` of y.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn parameter_grads(
    dy: &Tensor,
    x: &Tensor,
    rules: &Tensor,
    beta: &Tensor,
    relu: bool,
    bias: bool,
) -> Result<ParameterGrads> {
    let layout = Layout::of(x)?;
    same_shape("the gradient of a normalization", dy.shape(), x.shape())?;
    dy.expect(DType::F32)?;
    expect_rules(rules, &layout)?;
    expect_channels("beta", beta, layout.channels)?;
    let gpu = x.gpu();
    let lanes = Lanes::of(gpu);
    let mut cut = layout.pieces(gpu, lanes);
    if cut.is_none() && relu && bias && layout.channels <= gpu.caps().max_groups as usize {
        // All at once would take more buffers than a shader may have; so one piece it is.
        cut = Some(Pieces { rows: layout.rows, columns: layout.plane, count: [1, 1] });
    }
    let channel = || Tensor::empty(gpu, [layout.channels], DType::F32);
    let grads = ParameterGrads {
        gamma: channel()?,
        beta: channel()?,
        bias: bias.then(channel).transpose()?,
        shares: Shares(Tensor::empty(gpu, [layout.channels, 8], DType::F32)?),
    };
    let pieces = cut.map(|cut| sums(dy, x, rules, beta, relu, &layout, cut)).transpose()?;
    let source = match cut {
        Some(_) => Source::Pieces { lanes },
        None => Source::Values { lanes, along: lanes.along(layout.plane), vectors: layout.vectors },
    };
    let mut launch = gpu.launch(slopes_shader(source, relu, bias));
    launch = match &pieces {
        Some(pieces) => launch.bind(pieces.buffer()),
        None => launch.bind(dy.buffer()).bind(x.buffer()),
    };
    launch = launch.bind(rules.buffer());
    if relu {
        launch = launch.bind(beta.buffer());
    }
    launch = launch.bind(grads.gamma.buffer()).bind(grads.beta.buffer());
    if let Some(bias) = &grads.bias {
        launch = launch.bind(bias.buffer());
    }
    let [groups_x, groups_y] = folded(gpu, layout.channels)?;
    launch
        .bind(grads.shares.0.buffer())
        .params(&SlopesParams {
            rows: layout.rows as u32,
            channels: layout.channels as u32,
            plane: layout.plane as u32,
            pieces: cut.map_or(0, |cut| cut.count[0] * cut.count[1]) as u32,
        })
        .groups([groups_x, groups_y, 1])?;
    Ok(grads)
}

/// Sums of the pieces of every channel.
fn sums(
    dy: &Tensor,
    x: &Tensor,
    rules: &Tensor,
    beta: &Tensor,
    relu: bool,
    layout: &Layout,
    cut: Pieces,
) -> Result<Tensor> {
    let gpu = x.gpu();
    let lanes = Lanes::of(gpu);
    let [along_plane, along_rows] = cut.count;
    let pieces = Tensor::empty(gpu, [layout.channels, along_rows * along_plane, 2], DType::F32)?;
    let mut launch = gpu
        .launch(sums_shader(lanes, lanes.along(cut.columns), layout.vectors, relu))
        .bind(dy.buffer())
        .bind(x.buffer())
        .bind(rules.buffer());
    if relu {
        launch = launch.bind(beta.buffer());
    }
    launch
        .bind(pieces.buffer())
        .params(&SumsParams {
            rows: layout.rows as u32,
            channels: layout.channels as u32,
            plane: layout.plane as u32,
            piece_rows: cut.rows as u32,
            piece_columns: cut.columns as u32,
        })
        .groups([
            extent(layout.channels, "the number of channels")?,
            along_plane as u32,
            along_rows as u32,
        ])?;
    Ok(pieces)
}

/// What the gradient of values needs where the statistics are given numbers and nobody wants the parameters'
/// gradients: no sums are taken.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn shares(rules: &Tensor, beta: &Tensor, relu: bool) -> Result<Shares> {
    let [channels, 8] = rules.shape().matrix("the rules of a normalization")? else {
        return Err(Error::Shape(format!("rules must be [channels, 8], not {}", rules.shape())));
    };
    rules.expect(DType::F32)?;
    expect_channels("beta", beta, channels)?;
    let gpu = rules.gpu();
    let shares = Tensor::empty(gpu, [channels, 8], DType::F32)?;
    let mut launch = gpu.launch(slopes_shader(Source::Nowhere, relu, false)).bind(rules.buffer());
    if relu {
        launch = launch.bind(beta.buffer());
    }
    let params = SlopesParams { channels: extent(channels, "the number of channels")?, ..Default::default() };
    launch.bind(shares.buffer()).params(&params).threads(channels as u64, 64)?;
    Ok(Shares(shares))
}

pub(super) fn variants() -> Vec<Entry> {
    let mut all = Vec::new();
    for (relu, source) in
        [false, true].into_iter().flat_map(|relu| Source::all().into_iter().map(move |source| (relu, source)))
    {
        all.push(entry(slopes_shader(source, relu, false), SlopesParams::LAYOUT));
        if let Source::Values { lanes, along, vectors } = source {
            all.push(entry(sums_shader(lanes, along, vectors, relu), SumsParams::LAYOUT));
        }
        let takes_bias = match source {
            Source::Nowhere => false,
            Source::Values { .. } => !relu,
            Source::Pieces { .. } => true,
        };
        if takes_bias {
            all.push(entry(slopes_shader(source, relu, true), SlopesParams::LAYOUT));
        }
    }
    all
}
