//! What the kinds of passes do to observed ranges: training until they are frozen, calibration, evaluation.

use super::super::oracle::fake_quant::{Grid, Range};
use super::super::{Case, Trial};
use super::quantize::{PLAIN, applied, applies, batch, rules, state, states};
use crate::Result;
use crate::kernel::counter::{FROZEN, freeze};
use crate::kernel::quantize::Observation::{self, Calibrate, Off, Train};
use crate::kernel::quantize::{GridRule, RangeObserver, lay_grid, quantize};
use crate::shader_test::Bound;
use crate::tensor::Shape;

const FAMILY: &str = "observers";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "a range stands still after its steps", stands_still).on_both(),
    Case::new(FAMILY, "a marked range stands still while its steps are counted", marked).on_both(),
    Case::new(FAMILY, "tensors that one workgroup does not do alone", large).on_both(),
    Case::new(FAMILY, "a mark can be set and cleared between steps", mark_and_clear).on_both(),
    Case::new(FAMILY, "calibration takes the mean of the ranges and passes values", calibration).on_both(),
    Case::new(FAMILY, "a calibrated range in numbers", calibrated_numbers).on_both(),
];

const MOVING: GridRule = GridRule { observer: RangeObserver::MovingAverage, ..PLAIN };

/// By layer, in whole vectors and not, and by channel: [C, ...] and the number of channels.
const SHAPES: [(&[usize], usize); 4] = [(&[37], 1), (&[5, 8], 1), (&[3, 2, 25], 3), (&[4, 12], 4)];

/// Passes of the kinds that are listed, from the ranges on: states, grids and values as on the host, whether in one
/// go or one by one. Returns the ranges after the last.
fn follow(
    t: &mut Trial<'_>,
    shape: &[usize],
    rule: &GridRule,
    from: &[Range],
    passes: &[Observation],
) -> Result<Vec<Range>> {
    let shape = Shape::from(shape);
    let length = shape.count() / from.len();
    let mut ranges = from.to_vec();
    let (by_steps, at_once) = (state(t, from)?, state(t, from)?);
    for (step, &observation) in passes.iter().enumerate() {
        let what = format!("{shape}, {rule:?}, pass {step}, {observation:?}");
        let x = batch(t, shape.count(), step);
        let device = t.tensor(&shape, &x)?;
        let grids = lay_grid(&device, &by_steps, rule, observation)?;
        let (y, same_grids) = quantize(&device, &at_once, rule, observation)?;
        let host: Vec<Grid> =
            ranges.iter_mut().zip(x.chunks(length)).map(|(r, x)| r.pass(x, rule, observation)).collect();
        states(t, &what, &by_steps, &ranges)?;
        states(t, &format!("{what}, in one go"), &at_once, &ranges)?;
        applies(t, &what, &shape, &x, &grids, &host)?;
        t.values(format!("{what}, in one go: grids"), &same_grids, &grids.read_f32()?, Bound::Bits)?;
        t.values(format!("{what}, in one go"), &y, &applied(&host, &x), Bound::Bits)?;
    }
    Ok(ranges)
}

fn stands_still(t: &mut Trial<'_>) -> Result<()> {
    for observer in [RangeObserver::LastBatch, RangeObserver::MovingAverage] {
        // Moving ends before, with and after the delay.
        for freeze in [0, 1, 2, 3] {
            let rule = GridRule { observer, freeze, delay: 2, ..PLAIN };
            for (shape, channels) in SHAPES {
                let from = vec![Range::START; channels];
                let at_freeze = follow(t, shape, &rule, &from, &vec![Train; freeze as usize])?;
                let later = follow(t, shape, &rule, &from, &[Train, Train, Train, Train, Train, Off])?;
                let frozen: Vec<Range> = at_freeze.iter().map(|r| Range { steps: 5, ..*r }).collect();
                t.same(format!("{shape:?}, {rule:?}: ranges that stand still"), &later, &frozen)?;
            }
        }
    }
    Ok(())
}

fn marked(t: &mut Trial<'_>) -> Result<()> {
    let marked = Range { min: -0.5, max: 1.25, steps: FROZEN | 1 };
    for rule in rules(8).map(|rule| GridRule { delay: 3, ..rule }) {
        for (shape, channels) in SHAPES {
            // Every other channel is marked; if there is one, it is.
            let mut from = vec![Range { min: -0.5, max: 1.25, steps: 1 }; channels];
            from.iter_mut().step_by(2).for_each(|range| *range = marked);
            let passes = [Train, Train, Train, Calibrate { batch: 1 }, Off];
            let last = follow(t, shape, &rule, &from, &passes)?;
            let what = format!("{shape:?}, {rule:?}: the first range");
            t.same(what, &last[..1], &[Range { steps: FROZEN | 4, ..marked }])?;
        }
    }
    Ok(())
}

fn large(t: &mut Trial<'_>) -> Result<()> {
    let rule = GridRule { delay: 4, freeze: 5, ..MOVING };
    let calibration = [Calibrate { batch: 0 }, Calibrate { batch: 1 }];
    let passes = [&calibration[..], &[Train; 5], &[Off]].concat();
    follow(t, &[2, 16_401], &rule, &[Range::START], &passes)?;
    follow(t, &[16_404], &rule, &[Range { steps: FROZEN | 3, ..Range::START }], &passes)?;
    Ok(())
}

fn mark_and_clear(t: &mut Trial<'_>) -> Result<()> {
    let device = state(t, &[Range::START; 2])?;
    let mut ranges = [Range::START; 2];
    for (step, frozen) in [false, true, true, false].into_iter().enumerate() {
        freeze(&device.steps, frozen)?;
        for range in &mut ranges {
            range.steps = range.steps & !FROZEN | if frozen { FROZEN } else { 0 };
        }
        let x = batch(t, 20, step);
        quantize(&t.tensor([2, 10], &x)?, &device, &MOVING, Train)?;
        ranges.iter_mut().zip(x.chunks(10)).for_each(|(range, x)| {
            range.observe(x, &MOVING);
        });
        states(t, &format!("step {step}"), &device, &ranges)?;
    }
    t.same("steps", &[ranges[0].steps], &[4])
}

fn calibration(t: &mut Trial<'_>) -> Result<()> {
    let batches = [0, 1, 2, 3].map(|batch| Calibrate { batch });
    for rule in rules(4).chain([MOVING, GridRule { delay: 2, freeze: 1, ..MOVING }]) {
        for (shape, channels) in SHAPES {
            // Steps that were seen before, and a range from then, mean nothing to it.
            let from = vec![Range { min: -77.0, max: 99.0, steps: 5 }; channels];
            let passes = [&batches[..], &[Off, Train, Off], &batches[..2]].concat();
            follow(t, shape, &rule, &from, &passes)?;
        }
    }
    Ok(())
}

fn calibrated_numbers(t: &mut Trial<'_>) -> Result<()> {
    let device = state(t, &[Range { min: -50.0, max: 50.0, steps: 0 }])?;
    for (batch, x) in [[-1.0, 3.0], [-2.0, 1.0], [-6.0, 2.0], [-3.0, 2.0]].iter().enumerate() {
        quantize(&t.tensor([2], x)?, &device, &PLAIN, Calibrate { batch: batch as u32 })?;
    }
    // The running mean rounds once or twice in each of three batches.
    let bound = Bound::Within { relative: 6.0 * f32::EPSILON, absolute: 0.0 };
    t.values("min", &device.min, &[-3.0], bound)?;
    t.values("max", &device.max, &[2.0], bound)?;
    // No steps of a training, but seen.
    t.same("steps", &device.steps.read_u32()?, &[1])
}
