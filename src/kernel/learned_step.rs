//! Learned step size quantization (LSQ, Esser et al. 2019, arXiv 1902.08153): rounding to whole multiples of a scale
//! that is trained, and both gradients.

use super::catalogue::{Entry, entry};
use super::counter::FROZEN;
use super::lanes::Lanes;
use super::params::params;
use super::quantize::Observation;
use super::reduce::{Reduction, reduce};
use super::{extent, same_shape, spread};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// The value of a scale that nobody has set yet: what every scale starts with. In training, the first step that
/// quantizes sets it; until then, and in evaluation, values pass unchanged.
pub const UNSET: f32 = 0.0;

/// The step in use where training has driven a scale below it, to zero or to the other sign: 2^-40. Values up to
/// 3e26 divided by it stay finite, and steps of real networks are a million times larger.
pub const LEAST_STEP: f32 = 1.0 / (1u64 << 40) as f32;

/// Which codes there are, and from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepRule {
    /// 2 to 8.
    pub bits: u32,
    /// Codes from -2^(bits-1) to 2^(bits-1) - 1, else from 0 to 2^bits - 1.
    pub signed: bool,
    /// Leaves out the lowest code where signed.
    pub narrow_range: bool,
    /// Training steps that pass values unchanged.
    pub delay: u32,
}

impl StepRule {
    /// The lowest and the highest code: -Qn and Qp of the paper.
    pub fn codes(&self) -> (i32, i32) {
        match (self.signed, self.narrow_range) {
            (false, _) => (0, (1 << self.bits) - 1),
            (true, false) => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            (true, true) => (1 - (1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
        }
    }

    /// Codes, delay and a sum's factor: 1 / sqrt of the number of values times the highest code is the paper's for
    /// the gradient.
    fn params(&self, factor: f64) -> StepParams {
        let (lowest, highest) = self.codes();
        StepParams {
            delay: self.delay,
            rate: 1.0,
            factor: factor as f32,
            lowest: lowest as f32,
            highest: highest as f32,
            ..Default::default()
        }
    }
}

/// The state of a quantizer, on the device: one entry for each channel, or one in all.
#[derive(Clone, Debug)]
pub struct StepState {
    /// What codes are multiplied with, f32 `[C]`; [`UNSET`] at first.
    pub scale: Tensor,
    /// Training steps seen, u32 `[C]`.
    pub steps: Tensor,
}

params!(StepParams {
    length: u32,
    stride: u32,
    pieces: u32,
    mode: u32,
    delay: u32,
    rate: f32,
    factor: f32,
    lowest: f32,
    highest: f32,
});

/// Elements that one lane sums, unless that makes too many pieces.
const PIECE: usize = 16;

fn learned_shader(file: &'static str, vectors: bool) -> ShaderSpec {
    ShaderSpec::new(file).with("vectors", vectors)
}

fn channels_shader(lanes: Lanes, vectors: bool) -> ShaderSpec {
    lanes.give(learned_shader("quant/learned_channels.wgsl", vectors))
}

fn sums_shader(lanes: Lanes, vectors: bool) -> ShaderSpec {
    lanes.give(learned_shader("quant/learned_sums.wgsl", vectors))
}

fn apply_shader(observe: bool, unroll: u32) -> ShaderSpec {
    // The tail of the last vector lies in the padding of the buffer.
    learned_shader("quant/learned_apply.wgsl", true).with("observe", observe).with("unroll", unroll)
}

fn gradient_shader(lanes: Lanes, vectors: bool, input: bool) -> ShaderSpec {
    lanes.give(learned_shader("quant/learned_gradient.wgsl", vectors).with("input", input))
}

/// Workgroups that share a sum over `elements`, and whose sums are joined without many turns.
fn pieces_of(lanes: Lanes, elements: usize) -> usize {
    // Adding up fewer than 64 takes a single invocation, without the barriers of a tree.
    let most = if lanes.subgroup { 63 } else { 1024 };
    elements.div_ceil(lanes.count as usize * PIECE).min(most)
}

/// One channel's length in elements, and whether these are vectors of four values.
fn elements_of(length: usize) -> (usize, bool) {
    let vectors = length.is_multiple_of(4);
    (if vectors { length / 4 } else { length }, vectors)
}

/// Rounds `x` (seen as [C, ...], or as one channel) to whole multiples of its scale, half up. Returns the values and
/// the step that was used, f32 of the scale's shape, 0 where values passed: what [`gradient`] wants to know.
///
/// In training the step is counted. Before the rule's delay has passed, values pass. A scale that is [`UNSET`] when
/// they would be quantized for the first time is set to 2 mean|x| / sqrt(highest code) before it is used (section 2.1
/// of the paper); where that is zero, it stays unset, the zeros pass, and the next step tries again. Calibration
/// makes the scale the mean over the batches of what that formula gives, so that training finds it set and goes on
/// from there. Evaluation uses the scale as it is; an unset one passes values. The mark
/// [`FROZEN`] on a counter keeps training and calibration from setting the scale.
///
/// # Errors
/// Where the state does not fit `x`, the rule's bits are not 2 to 8, or the device has failed.
pub fn quantize(
    x: &Tensor,
    state: &StepState,
    rule: &StepRule,
    observation: Observation,
) -> Result<(Tensor, Tensor)> {
    let channels = channels_of(x, &state.scale, rule)?;
    state.steps.expect(DType::U32)?;
    if state.steps.shape() != state.scale.shape() {
        return Err(Error::Shape(format!(
            "a learned step needs one counter for each scale: there are counters {} and scales {}",
            state.steps.shape(),
            state.scale.shape()
        )));
    }
    let length = x.count() / channels;
    let (_, highest) = rule.codes();
    let mut params = rule.params(2.0 / (length as f64 * f64::from(highest).sqrt()));
    match observation {
        Observation::Off => params.delay = 0,
        Observation::Train => params.mode = 1,
        // No count reaches the mark, so all of calibration passes values.
        Observation::Calibrate { batch } => {
            (params.mode, params.delay, params.rate) = (2, FROZEN, 1.0 / (batch as f32 + 1.0));
        }
    }
    let lanes = Lanes::of(x.gpu());
    // One workgroup can do a short tensor sooner than two dispatches can be started.
    if channels > 1 || length <= lanes.alone() {
        by_channel(x, state, channels, lanes, params)
    } else if let Observation::Off = observation {
        let y = Tensor::empty(x.gpu(), x.shape(), DType::F32)?;
        let (unroll, threads) = vectors_of(&y, &mut params)?;
        x.gpu()
            .launch(apply_shader(false, unroll))
            .bind(x.buffer())
            .bind(state.scale.buffer())
            .bind(y.buffer())
            .params(&params)
            .threads(threads, 64)?;
        Ok((y, state.scale.clone()))
    } else {
        in_two(x, state, lanes, params, matches!(observation, Observation::Calibrate { .. }))
    }
}

fn by_channel(
    x: &Tensor,
    state: &StepState,
    channels: usize,
    lanes: Lanes,
    mut params: StepParams,
) -> Result<(Tensor, Tensor)> {
    let y = Tensor::empty(x.gpu(), x.shape(), DType::F32)?;
    let used = Tensor::empty(x.gpu(), state.scale.shape(), DType::F32)?;
    let (elements, vectors) = elements_of(x.count() / channels);
    params.length = extent(elements, "the size of a channel")?;
    x.gpu()
        .launch(channels_shader(lanes, vectors))
        .bind(x.buffer())
        .bind(state.scale.buffer())
        .bind(state.steps.buffer())
        .bind(used.buffer())
        .bind(y.buffer())
        .params(&params)
        .groups([extent(channels, "the number of channels")?, 1, 1])?;
    Ok((y, used))
}

/// Large tensors with one scale: a dispatch that has work only when the scale is to be set, and one that rounds. In
/// calibration the second has no values to write.
fn in_two(
    x: &Tensor,
    state: &StepState,
    lanes: Lanes,
    mut params: StepParams,
    passes: bool,
) -> Result<(Tensor, Tensor)> {
    let gpu = x.gpu();
    let (elements, vectors) = elements_of(x.count());
    let pieces = pieces_of(lanes, elements);
    params.length = extent(elements, "the number of values")?;
    params.pieces = pieces as u32;
    let facts = Tensor::empty(gpu, [3 + pieces], DType::F32)?;
    gpu.launch(sums_shader(lanes, vectors))
        .bind(x.buffer())
        .bind(state.scale.buffer())
        .bind(state.steps.buffer())
        .bind(facts.buffer())
        .params(&params)
        .groups([params.pieces, 1, 1])?;
    let used = Tensor::empty(gpu, state.scale.shape(), DType::F32)?;
    let (y, written) = if passes {
        (x.clone(), Tensor::empty(gpu, [0], DType::F32)?)
    } else {
        let y = Tensor::empty(gpu, x.shape(), DType::F32)?;
        (y.clone(), y)
    };
    let (unroll, threads) = vectors_of(&written, &mut params)?;
    gpu.launch(apply_shader(true, unroll))
        .bind(x.buffer())
        .bind(facts.buffer())
        .bind(state.scale.buffer())
        .bind(state.steps.buffer())
        .bind(used.buffer())
        .bind(written.buffer())
        .params(&params)
        .threads(threads.max(1), 64)?;
    Ok((y, used))
}

/// Spreads the vectors of `y` over invocations: how many each takes, and how many invocations there are.
fn vectors_of(y: &Tensor, params: &mut StepParams) -> Result<(u32, u64)> {
    let vectors = y.count().div_ceil(4);
    let (unroll, threads) = spread(vectors);
    params.length = extent(vectors, "the number of values")?;
    params.stride = threads as u32;
    Ok((unroll, threads))
}

/// The gradients of [`quantize`] from `dy`, with the step `used` that it returned: with respect to `x` where `input`
/// asks for it, and with respect to the scale, f32 of its shape.
///
/// Equation 3 of the paper. `dy` passes to `x` strictly between the ends of the codes. To the scale, each value gives
/// `dy` times round(x/s) - x/s strictly between the ends, the lowest code at or below the lower end, the highest at
/// or above the upper; where values passed, nothing. The sum is multiplied by 1 / sqrt(n * highest code), where n is
/// the number of values that share the scale, the batch included: n terms of random sign add up to about sqrt(n), so
/// the scale learns at the pace of what it scales, weights and activations alike, and no axis needs to be known as
/// the batch. (The paper counts an activation's features only: its scales move faster, by the square root of the
/// batch. MindSpore Golden Stick multiplies by nothing.) A scale below [`LEAST_STEP`] gets the gradient of the step
/// in use, and so can come back.
///
/// # Errors
/// Where shapes disagree, the rule's bits are not 2 to 8, or the device has failed.
pub fn gradient(
    dy: &Tensor,
    x: &Tensor,
    used: &Tensor,
    rule: &StepRule,
    input: bool,
) -> Result<(Option<Tensor>, Tensor)> {
    same_shape("the gradient of learned step size quantization", dy.shape(), x.shape())?;
    dy.expect(DType::F32)?;
    let channels = channels_of(x, used, rule)?;
    let gpu = x.gpu();
    let lanes = Lanes::of(gpu);
    let length = x.count() / channels;
    let (elements, vectors) = elements_of(length);
    let alone = channels > 1 || length <= lanes.alone();
    let pieces = if alone { 1 } else { pieces_of(lanes, elements) };
    let (_, highest) = rule.codes();
    let mut params = rule.params(1.0 / (length as f64 * f64::from(highest)).sqrt());
    params.length = extent(elements, "the number of values")?;
    params.pieces = pieces as u32;
    let dx = input.then(|| Tensor::empty(gpu, x.shape(), DType::F32)).transpose()?;
    let sums = Tensor::empty(gpu, [channels, pieces], DType::F32)?;
    let mut launch = gpu.launch(gradient_shader(lanes, vectors, input));
    for tensor in [dy, x, used].into_iter().chain(&dx).chain([&sums]) {
        launch = launch.bind(tensor.buffer());
    }
    launch.params(&params).groups([params.pieces, extent(channels, "the number of channels")?, 1])?;
    let sums = if pieces == 1 { sums } else { reduce(Reduction::Sum, &sums, 1..2)? };
    Ok((dx, sums.reshape(used.shape())?))
}

fn channels_of(x: &Tensor, scale: &Tensor, rule: &StepRule) -> Result<usize> {
    x.expect(DType::F32)?;
    scale.expect(DType::F32)?;
    // With a single signed bit there would be no code above zero.
    if !(2..=8).contains(&rule.bits) {
        return Err(Error::Invalid(format!("a learned step quantizes to 2 to 8 bits, not to {}", rule.bits)));
    }
    let channels = scale.count();
    if x.count() == 0 || !(channels == 1 || x.shape().first() == Some(&channels)) {
        return Err(Error::Shape(format!(
            "a learned step of {channels} channels cannot work on a tensor of shape {}",
            x.shape()
        )));
    }
    Ok(channels)
}

pub(super) fn variants() -> Vec<Entry> {
    let mut all: Vec<ShaderSpec> = Vec::new();
    for observe in [false, true] {
        all.extend([1, 4].map(|unroll| apply_shader(observe, unroll)));
    }
    for lanes in Lanes::kinds() {
        for vectors in [false, true] {
            all.push(channels_shader(lanes, vectors));
            all.push(sums_shader(lanes, vectors));
            all.extend([false, true].map(|input| gradient_shader(lanes, vectors, input)));
        }
    }
    all.into_iter().map(|spec| entry(spec, StepParams::LAYOUT)).collect()
}
