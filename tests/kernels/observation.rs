//! What the kinds of passes do to observed ranges: training until they are frozen, calibration, evaluation.

use simqat::gpu::{Gpu, KernelFamily};
use simqat::kernel::counter::{FROZEN, freeze};
use simqat::kernel::quantize::Observation::{self, Calibrate, Off, Train};
use simqat::kernel::quantize::{GridRule, RangeObserver, lay_grid, quantize};
use simqat::tensor::{Shape, Tensor};

use super::common::fake_quant::{Action, Grid, Range};
use super::common::{assert_bits, assert_close, open};
use super::quantize::{PLAIN, assert_applies, assert_state, rules, state_on};
use super::{families, values};

const MOVING: GridRule = GridRule { observer: RangeObserver::MovingAverage, ..PLAIN };

/// By layer, in whole vectors and not, and by channel: [C, ...] and the number of channels.
const SHAPES: [(&[usize], usize); 4] = [(&[37], 1), (&[5, 8], 1), (&[3, 2, 25], 3), (&[4, 12], 4)];

/// A batch of its own for each step: all above zero, all below, and both.
fn batch(shape: &Shape, step: usize) -> Vec<f32> {
    values(shape.count(), step as u64).iter().map(|v| v + [4.0, -4.0, 0.0][step % 3]).collect()
}

/// Passes of the kinds that are listed, from the ranges on: states, grids and values as on the host, whether in one
/// go or one by one. Returns the ranges behind the last.
fn check(gpu: &Gpu, shape: &[usize], rule: &GridRule, from: &[Range], passes: &[Observation]) -> Vec<Range> {
    let shape = Shape::from(shape);
    let length = shape.count() / from.len();
    let mut ranges = from.to_vec();
    let (by_steps, at_once) = (state_on(gpu, from), state_on(gpu, from));
    for (step, &observation) in passes.iter().enumerate() {
        let what = format!("{shape}, {rule:?}, pass {step}, {observation:?}");
        let x = batch(&shape, step);
        let device = Tensor::from_f32(gpu, &shape, &x).unwrap();
        let grids = lay_grid(&device, &by_steps, rule, observation).unwrap();
        let (y, same_grids) = quantize(&device, &at_once, rule, observation).unwrap();
        let host: Vec<Grid> =
            ranges.iter_mut().zip(x.chunks(length)).map(|(r, x)| r.pass(x, rule, observation)).collect();
        assert_state(&by_steps, &ranges);
        assert_state(&at_once, &ranges);
        assert_applies(&what, &shape, &x, &grids, &host);
        assert_bits(&what, &same_grids.read_f32().unwrap(), &grids.read_f32().unwrap());
        let expected: Vec<f32> = x.iter().enumerate().map(|(i, &x)| host[i / length].apply(x)).collect();
        assert_bits(&what, &y.read_f32().unwrap(), &expected);
    }
    ranges
}

#[test]
fn a_range_stands_still_after_its_steps() {
    for observer in [RangeObserver::LastBatch, RangeObserver::MovingAverage] {
        // Moving ends before, with and after the delay.
        for freeze in [0, 1, 2, 3] {
            let rule = GridRule { observer, freeze, delay: 2, ..PLAIN };
            for gpu in families() {
                for (shape, channels) in SHAPES {
                    let from = vec![Range::START; channels];
                    let at_freeze = check(&gpu, shape, &rule, &from, &vec![Train; freeze as usize]);
                    let later = check(&gpu, shape, &rule, &from, &[Train, Train, Train, Train, Train, Off]);
                    for (then, now) in at_freeze.iter().zip(&later) {
                        assert_eq!((then.min, then.max, 5), (now.min, now.max, now.steps));
                    }
                }
            }
        }
    }
}

#[test]
fn a_marked_range_stands_still_while_its_steps_are_counted_against_the_delay() {
    let marked = Range { min: -0.5, max: 1.25, steps: FROZEN | 1 };
    for rule in rules(8).map(|rule| GridRule { delay: 3, ..rule }) {
        for gpu in families() {
            for (shape, channels) in SHAPES {
                // Every other channel is marked; where there is one, it is.
                let mut from = vec![Range { min: -0.5, max: 1.25, steps: 1 }; channels];
                from.iter_mut().step_by(2).for_each(|range| *range = marked);
                let last =
                    check(&gpu, shape, &rule, &from, &[Train, Train, Train, Calibrate { batch: 1 }, Off]);
                assert_eq!(last[0], Range { steps: FROZEN | 4, ..marked });
            }
        }
    }
}

#[test]
fn tensors_that_one_workgroup_does_not_do_alone() {
    let rule = GridRule { delay: 4, freeze: 5, ..MOVING };
    let calibration = [Calibrate { batch: 0 }, Calibrate { batch: 1 }];
    let passes = [&calibration[..], &[Train; 5], &[Off]].concat();
    for gpu in families() {
        check(&gpu, &[2, 16_401], &rule, &[Range::START], &passes);
        check(&gpu, &[16_404], &rule, &[Range { steps: FROZEN | 3, ..Range::START }], &passes);
    }
}

#[test]
fn a_mark_can_be_set_and_cleared_between_steps() {
    for gpu in families() {
        let device = state_on(&gpu, &[Range::START; 2]);
        let mut ranges = [Range::START; 2];
        for (step, frozen) in [false, true, true, false].into_iter().enumerate() {
            freeze(&device.steps, frozen).unwrap();
            for range in &mut ranges {
                range.steps = range.steps & !FROZEN | if frozen { FROZEN } else { 0 };
            }
            let shape = Shape::from([2, 10]);
            let x = batch(&shape, step);
            quantize(&Tensor::from_f32(&gpu, &shape, &x).unwrap(), &device, &MOVING, Train).unwrap();
            ranges.iter_mut().zip(x.chunks(10)).for_each(|(range, x)| {
                range.observe(x, &MOVING);
            });
            assert_state(&device, &ranges);
        }
        assert_eq!(ranges[0].steps, 4);
    }
}

#[test]
fn calibration_takes_the_mean_of_the_ranges_and_passes_values() {
    let batches = [0, 1, 2, 3].map(|batch| Calibrate { batch });
    for rule in rules(4).chain([MOVING, GridRule { delay: 2, freeze: 1, ..MOVING }]) {
        for gpu in families() {
            for (shape, channels) in SHAPES {
                // Steps that were seen before, and a range from then, mean nothing to it.
                let from = vec![Range { min: -77.0, max: 99.0, steps: 5 }; channels];
                let passes = [&batches[..], &[Off, Train, Off], &batches[..2]].concat();
                check(&gpu, shape, &rule, &from, &passes);
            }
        }
    }
}

#[test]
fn a_calibrated_range_is_the_mean_of_the_ranges_in_numbers() {
    for gpu in families() {
        let device = state_on(&gpu, &[Range { min: -50.0, max: 50.0, steps: 0 }]);
        for (batch, x) in [[-1.0, 3.0], [-2.0, 1.0], [-6.0, 2.0], [-3.0, 2.0]].iter().enumerate() {
            let x = Tensor::from_f32(&gpu, [2], x).unwrap();
            quantize(&x, &device, &PLAIN, Calibrate { batch: batch as u32 }).unwrap();
        }
        // The running mean rounds once or twice in each of three batches.
        assert_close("min", &device.min.read_f32().unwrap(), &[-3.0], 6.0 * f32::EPSILON, 0.0);
        assert_close("max", &device.max.read_f32().unwrap(), &[2.0], 6.0 * f32::EPSILON, 0.0);
        assert_eq!(device.steps.read_u32().unwrap(), [1], "no steps of a training, but seen");
    }
}

#[test]
fn replayed_steps_count_freeze_and_begin_to_round_on_the_device() {
    let rule = GridRule { delay: 2, freeze: 3, ..MOVING };
    for gpu in [KernelFamily::Auto, KernelFamily::Tiled].map(open) {
        let shape = Shape::from([2, 15]);
        // The values are the recording's; a range that follows them moves all the same, from -6 to 6 at first.
        let x = batch(&shape, 2);
        let mut ranges = [Range { steps: 1, ..Range::START }; 2];
        let device = state_on(&gpu, &ranges);
        let on_device = Tensor::from_f32(&gpu, &shape, &x).unwrap();
        let (recording, y) = gpu.record(|| Ok(quantize(&on_device, &device, &rule, Train)?.0)).unwrap();
        for step in 1..6 {
            recording.replay().unwrap();
            let host: Vec<Grid> =
                ranges.iter_mut().zip(x.chunks(15)).map(|(r, x)| r.observe(x, &rule)).collect();
            assert_eq!(host[0].action == Action::Passes, step < 2);
            assert_state(&device, &ranges);
            let expected: Vec<f32> = x.iter().enumerate().map(|(i, &x)| host[i / 15].apply(x)).collect();
            assert_bits(&format!("step {step}"), &y.read_f32().unwrap(), &expected);
        }
    }
}
