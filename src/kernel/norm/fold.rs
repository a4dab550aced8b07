//! Weights that a normalization was folded into.

use super::super::catalogue::{Entry, entry};
use super::super::lanes::Lanes;
use super::super::params::params;
use super::super::{extent, same_shape};
use super::layout::{expect_channels, expect_shape, folded};
use super::statistics::check_eps;
use super::{NormState, Statistics};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// How many convolutions stand before a folded normalization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FoldForm {
    /// Two in training: one with folded weights, and one with unfolded weights for the statistics.
    TwoConv,
    /// One, whose normalization divides by the factor of folding again in training. With the statistics that it will
    /// normalize by: where those of the batch do, a factor too near to zero is held at a distance.
    OneConv(Statistics),
}

params!(FoldParams { channels: u32, length: u32, freeze: u32, epsilon: f32 });
params!(FoldGradParams { channels: u32, length: u32 });

fn shader(lanes: Lanes, vectors: bool, training: bool) -> ShaderSpec {
    let spec = ShaderSpec::new("norm/fold_weight.wgsl").with("lanes", lanes.count);
    spec.with("vectors", vectors).with("training", training)
}

fn grad_shader(lanes: Lanes, vectors: bool, weight: bool, gamma: bool) -> ShaderSpec {
    let spec = ShaderSpec::new("norm/fold_weight_grad.wgsl").with("vectors", vectors);
    lanes.give(spec).with("weight", weight).with("gamma", gamma)
}

/// Folded weights and what their gradient needs.
pub struct FoldedWeight {
    /// As the weights, times gamma / s.
    pub weight: Tensor,
    /// Factor of each channel and its slope by gamma, f32 [O, 2].
    pub factors: Tensor,
}

/// w [O, ...] * gamma / s by output channel, s = sqrt(running variance + eps), as it is now.
///
/// # Errors
/// Where shapes disagree, eps is not above zero, or the device has failed.
pub fn fold_weight(
    w: &Tensor,
    gamma: &Tensor,
    state: &NormState,
    eps: f32,
    form: FoldForm,
) -> Result<FoldedWeight> {
    let (channels, length, vectors) = layout(w)?;
    expect_channels("gamma", gamma, channels as usize)?;
    expect_channels("the running variance", &state.var, channels as usize)?;
    state.steps.expect(DType::U32)?;
    expect_shape("the step counter", state.steps.shape(), channels as usize)?;
    check_eps(eps)?;
    let gpu = w.gpu();
    let weight = Tensor::empty(gpu, w.shape(), DType::F32)?;
    let factors = Tensor::empty(gpu, [channels as usize, 2], DType::F32)?;
    let freeze = match form {
        FoldForm::OneConv(Statistics::Batch { freeze, .. } | Statistics::Estimate { freeze, .. }) => {
            Some(freeze)
        }
        FoldForm::OneConv(Statistics::Running) | FoldForm::TwoConv => None,
    };
    let mut launch = gpu
        .launch(shader(Lanes::of(gpu), vectors, freeze.is_some()))
        .bind(w.buffer())
        .bind(gamma.buffer())
        .bind(state.var.buffer());
    if freeze.is_some() {
        launch = launch.bind(state.steps.buffer());
    }
    let [x, y] = folded(gpu, channels as usize)?;
    launch
        .bind(weight.buffer())
        .bind(factors.buffer())
        .params(&FoldParams { channels, length, freeze: freeze.unwrap_or(0), epsilon: eps })
        .groups([x, y, 1])?;
    Ok(FoldedWeight { weight, factors })
}

/// Gradients of [`fold_weight`] with respect to the weights and to gamma, those that are `wanted`.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn fold_weight_grad(
    d: &Tensor,
    w: &Tensor,
    factors: &Tensor,
    wanted: [bool; 2],
) -> Result<[Option<Tensor>; 2]> {
    same_shape("the gradient of folded weights", d.shape(), w.shape())?;
    d.expect(DType::F32)?;
    factors.expect(DType::F32)?;
    let (channels, length, vectors) = layout(w)?;
    if factors.shape()[..] != [channels as usize, 2] {
        return Err(Error::Shape(format!("factors must be [{channels}, 2], not {}", factors.shape())));
    }
    let [weight, gamma] = wanted;
    if !weight && !gamma {
        return Ok([None, None]);
    }
    let gpu = w.gpu();
    let outputs = [
        weight.then(|| Tensor::empty(gpu, w.shape(), DType::F32)).transpose()?,
        gamma.then(|| Tensor::empty(gpu, [channels as usize], DType::F32)).transpose()?,
    ];
    let mut launch = gpu.launch(grad_shader(Lanes::of(gpu), vectors, weight, gamma)).bind(d.buffer());
    if gamma {
        launch = launch.bind(w.buffer());
    }
    launch = launch.bind(factors.buffer());
    for output in outputs.iter().flatten() {
        launch = launch.bind(output.buffer());
    }
    let [x, y] = folded(gpu, channels as usize)?;
    launch.params(&FoldGradParams { channels, length }).groups([x, y, 1])?;
    Ok(outputs)
}

/// Channels, elements of a channel, and whether those are four values each.
fn layout(w: &Tensor) -> Result<(u32, u32, bool)> {
    w.expect(DType::F32)?;
    let (Some(&channels), false) = (w.shape().first(), w.count() == 0) else {
        return Err(Error::Shape(format!(
            "weights to fold must be [O, ...], at least one, and their shape is {}",
            w.shape()
        )));
    };
    extent(w.count(), "the number of weights")?;
    let length = w.count() / channels;
    let vectors = length.is_multiple_of(4);
    Ok((channels as u32, if vectors { length / 4 } else { length } as u32, vectors))
}

pub(super) fn variants() -> Vec<Entry> {
    let mut all = Vec::new();
    for lanes in Lanes::kinds() {
        for vectors in [false, true] {
            all.extend([false, true].map(|t| entry(shader(lanes, vectors, t), FoldParams::LAYOUT)));
            all.extend([[true, false], [false, true], [true, true]].map(|[weight, gamma]| {
                entry(grad_shader(lanes, vectors, weight, gamma), FoldGradParams::LAYOUT)
            }));
        }
    }
    all
}
