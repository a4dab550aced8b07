//! The update of stochastic gradient descent with momentum.

use super::catalogue::{Entry, entry};
use super::loss::{HISTORY, expect_progress};
use super::params::params;
use super::{at_least, extent, same_shape, spread};
use crate::Result;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};

params!(MomentumParams { count: u32, stride: u32, momentum: f32, weight_decay: f32, place: u32 });
params!(SettleParams { passes: u32 });

fn shader(unroll: u32, scaled: bool) -> ShaderSpec {
    ShaderSpec::new("optim/momentum.wgsl").with("unroll", unroll).with("scaled", scaled)
}

/// What the update reads besides the parameter and its gradient.
pub struct Settings<'a> {
    /// Learning rate, f32 `[1]`: on the device, so that it may change between replays of a recording.
    pub rate: &'a Tensor,
    /// u32 [>= 3]; where the third is not 0, nothing changes (see [`super::loss::tally`]).
    pub progress: &'a Tensor,
    /// Factor of the gradient, f32 `[1]`, such as [`super::gradient::clip`] gives; none is 1.
    pub factor: Option<&'a Tensor>,
    /// Share of the last step's velocity that stays.
    pub momentum: f32,
    /// Factor of the parameter that is added to its gradient.
    pub weight_decay: f32,
    /// The parameter's number, for [`settle`].
    pub place: u32,
}

/// v = momentum * v + factor * g + weight_decay * p, then p = p - rate * v; both in place.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn update(
    parameter: &Tensor,
    velocity: &Tensor,
    gradient: &Tensor,
    settings: &Settings<'_>,
) -> Result<()> {
    same_shape("a parameter and its gradient", parameter.shape(), gradient.shape())?;
    same_shape("a parameter and its velocity", parameter.shape(), velocity.shape())?;
    for tensor in [parameter, velocity, gradient] {
        tensor.expect(DType::F32)?;
    }
    at_least("the learning rate", settings.rate, DType::F32, 1)?;
    at_least("the progress of a step", settings.progress, DType::U32, 3)?;
    if let Some(factor) = settings.factor {
        at_least("the factor of the gradients", factor, DType::F32, 1)?;
    }
    let vectors = parameter.count().div_ceil(4);
    let (unroll, threads) = spread(vectors);
    let mut launch = parameter
        .gpu()
        .launch(shader(unroll, settings.factor.is_some()))
        .bind(gradient.buffer())
        .bind(settings.rate.buffer());
    if let Some(factor) = settings.factor {
        launch = launch.bind(factor.buffer());
    }
    launch
        .bind(settings.progress.buffer())
        .bind(velocity.buffer())
        .bind(parameter.buffer())
        .params(&MomentumParams {
            count: extent(parameter.count(), "the size of a parameter")?,
            stride: threads as u32,
            momentum: settings.momentum,
            weight_decay: settings.weight_decay,
            place: settings.place,
        })
        .threads(threads, 64)
}

fn settle_shader() -> ShaderSpec {
    ShaderSpec::new("optim/settle.wgsl").with("capacity", HISTORY as u32)
}

/// Ends a step of `passes` passes behind its updates: where one of them was not finite, the step is uncounted and halted in
/// `progress`, and its norm in `history` becomes minus the parameter's [`Settings::place`] minus 1.
///
/// # Errors
/// Where a shape is another, or the device has failed.
pub fn settle(history: &Tensor, progress: &Tensor, passes: usize) -> Result<()> {
    expect_progress(history, progress)?;
    let passes = extent(passes, "the number of passes in a step")?;
    progress
        .gpu()
        .launch(settle_shader())
        .bind(history.buffer())
        .bind(progress.buffer())
        .params(&SettleParams { passes })
        .groups([1, 1, 1])
}

pub(super) fn variants() -> Vec<Entry> {
    let each = |unroll| [false, true].map(|scaled| entry(shader(unroll, scaled), MomentumParams::LAYOUT));
    let settle = entry(settle_shader(), SettleParams::LAYOUT);
    [1, 4].into_iter().flat_map(each).chain([settle]).collect()
}
