//! Folds whose weights are rounded between the fold and the convolution.

use std::cell::RefCell;

use super::super::super::Trial;
use super::super::super::oracle::fake_quant::{Grid, Range};
use super::super::super::oracle::wide;
use super::scene::*;
use super::{EPS, REQUIRED};
use crate::Result;
use crate::kernel::counter::NEVER;
use crate::kernel::norm::Form;
use crate::kernel::quantize::{GridRule, Observation, RangeObserver, RangeState};
use crate::ops::*;
use crate::shader_test::Bound;
use crate::tensor::Tensor;

const NARROW: GridRule = GridRule {
    bits: 8,
    symmetric: true,
    narrow_range: true,
    observer: RangeObserver::LastBatch,
    delay: 0,
    freeze: NEVER,
};

/// A quantizer of weights: its rule, what it starts from, how many channels it has, and what a pass does.
#[derive(Clone, Copy)]
struct Quantizer {
    rule: GridRule,
    range: Range,
    channels: usize,
    observation: Observation,
}

impl Quantizer {
    fn state(&self, t: &Trial<'_>) -> Result<RangeState> {
        let of = |v: f32| t.tensor([self.channels], &vec![v; self.channels]);
        let steps = t.words(&vec![self.range.steps; self.channels])?;
        Ok(RangeState { min: of(self.range.min)?, max: of(self.range.max)?, steps })
    }

    /// The grids for these weights.
    fn grids(&self, w: &[f32]) -> Vec<Grid> {
        let each = w.chunks(w.len() / self.channels);
        each.map(|w| self.range.clone().pass(w, &self.rule, self.observation)).collect()
    }
}

/// What the device has computed on the way: weights after the fold, and after rounding.
struct Walk {
    y: Vec<f32>,
    found: Inputs<f32>,
    folded: Vec<f32>,
    rounded: Vec<f32>,
}

/// A pass through the fold with rounded weights, from fresh states.
fn walk(
    t: &Trial<'_>,
    scene: &Scene<'_>,
    quantizer: &Quantizer,
    state: &NormState,
    inputs: &Inputs<f32>,
    seed: &[f32],
) -> Result<Walk> {
    let ranges = quantizer.state(t)?;
    let kept: RefCell<Option<[Tensor; 2]>> = RefCell::new(None);
    let (y, found) = scene.walk(
        inputs,
        |v| {
            let folded = fold_weight(&v[1], &v[2], state, EPS, scene.fold_form())?;
            let rounded = fake_quant(&folded, &ranges, &quantizer.rule, quantizer.observation)?;
            *kept.borrow_mut() = Some([folded.tensor().clone(), rounded.tensor().clone()]);
            let z = scene.conv(&v[0], &rounded)?;
            let fold = scene.fold(v, state);
            if scene.form != Form::TwoConv {
                return normalize_one_conv(&z, &fold, scene.relu);
            }
            // Evaluation does without the second convolution.
            let training = scene.statistics != Statistics::Running;
            let z0 = training.then(|| scene.conv(&v[0], &v[1])).transpose()?;
            normalize_two_conv(&z, z0.as_ref(), &fold, scene.relu)
        },
        seed,
    )?;
    let kept = kept.into_inner().map(|[folded, rounded]| Ok([folded.read_f32()?, rounded.read_f32()?]));
    let [folded, rounded] = kept.transpose()?.unwrap_or_default();
    Ok(Walk { y, found, folded, rounded })
}

pub(super) fn folds(t: &mut Trial<'_>) -> Result<()> {
    // Observed whole, so that nothing is cut off; not observed and too narrow for many; and within its delay.
    let wide_open = |rule| (rule, Range::START, Observation::Train);
    let cut = GridRule { symmetric: false, narrow_range: false, bits: 4, ..NARROW };
    let quantizers = [
        wide_open(NARROW),
        (cut, Range { min: -0.9, max: 0.7, steps: 3 }, Observation::Off),
        wide_open(GridRule { delay: 10, ..NARROW }),
    ];
    let folds = scenes(t).into_iter().filter(|scene| scene.form != Form::Plain);
    for (number, scene) in folds.enumerate() {
        let (rule, range, observation) = quantizers[number % 3];
        let channels = if number % 2 == 0 { scene.w[0] } else { 1 };
        fold(t, &scene, &Quantizer { rule, range, channels, observation })?;
    }
    Ok(())
}

fn fold(t: &mut Trial<'_>, scene: &Scene<'_>, quantizer: &Quantizer) -> Result<()> {
    let what = format!("{}, {:?}", scene.name(), quantizer.rule);
    let (inputs, mut seed) = scene.drawn(t)?;
    let wide_inputs = inputs.each_ref().map(|v| wide(v));
    let [x, w, ..] = &wide_inputs;
    let case = scene.case(&wide_inputs)?;
    // Rounding moves values to and from the corner of a ReLU: where they are is known after a first walk.
    let Walk { rounded, .. } = walk(t, scene, quantizer, &scene.state()?, &inputs, &seed)?;
    let hat = wide(&rounded);
    let (z, z0) = (scene.convolve(x, &hat)?, scene.convolve(x, w)?);
    case.off_the_corner(&z, &z0, &mut seed);

    let Walk { y, found, folded, rounded } = walk(t, scene, quantizer, &scene.state()?, &inputs, &seed)?;
    let chunk = folded.len() / quantizer.channels;
    let grids = quantizer.grids(&folded);
    let quantized: Vec<f32> = folded.iter().enumerate().map(|(i, &w)| grids[i / chunk].apply(w)).collect();
    t.numbers(format!("{what}: quantized weights"), &rounded, &quantized, Bound::Bits)?;
    let expected = case.answer(&z, &z0, &wide(&seed));
    t.by_norm(format!("{what}: values"), &y, &expected.y, 0.0, REQUIRED)?;
    let [mut dx, mut d_hat, mut dw] = [vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; w.len()]];
    scene.meet(|at, tap, out| {
        dx[at] += hat[tap] * expected.dz[out] + w[tap] * expected.dz0[out];
        d_hat[tap] += x[at] * expected.dz[out];
        dw[tap] += x[at] * expected.dz0[out];
    })?;
    let mut d_gamma = expected.gamma;
    for tap in 0..w.len() {
        let channel = tap / scene.length();
        let (ratio, slope) = case.ratio(channel);
        let d = d_hat[tap] * f64::from(grids[tap / chunk].gradient(1.0, folded[tap]));
        dw[tap] += d * ratio;
        d_gamma[channel] += d * w[tap] * slope;
    }
    let bias = if scene.with_bias { expected.bias } else { vec![0.0; scene.w[0]] };
    scene.hold(t, "the formulas", &found, &[dx, dw, d_gamma, expected.beta, bias])
}

pub(super) fn channels_at_zero(t: &mut Trial<'_>) -> Result<()> {
    for form in FORMS {
        for by_channel in [None, Some(false), Some(true)] {
            let shapes = ([3, 2, 5, 5], [4, 2, 3, 3], PLAIN);
            let scene = Scene::new(t, form, shapes, ALL_STATISTICS[0]);
            for all in [false, true] {
                at_zero(t, &scene, by_channel, all)?;
            }
        }
    }
    Ok(())
}

/// All gammas are zero, or the last two of four. With `by_channel`, weights are quantized, by one grid or by four.
fn at_zero(t: &mut Trial<'_>, scene: &Scene<'_>, by_channel: Option<bool>, all: bool) -> Result<()> {
    let form = scene.form;
    let what = format!("{form:?}, quantized by channel {by_channel:?}, all channels {all}");
    let (mut inputs, _) = scene.drawn(t)?;
    inputs[2].iter_mut().skip(if all { 0 } else { 2 }).for_each(|gamma| *gamma = 0.0);
    let seed = scene.weights(t, &inputs)?;
    let state = scene.state()?;
    let (y, found) = match by_channel.filter(|_| form != Form::Plain) {
        None => scene.walk(&inputs, |v| scene.fused(v, &state), &seed)?,
        Some(by_channel) => {
            let (rule, range, observation) = (NARROW, Range::START, Observation::Train);
            let channels = if by_channel { 4 } else { 1 };
            let quantizer = Quantizer { rule, range, channels, observation };
            let Walk { y, found, .. } = walk(t, scene, &quantizer, &state, &inputs, &seed)?;
            (y, found)
        }
    };
    let finite = y.iter().chain(found.iter().flatten()).all(|v| v.is_finite());
    t.that(format!("{what}: values or gradients are not finite: {y:?}, {found:?}"), finite)?;
    // Nothing but beta comes out of the last channel.
    let plane = y.len() / 12;
    let last: Vec<f32> = (0..y.len()).filter(|i| i / plane % 4 == 3).map(|i| y[i]).collect();
    t.numbers(format!("{what}: the last channel"), &last, &vec![inputs[3][3]; last.len()], Bound::Equal)?;
    // One grid for all channels may leave nothing of a small one beside larger ones.
    let drowned = form == Form::OneConv && by_channel == Some(false) && !all;
    let learns = drowned || found[2].iter().all(|v| v.abs() > 1e-5);
    t.that(format!("{what}: a channel that cannot learn: {:?}", found[2]), learns)?;
    t.same(format!("{what}: steps"), &state.steps.read_u32()?, &[STEPS + 1; 4])?;
    let (mean, var) = (state.mean.read_f32()?, state.var.read_f32()?);
    let finite = mean.iter().chain(&var).all(|v| v.is_finite());
    t.that(format!("{what}: statistics are not finite: {mean:?}, {var:?}"), finite)?;
    if by_channel.is_none() {
        let slopes = scene.slopes(&inputs.each_ref().map(|v| wide(v)), &wide(&seed))?;
        scene.hold(t, "finite differences", &found, &slopes)?;
    }
    Ok(())
}
