//! Learned step size quantization: values to the bit, and both gradients.

use super::super::oracle::learned_step::{self as host, Scale, Step, rounding};
use super::super::{Case, Trial};
use super::{ties, values};
use crate::Result;
use crate::kernel::counter::FROZEN;
use crate::kernel::learned_step::{LEAST_STEP, StepRule, StepState, UNSET, gradient, quantize};
use crate::kernel::quantize::Observation::{self, Calibrate, Off, Train};
use crate::shader_test::{Bound, Draw};
use crate::tensor::Shape;

const FAMILY: &str = "learned steps";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "known numbers", known_numbers).on_both(),
    Case::new(FAMILY, "every width by layer and by channel", every_width).on_both(),
    Case::new(FAMILY, "a scale is set by the first step that quantizes, and kept", set_once).on_both(),
    Case::new(FAMILY, "calibration sets the scale, and training keeps it", calibrated).on_both(),
    Case::new(FAMILY, "zeros tell no scale and leave it to the next step", zeros).on_both(),
    Case::new(FAMILY, "values that are not finite set no scale", not_finite).on_both(),
    Case::new(FAMILY, "a scale at or below zero is used as the least step", least_step).on_both(),
    Case::new(FAMILY, "a mark keeps scales from being set", marked).on_both(),
    Case::new(FAMILY, "values beside every tie and end", ties::learned_values).on_both(),
];

const RULE: StepRule = StepRule { bits: 4, signed: true, narrow_range: false, delay: 0 };

/// By layer, short and long, in whole vectors and not; and by channel.
const SHAPES: [(&[usize], usize); 11] = [
    (&[1], 1),
    (&[7], 1),
    (&[2, 3, 10], 1),
    (&[3, 1001], 1),
    (&[33_001], 1),
    (&[33_004], 1),
    (&[1, 1], 1),
    (&[3, 1], 3),
    (&[5, 3, 3, 3], 5),
    (&[4, 900], 4),
    (&[3, 3001], 3),
];

/// Every width of every kind.
fn rules() -> impl Iterator<Item = StepRule> {
    let kinds = [(true, false), (true, true), (false, false), (false, true)];
    (2..=8).flat_map(move |bits| {
        kinds.map(|(signed, narrow_range)| StepRule { bits, signed, narrow_range, ..RULE })
    })
}

pub(super) fn state(t: &Trial<'_>, scales: &[Scale]) -> Result<StepState> {
    let scale: Vec<f32> = scales.iter().map(|s| s.scale).collect();
    let steps: Vec<u32> = scales.iter().map(|s| s.steps).collect();
    Ok(StepState { scale: t.tensor([scales.len()], &scale)?, steps: t.words(&steps)? })
}

/// A pass on the device, and everything after it, against the host. Scales that are set on the device may differ by
/// rounding; values are then held against the device's own scale, to the bit.
fn pass(
    t: &mut Trial<'_>,
    device: &StepState,
    scales: &mut [Scale],
    (shape, x): (&Shape, &[f32]),
    rule: &StepRule,
    observation: Observation,
) -> Result<()> {
    let what = format!("{shape}, {} scales, {rule:?}, {observation:?}", scales.len());
    let length = x.len() / scales.len();
    let on_device = t.tensor(shape, x)?;
    let (y, used) = quantize(&on_device, device, rule, observation)?;
    let before: Vec<f32> = scales.iter().map(|s| s.scale).collect();
    let steps: Vec<Step> =
        scales.iter_mut().zip(x.chunks(length)).map(|(s, x)| s.pass(x, rule, observation)).collect();
    let counters: Vec<u32> = scales.iter().map(|s| s.steps).collect();
    t.same(format!("{what}: steps"), &device.steps.read_u32()?, &counters)?;
    let found = device.scale.read_f32()?;
    t.same(format!("{what}: scales"), &[found.len()], &[scales.len()])?;
    for (channel, (scale, &found)) in scales.iter_mut().zip(&found).enumerate() {
        let stays = before[channel].to_bits() == scale.scale.to_bits();
        let bound =
            if stays { Bound::Bits } else { Bound::Within { relative: rounding(length), absolute: 0.0 } };
        t.numbers(format!("{what}: scale {channel}"), &[found], &[scale.scale], bound)?;
        scale.scale = found;
    }
    let steps: Vec<Step> =
        steps.iter().zip(&found).map(|(step, found)| step.map(|_| found.max(LEAST_STEP))).collect();
    let each = || x.iter().enumerate().map(|(i, &x)| (steps[i / length], i, x));
    let expected: Vec<f32> = each().map(|(step, _, x)| host::apply(x, step, rule)).collect();
    t.values(format!("{what}: values"), &y, &expected, Bound::Bits)?;
    if let Calibrate { .. } = observation {
        return Ok(());
    }

    let dy = values(t, x.len(), 42);
    let dy_on_device = t.tensor(shape, &dy)?;
    let (dx, ds) = gradient(&dy_on_device, &on_device, &used, rule, true)?;
    let expected: Vec<f32> = each().map(|(step, i, x)| host::gradient(dy[i], x, step, rule)).collect();
    let dx = dx.map(|dx| dx.read_f32()).transpose()?.unwrap_or_default();
    t.numbers(format!("{what}: dx"), &dx, &expected, Bound::Bits)?;
    t.same(format!("{what}: ds"), ds.shape(), device.scale.shape())?;
    let ds = ds.read_f32()?;
    for (channel, &ds) in ds.iter().enumerate() {
        let own = channel * length..(channel + 1) * length;
        let (expected, off) = host::scale_gradient(&dy[own.clone()], &x[own], steps[channel], rule);
        t.numbers(format!("{what}: ds"), &[ds], &[expected], Bound::Within { relative: 0.0, absolute: off })?;
    }
    // If nobody wants dx, the other comes out the same.
    let (none, same) = gradient(&dy_on_device, &on_device, &used, rule, false)?;
    t.that(format!("{what}: a gradient that nobody wants"), none.is_none())?;
    t.values(format!("{what}: ds alone"), &same, &ds, Bound::Bits)
}

/// Values that try a step: anywhere on the codes and around, on codes, between two, and at both ends.
fn trying(step: f32, count: usize, rule: &StepRule, draw: &mut Draw) -> Vec<f32> {
    let (lowest, highest) = rule.codes();
    let (low, high) = (lowest as f32, highest as f32);
    let span = high - low;
    let codes = highest.abs_diff(lowest) as usize;
    let code = |draw: &mut Draw| draw.between(0, codes + 4) as f32 + low - 2.0;
    (0..count)
        .map(|i| match i % 8 {
            0 => step * code(draw),
            1 => step * (code(draw) + 0.5),
            2 => step * low,
            3 => step * high,
            4 => 0.0,
            _ => step * draw.number(low - 0.2 * span, high + 0.2 * span),
        })
        .collect()
}

fn every_width(t: &mut Trial<'_>) -> Result<()> {
    for rule in rules() {
        for (shape, channels) in [(&[5, 101][..], 1), (&[5, 101], 5)] {
            let scales: Vec<Scale> =
                (0..channels).map(|c| Scale { scale: 0.03 + 0.1 * c as f32, steps: 1 }).collect();
            let mut draw = t.draw(1);
            let x: Vec<f32> =
                scales.iter().flat_map(|s| trying(s.scale, 505 / channels, &rule, &mut draw)).collect();
            for observation in [Train, Off] {
                let device = state(t, &scales)?;
                pass(t, &device, &mut scales.clone(), (&shape.into(), &x), &rule, observation)?;
            }
        }
    }
    Ok(())
}

fn set_once(t: &mut Trial<'_>) -> Result<()> {
    let rule = StepRule { delay: 2, ..RULE };
    for (shape, channels) in SHAPES {
        let shape = Shape::from(shape);
        let mut scales = vec![Scale::START; channels];
        let device = state(t, &scales)?;
        for (step, observation) in [Off, Train, Off, Train, Train, Off, Train].into_iter().enumerate() {
            let x = values(t, shape.count(), step as u64);
            pass(t, &device, &mut scales, (&shape, &x), &rule, observation)?;
            let as_due = scales.iter().all(|s| (s.scale == UNSET) == (step < 4));
            t.that(format!("{shape}: the scale is set by pass 4, not at pass {step}: {scales:?}"), as_due)?;
        }
    }
    Ok(())
}

fn calibrated(t: &mut Trial<'_>) -> Result<()> {
    // A delay that is longer than the calibration, as long, and none.
    for delay in [0, 3, 5] {
        let rule = StepRule { delay, signed: false, ..RULE };
        for (shape, channels) in SHAPES {
            let shape = Shape::from(shape);
            // A scale from before, and its steps, mean nothing to it.
            let mut scales = vec![Scale { scale: 123.0, steps: 0 }; channels];
            let device = state(t, &scales)?;
            for batch in 0..3 {
                let x = values(t, shape.count(), batch.into());
                pass(t, &device, &mut scales, (&shape, &x), &rule, Calibrate { batch })?;
            }
            let before: Vec<f32> = scales.iter().map(|s| s.scale).collect();
            for step in 3..7 {
                let x = values(t, shape.count(), step);
                pass(t, &device, &mut scales, (&shape, &x), &rule, Train)?;
            }
            let after: Vec<f32> = scales.iter().map(|s| s.scale).collect();
            t.same(format!("{shape}, delay {delay}: scales that stay"), &after, &before)?;
        }
    }
    Ok(())
}

fn zeros(t: &mut Trial<'_>) -> Result<()> {
    for (shape, channels) in SHAPES {
        let shape = Shape::from(shape);
        let mut scales = vec![Scale::START; channels];
        let device = state(t, &scales)?;
        for observation in [Train, Off, Calibrate { batch: 0 }] {
            let x = vec![0.0; shape.count()];
            pass(t, &device, &mut scales, (&shape, &x), &RULE, observation)?;
            let unset = scales.iter().all(|s| s.scale == UNSET);
            t.that(format!("{shape}, {observation:?}: zeros have set a scale: {scales:?}"), unset)?;
        }
        // In the mean of a calibration they count.
        let x = vec![1.0; shape.count()];
        pass(t, &device, &mut scales, (&shape, &x), &RULE, Calibrate { batch: 1 })?;
        let bound = Bound::Within { relative: 1e-5, absolute: 0.0 };
        t.numbers(format!("{shape}: mean"), &[scales[0].scale], &[1.0 / 7f32.sqrt()], bound)?;
    }
    Ok(())
}

fn not_finite(t: &mut Trial<'_>) -> Result<()> {
    for (shape, channels) in [(&[2, 40][..], 2), (&[80], 1), (&[33_004], 1)] {
        for odd in [f32::NAN, f32::INFINITY] {
            let shape = Shape::from(shape);
            let mut x = values(t, shape.count(), 3);
            x[5] = odd;
            let device = state(t, &vec![Scale::START; channels])?;
            quantize(&t.tensor(&shape, &x)?, &device, &RULE, Train)?;
            t.numbers(format!("{shape}, {odd}"), &device.scale.read_f32()?[..1], &[UNSET], Bound::Bits)?;
        }
    }
    Ok(())
}

fn least_step(t: &mut Trial<'_>) -> Result<()> {
    for scale in [-0.5, -1e-30, LEAST_STEP / 2.0, LEAST_STEP] {
        for (shape, channels) in SHAPES {
            let shape = Shape::from(shape);
            let mut scales = vec![Scale { scale, steps: 4 }; channels];
            let device = state(t, &scales)?;
            let x = values(t, shape.count(), 5);
            pass(t, &device, &mut scales, (&shape, &x), &RULE, Train)?;
            pass(t, &device, &mut scales, (&shape, &x), &RULE, Off)?;
            let stayed = scales.iter().all(|s| s.scale == scale);
            t.that(format!("{shape}: a scale of {scale} has moved: {scales:?}"), stayed)?;
        }
    }
    Ok(())
}

fn marked(t: &mut Trial<'_>) -> Result<()> {
    for (shape, channels) in SHAPES {
        let shape = Shape::from(shape);
        let mut scales = vec![Scale { scale: UNSET, steps: FROZEN | 1 }; channels];
        let device = state(t, &scales)?;
        for observation in [Train, Calibrate { batch: 0 }, Train, Off] {
            let x = values(t, shape.count(), 6);
            pass(t, &device, &mut scales, (&shape, &x), &RULE, observation)?;
        }
        t.same(&shape, &scales, &vec![Scale { scale: UNSET, steps: FROZEN | 3 }; channels])?;
    }
    Ok(())
}

fn known_numbers(t: &mut Trial<'_>) -> Result<()> {
    // Half up, both ends, and the paper's slopes at and beyond them: -Qn = -8, Qp = 7.
    let x = t.tensor([8], &[-5.0, -4.0, -0.75, -0.25, 0.25, 0.6, 3.5, 9.0])?;
    let state = StepState { scale: t.tensor([1], &[0.5])?, steps: t.words(&[1])? };
    let (y, used) = quantize(&x, &state, &RULE, Off)?;
    t.values("y", &y, &[-4.0, -4.0, -0.5, 0.0, 0.5, 0.5, 3.5, 3.5], Bound::Bits)?;
    let (dx, ds) = gradient(&t.tensor([8], &[1.0; 8])?, &x, &used, &RULE, true)?;
    let dx = dx.map(|dx| dx.read_f32()).transpose()?.unwrap_or_default();
    t.numbers("dx", &dx, &[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], Bound::Bits)?;
    let sum = -8.0 - 8.0 + 0.5 + 0.5 + 0.5 - 0.2 + 7.0 + 7.0;
    // Sums of up to 17 in size, of which 0.7 is left: a unit in the last place of 16 for each of seven additions.
    let bound = Bound::Within { relative: 0.0, absolute: 7.0 * 16.0 * f32::EPSILON / 56f32.sqrt() };
    t.values("ds", &ds, &[sum / 56f32.sqrt()], bound)
}
