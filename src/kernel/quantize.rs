//! Fake quantization: observing ranges, laying grids, rounding to them, and the straight-through gradient.

use super::catalogue::{Entry, entry};
use super::counter::FROZEN;
use super::lanes::Lanes;
use super::params::params;
use super::{extent, same_shape, spread};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// How a batch's range moves the observed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RangeObserver {
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
    pub observer: RangeObserver,
    /// Training steps that pass values unchanged.
    pub delay: u32,
    /// Training steps after which the range stands still; [`NEVER`](super::counter::NEVER) for none.
    pub freeze: u32,
}

/// What a pass does to the state of a quantizer, and to values. A state whose counter carries the mark
/// [`FROZEN`] stands still in every pass; its steps are counted all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Nothing: the range stays, values are always rounded (evaluation).
    Off,
    /// Training: the range follows by the rule, the step is counted, values pass unchanged before the rule's
    /// delay.
    Train,
    /// Calibration: the range becomes the mean of the batches' ranges so far, whatever the rule's observer and
    /// however many steps it has seen; values pass unchanged. It is no step of a training, but a range that it has
    /// seen counts as one step old: the first batch of a training moves it and does not replace it.
    Calibrate {
        /// Number of the batch, from 0: the first is taken whole, later ones at the rate 1 / (batch + 1).
        batch: u32,
    },
}

/// The state of a quantizer, on the device: one entry for each channel, or one in all.
#[derive(Clone, Debug)]
pub struct RangeState {
    /// Lower end of the range, f32 `[C]`.
    pub min: Tensor,
    /// Upper end, f32 `[C]`.
    pub max: Tensor,
    /// Training steps seen, u32 `[C]`.
    pub steps: Tensor,
}

params!(ObserveParams { length: u32, pieces: u32, freeze: u32 });
params!(UpdateParams { pieces: u32, delay: u32, freeze: u32, rate: f32 });
params!(QuantParams { length: u32, stride: u32 });
params!(ChannelsParams { length: u32, delay: u32, freeze: u32, rate: f32 });

/// How a range follows a batch: run-time parameters, so that one pipeline serves every rule and calibration.
#[derive(Clone, Copy, Default)]
struct Following {
    /// Steps that pass values unchanged.
    delay: u32,
    /// Steps after which the range stands still.
    freeze: u32,
    /// Share of the batch in the new range; at 1 the batch is taken whole, to the bit.
    rate: f32,
}

impl Following {
    /// `None` where the range stays and nothing is counted.
    fn of(rule: &GridRule, observation: Observation) -> Option<Following> {
        let rate = match (observation, rule.observer) {
            (Observation::Off, _) => return None,
            // No count reaches the mark, so all of calibration passes values, and only the mark holds a range.
            (Observation::Calibrate { batch }, _) => {
                let rate = 1.0 / (batch as f32 + 1.0);
                return Some(Following { delay: FROZEN, freeze: FROZEN, rate });
            }
            (Observation::Train, RangeObserver::LastBatch) => 1.0,
            (Observation::Train, RangeObserver::MovingAverage) => MOVING_AVERAGE_RATE,
        };
        Some(Following { delay: rule.delay, freeze: rule.freeze, rate })
    }
}

/// Elements that one invocation of the observer reads, unless there are too many pieces.
const PIECE: usize = 16;
/// Most pieces of a channel.
const MOST_PIECES: usize = 4096;

fn observe_shader(vectors: bool) -> ShaderSpec {
    ShaderSpec::new("quant/observe.wgsl").with("vectors", vectors)
}

fn range_shader(file: &'static str, rule: &GridRule, observe: bool, lanes: Lanes) -> ShaderSpec {
    let spec = ShaderSpec::new(file)
        .with("bits", rule.bits)
        .with("narrow_range", rule.narrow_range)
        .with("symmetric", rule.symmetric)
        .with("observe", observe);
    lanes.give(spec)
}

fn update_shader(rule: &GridRule, observe: bool, lanes: Lanes) -> ShaderSpec {
    range_shader("quant/update_range.wgsl", rule, observe, lanes)
}

fn channels_shader(rule: &GridRule, observe: bool, lanes: Lanes, vectors: bool) -> ShaderSpec {
    range_shader("quant/channels.wgsl", rule, observe, lanes).with("vectors", vectors)
}

/// Shaders that only use a grid include the file that also lays it, so they need its constants; which ones
/// does not matter, and one choice for all keeps the pipelines few. With `lanes`, a workgroup of so many owns a channel.
fn apply_shader(file: &'static str, vectors: bool, lanes: Option<Lanes>, unroll: u32) -> ShaderSpec {
    ShaderSpec::new(file)
        .with("bits", 8u32)
        .with("narrow_range", false)
        .with("vectors", vectors)
        .with("per_channel", lanes.is_some())
        .with("unroll", unroll)
        .with("size", lanes.map_or(64, |lanes| lanes.count))
}

/// Observes, lays the grids and rounds: what [`lay_grid`] and [`fake_quant`] do one after the
/// other, for several channels and for short tensors in one kernel. Returns the rounded values and the grids.
///
/// # Errors
/// As [`lay_grid`].
pub fn quantize(
    x: &Tensor,
    state: &RangeState,
    rule: &GridRule,
    observation: Observation,
) -> Result<(Tensor, Tensor)> {
    let channels = channels_of(x, state, rule)?;
    let lanes = Lanes::of(x.gpu());
    // One workgroup can do a short tensor sooner than three dispatches can be started.
    if channels == 1 && x.count() > lanes.alone() {
        let grids = lay_grid(x, state, rule, observation)?;
        let passes = matches!(observation, Observation::Calibrate { .. });
        let y = if passes { x.clone() } else { fake_quant(x, &grids)? };
        return Ok((y, grids));
    }
    let gpu = x.gpu();
    let y = Tensor::empty(gpu, x.shape(), DType::F32)?;
    let grids = Tensor::empty(gpu, [channels, 4], DType::F32)?;
    let length = x.count() / channels;
    let vectors = length.is_multiple_of(4);
    let elements = if vectors { length / 4 } else { length };
    let following = Following::of(rule, observation);
    let Following { delay, freeze, rate } = following.unwrap_or_default();
    gpu.launch(channels_shader(rule, following.is_some(), lanes, vectors))
        .bind(x.buffer())
        .bind(state.min.buffer())
        .bind(state.max.buffer())
        .bind(state.steps.buffer())
        .bind(grids.buffer())
        .bind(y.buffer())
        .params(&ChannelsParams { length: extent(elements, "the size of a channel")?, delay, freeze, rate })
        .groups([extent(channels, "the number of channels")?, 1, 1])?;
    Ok((y, grids))
}

/// A grid for each channel: [lo, hi, scale, action], f32 [C, 4].
///
/// Where the pass observes, the ranges first move by the values of `x` (seen as [C, ...], or as one channel)
/// unless they stand still, and the step is counted; a training step before the rule's delay, and calibration,
/// give a grid that passes values unchanged.
///
/// # Errors
/// Where the state does not fit `x`, the rule's bits are not 2 to 8, or the device has failed.
pub fn lay_grid(x: &Tensor, state: &RangeState, rule: &GridRule, observation: Observation) -> Result<Tensor> {
    let channels = channels_of(x, state, rule)?;
    let gpu = x.gpu();
    let grids = Tensor::empty(gpu, [channels, 4], DType::F32)?;
    let groups = extent(channels, "the number of channels")?;
    let following = Following::of(rule, observation);
    let mut launch = gpu.launch(update_shader(rule, following.is_some(), Lanes::of(gpu)));
    let mut params = UpdateParams::default();
    if let Some(Following { delay, freeze, rate }) = following {
        let length = x.count() / channels;
        let vectors = length.is_multiple_of(4);
        let elements = if vectors { length / 4 } else { length };
        // At most so many that one workgroup joins them quickly.
        let pieces = elements.div_ceil(PIECE).min(MOST_PIECES) as u32;
        let partial = Tensor::empty(gpu, [channels, pieces as usize, 2], DType::F32)?;
        let length = extent(elements, "the number of values")?;
        gpu.launch(observe_shader(vectors))
            .bind(x.buffer())
            .bind(state.steps.buffer())
            .bind(partial.buffer())
            .params(&ObserveParams { length, pieces, freeze })
            .groups([pieces.div_ceil(8), groups, 1])?;
        launch = launch.bind(partial.buffer());
        params = UpdateParams { pieces, delay, freeze, rate };
    }
    launch
        .bind(state.min.buffer())
        .bind(state.max.buffer())
        .bind(state.steps.buffer())
        .bind(grids.buffer())
        .params(&params)
        .groups([groups, 1, 1])?;
    Ok(grids)
}

fn channels_of(x: &Tensor, state: &RangeState, rule: &GridRule) -> Result<usize> {
    for tensor in [x, &state.min, &state.max] {
        tensor.expect(DType::F32)?;
    }
    state.steps.expect(DType::U32)?;
    if !(2..=8).contains(&rule.bits) {
        return Err(Error::Invalid(format!("a grid has 2 to 8 bits, not {}", rule.bits)));
    }
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

/// Runs a shader that uses grids: over `x` with the grids, whatever is bound before and after.
fn apply(file: &'static str, inputs: &[&Tensor], x: &Tensor, grids: &Tensor) -> Result<Tensor> {
    for tensor in inputs.iter().chain([&x, &grids]) {
        tensor.expect(DType::F32)?;
    }
    let [channels, 4] = grids.shape().matrix("the grids of fake quantization")? else {
        return Err(Error::Shape(format!("grids must be [channels, 4], not {}", grids.shape())));
    };
    if channels == 0 || channels != 1 && x.shape().first() != Some(&channels) {
        return Err(Error::Shape(format!(
            "grids for {channels} channels cannot be used on a tensor of shape {}",
            x.shape()
        )));
    }
    let length = x.count() / channels;
    // The tail of the last vector lies in the padding of the buffer, where one channel may write.
    let vectors = channels == 1 || length.is_multiple_of(4);
    let length = extent(length.div_ceil(if vectors { 4 } else { 1 }), "the number of values")?;
    let (unroll, threads) = if channels == 1 { spread(length as usize) } else { (1, 0) };
    let lanes = (channels > 1).then(|| Lanes::of(x.gpu()));
    let y = Tensor::empty(x.gpu(), x.shape(), DType::F32)?;
    let mut launch = x.gpu().launch(apply_shader(file, vectors, lanes, unroll));
    for tensor in inputs.iter().chain([&x, &grids, &&y]) {
        launch = launch.bind(tensor.buffer());
    }
    let launch = launch.params(&QuantParams { length, stride: threads as u32 });
    if channels == 1 {
        launch.threads(threads, 64)?;
    } else {
        launch.groups([extent(channels, "the number of channels")?, 1, 1])?;
    }
    Ok(y)
}

/// Rounds `x` to the grids of [`lay_grid`].
///
/// # Errors
/// Where the grids do not fit `x`, or the device has failed.
pub fn fake_quant(x: &Tensor, grids: &Tensor) -> Result<Tensor> {
    apply("quant/fake_quant.wgsl", &[], x, grids)
}

/// The straight-through gradient of [`fake_quant`]: `dy` where `x` lies within the grid, both ends included.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn straight_through(dy: &Tensor, x: &Tensor, grids: &Tensor) -> Result<Tensor> {
    same_shape("the gradient of fake quantization", dy.shape(), x.shape())?;
    apply("quant/straight_through.wgsl", &[dy], x, grids)
}

pub(super) fn variants() -> Vec<Entry> {
    let mut all: Vec<Entry> = [true, false].map(|v| entry(observe_shader(v), ObserveParams::LAYOUT)).into();
    for (bits, flags) in (2..=8).flat_map(|bits| (0..8).map(move |flags| (bits, flags))) {
        let [symmetric, narrow_range, observe] = [1, 2, 4].map(|bit| flags & bit != 0);
        // What is missing here comes to the shaders at run time.
        let rule = GridRule {
            bits,
            symmetric,
            narrow_range,
            observer: RangeObserver::LastBatch,
            delay: 0,
            freeze: 0,
        };
        for lanes in Lanes::kinds() {
            all.push(entry(update_shader(&rule, observe, lanes), UpdateParams::LAYOUT));
            for vectors in [false, true] {
                let spec = channels_shader(&rule, observe, lanes, vectors);
                all.push(entry(spec, ChannelsParams::LAYOUT));
            }
        }
    }
    for file in ["quant/fake_quant.wgsl", "quant/straight_through.wgsl"] {
        for vectors in [false, true] {
            let mut add = |lanes, unroll| {
                all.push(entry(apply_shader(file, vectors, lanes, unroll), QuantParams::LAYOUT));
            };
            [1, 4].into_iter().for_each(|unroll| add(None, unroll));
            Lanes::kinds().for_each(|lanes| add(Some(lanes), 1));
        }
    }
    all
}
