//! Fake quantization: observing ranges, laying grids, rounding to them, and the straight-through gradient.

use super::catalogue::{Entry, entry};
use super::params::params;
use super::{extent, same_shape, spread};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// How a batch's range moves the observed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observer {
    /// The range is the last batch's (MindSpore Golden Stick).
    LastBatch,
    /// new = old + 0.01 * (batch - old); the first batch is taken whole.
    MovingAverage,
}

/// The share of a batch in a moving average.
pub const MOVING_AVERAGE_RATE: f32 = 0.01;

/// What decides about the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GridRule {
    /// 2 to 8.
    pub bits: u32,
    /// The range reaches equally far to both sides.
    pub symmetric: bool,
    /// The lowest code is left out.
    pub narrow_range: bool,
    /// How the range follows the data.
    pub observer: Observer,
    /// Training steps that pass values unchanged.
    pub delay: u32,
}

/// The state of a quantizer, on the device: one entry for each channel, or one in all.
#[derive(Clone, Debug)]
pub struct RangeState {
    /// Lower end of the range, f32 [C].
    pub min: Tensor,
    /// Upper end, f32 [C].
    pub max: Tensor,
    /// Training steps seen, u32 [C].
    pub steps: Tensor,
}

params!(ObserveParams { channels: u32, length: u32, pieces: u32 });
params!(UpdateParams { pieces: u32, delay: u32, momentum: f32 });
params!(QuantParams { count: u32, length: u32, stride: u32 });

/// Values that one invocation of the observer reads.
const PIECE: usize = 16;

fn observe_shader(vectors: bool) -> ShaderSpec {
    ShaderSpec::new("quant/observe.wgsl").with("vectors", vectors)
}

fn grid_constants(file: &'static str, rule: &GridRule) -> ShaderSpec {
    ShaderSpec::new(file).with("bits", rule.bits).with("narrow_range", rule.narrow_range)
}

fn update_shader(rule: &GridRule, observe: bool) -> ShaderSpec {
    let observer = match rule.observer {
        Observer::LastBatch => "last_batch",
        Observer::MovingAverage => "moving_average",
    };
    grid_constants("quant/update_range.wgsl", rule)
        .with("symmetric", rule.symmetric)
        .with("observer", observer)
        .with("observe", observe)
}

/// Shaders that only use a grid include the file that also lays it, so they need its constants; which ones
/// does not matter, and one choice for all keeps the pipelines few.
fn apply_shader(file: &'static str, vectors: bool, per_channel: bool, unroll: u32) -> ShaderSpec {
    ShaderSpec::new(file)
        .with("bits", 8u32)
        .with("narrow_range", false)
        .with("vectors", vectors)
        .with("per_channel", per_channel)
        .with("unroll", unroll)
}

/// A grid for each channel: [lo, hi, scale, action], f32 [C, 4].
///
/// With `observe`, the ranges first move by the values of `x` (seen as [C, ...], or as one channel) and the
/// step is counted; a step before the rule's delay gives a grid that passes values unchanged.
///
/// # Errors
/// Where the state does not fit `x`, or the device has failed.
pub fn lay_grid(x: &Tensor, state: &RangeState, rule: &GridRule, observe: bool) -> Result<Tensor> {
    let channels = channels_of(x, state)?;
    let gpu = x.gpu();
    let grids = Tensor::empty(gpu, [channels, 4], DType::F32)?;
    let length = x.count() / channels;
    let vectors = length.is_multiple_of(4);
    let elements = if vectors { length / 4 } else { length };
    let pieces = if observe { elements.div_ceil(PIECE) } else { 1 };
    let partial = if observe {
        let partial = Tensor::empty(gpu, [channels, pieces, 2], DType::F32)?;
        gpu.launch(observe_shader(vectors))
            .bind(x.buffer())
            .bind(partial.buffer())
            .params(&ObserveParams {
                channels: channels as u32,
                length: extent(elements, "the number of values")?,
                pieces: pieces as u32,
            })
            .threads((channels * pieces) as u64, 8)?;
        partial
    } else {
        grids.clone()
    };
    let mut launch = gpu.launch(update_shader(rule, observe));
    if observe {
        launch = launch.bind(partial.buffer());
    }
    launch
        .bind(state.min.buffer())
        .bind(state.max.buffer())
        .bind(state.steps.buffer())
        .bind(grids.buffer())
        .params(&UpdateParams { pieces: pieces as u32, delay: rule.delay, momentum: MOVING_AVERAGE_RATE })
        .groups([extent(channels, "the number of channels")?, 1, 1])?;
    Ok(grids)
}

fn channels_of(x: &Tensor, state: &RangeState) -> Result<usize> {
    x.expect(DType::F32)?;
    let channels = state.min.count();
    let fits = channels == 1 || x.shape().first() == Some(&channels);
    if !fits || x.count() == 0 || state.max.count() != channels || state.steps.count() != channels {
        return Err(Error::Shape(format!(
            "a quantizer of {channels} channels cannot work on a tensor of shape {}",
            x.shape()
        )));
    }
    Ok(channels)
}

/// Launch geometry shared by forward and backward.
fn geometry(x: &Tensor, grids: &Tensor) -> Result<(bool, bool, u32, u64, QuantParams)> {
    x.expect(DType::F32)?;
    let [channels, 4] = grids.shape().matrix("the grids of fake quantization")? else {
        return Err(Error::Shape(format!("grids must be [channels, 4], not {}", grids.shape())));
    };
    if channels != 1 && x.shape().first() != Some(&channels) {
        return Err(Error::Shape(format!(
            "grids for {channels} channels cannot be used on a tensor of shape {}",
            x.shape()
        )));
    }
    let length = x.count() / channels;
    // The tail of the last vector lies in the padding of the buffer, where one channel may write.
    let vectors = channels == 1 || length.is_multiple_of(4);
    let width = if vectors { 4 } else { 1 };
    let count = x.count().div_ceil(width);
    let (unroll, threads) = spread(count);
    let params = QuantParams {
        count: extent(count, "the number of values")?,
        length: length.div_ceil(width) as u32,
        stride: threads as u32,
    };
    Ok((vectors, channels > 1, unroll, threads, params))
}

/// Rounds `x` to the grids of [`lay_grid`].
///
/// # Errors
/// Where the grids do not fit `x`, or the device has failed.
pub fn fake_quant(x: &Tensor, grids: &Tensor) -> Result<Tensor> {
    let y = Tensor::empty(x.gpu(), x.shape(), DType::F32)?;
    let (vectors, per_channel, unroll, threads, params) = geometry(x, grids)?;
    x.gpu()
        .launch(apply_shader("quant/fake_quant.wgsl", vectors, per_channel, unroll))
        .bind(x.buffer())
        .bind(grids.buffer())
        .bind(y.buffer())
        .params(&params)
        .threads(threads, 64)?;
    Ok(y)
}

/// The straight-through gradient of [`fake_quant`]: `dy` where `x` lies within the grid, both ends included.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn straight_through(dy: &Tensor, x: &Tensor, grids: &Tensor) -> Result<Tensor> {
    same_shape("the gradient of fake quantization", dy.shape(), x.shape())?;
    let dx = Tensor::empty(x.gpu(), x.shape(), DType::F32)?;
    let (vectors, per_channel, unroll, threads, params) = geometry(x, grids)?;
    x.gpu()
        .launch(apply_shader("quant/straight_through.wgsl", vectors, per_channel, unroll))
        .bind(dy.buffer())
        .bind(x.buffer())
        .bind(grids.buffer())
        .bind(dx.buffer())
        .params(&params)
        .threads(threads, 64)?;
    Ok(dx)
}

pub(super) fn variants() -> Vec<Entry> {
    let observers = [Observer::LastBatch, Observer::MovingAverage];
    let mut all: Vec<Entry> = [true, false].map(|v| entry(observe_shader(v), ObserveParams::LAYOUT)).into();
    for (bits, observer) in (2..=8).flat_map(|bits| observers.map(|o| (bits, o))) {
        for flags in 0..8 {
            let [symmetric, narrow_range, observe] = [1, 2, 4].map(|bit| flags & bit != 0);
            let rule = GridRule { bits, symmetric, narrow_range, observer, delay: 0 };
            all.push(entry(update_shader(&rule, observe), UpdateParams::LAYOUT));
        }
    }
    for file in ["quant/fake_quant.wgsl", "quant/straight_through.wgsl"] {
        for flags in 0..8 {
            let [vectors, per_channel, many] = [1, 2, 4].map(|bit| flags & bit != 0);
            let unroll = if many { 4 } else { 1 };
            all.push(entry(apply_shader(file, vectors, per_channel, unroll), QuantParams::LAYOUT));
        }
    }
    all
}
