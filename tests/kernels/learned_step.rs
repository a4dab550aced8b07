use simqat::gpu::{Gpu, KernelFamily};
use simqat::kernel::counter::FROZEN;
use simqat::kernel::learned_step::{LEAST_STEP, StepRule, StepState, UNSET, gradient, quantize};
use simqat::kernel::quantize::Observation::{self, Calibrate, Off, Train};
use simqat::tensor::random::Philox;
use simqat::tensor::{DType, Shape, Tensor};

use super::common::learned_step::{self as host, Scale, Step};
use super::common::{assert_bits, assert_close, open};
use super::{families, tensor, values, words};

const RULE: StepRule = StepRule { bits: 4, signed: true, narrow_range: false, delay: 0 };

/// Every width of every kind.
fn rules() -> impl Iterator<Item = StepRule> {
    let kinds = [(true, false), (true, true), (false, false), (false, true)];
    (2..=8).flat_map(move |bits| {
        kinds.map(|(signed, narrow_range)| StepRule { bits, signed, narrow_range, ..RULE })
    })
}

fn state_on(gpu: &Gpu, scales: &[Scale]) -> StepState {
    let scale: Vec<f32> = scales.iter().map(|s| s.scale).collect();
    let steps: Vec<u32> = scales.iter().map(|s| s.steps).collect();
    StepState {
        scale: Tensor::from_f32(gpu, [scales.len()], &scale).unwrap(),
        steps: Tensor::from_u32(gpu, [scales.len()], &steps).unwrap(),
    }
}

/// How far a sum of n terms in f32 may be off, relative to the sum of their sizes: half a unit in the last place
/// for each of the additions in the longest chain. Lanes take turns, so no chain is longer than n / 8 terms and the
/// joins; the quotients within and the factor behind add a few more.
fn rounding(terms: usize) -> f32 {
    (terms as f32 / 8.0 + 80.0) * f32::EPSILON / 2.0
}

/// A pass on the device, and everything behind it, against the host. Scales that are set on the device may differ by
/// rounding; values are then held against the device's own scale, to the bit.
#[track_caller]
fn check_pass(
    device: &StepState,
    scales: &mut [Scale],
    shape: &Shape,
    x: &[f32],
    rule: &StepRule,
    observation: Observation,
) {
    let gpu = device.scale.gpu();
    let what = format!("{shape}, {} scales, {rule:?}, {observation:?}", scales.len());
    let length = x.len() / scales.len();
    let on_device = Tensor::from_f32(gpu, shape, x).unwrap();
    let (y, used) = quantize(&on_device, device, rule, observation).unwrap();
    let before: Vec<f32> = scales.iter().map(|s| s.scale).collect();
    let steps: Vec<Step> =
        scales.iter_mut().zip(x.chunks(length)).map(|(s, x)| s.pass(x, rule, observation)).collect();
    let counters: Vec<u32> = scales.iter().map(|s| s.steps).collect();
    assert_eq!(device.steps.read_u32().unwrap(), counters, "{what}");
    let found = device.scale.read_f32().unwrap();
    for (channel, (scale, &found)) in scales.iter_mut().zip(&found).enumerate() {
        if before[channel].to_bits() == scale.scale.to_bits() {
            assert_bits(&format!("{what}: a scale that stays"), &[found], &[scale.scale]);
        }
        assert_close(&format!("{what}: scale {channel}"), &[found], &[scale.scale], rounding(length), 0.0);
        scale.scale = found;
    }
    let steps: Vec<Step> =
        steps.iter().zip(&found).map(|(step, found)| step.map(|_| found.max(LEAST_STEP))).collect();
    let each = || x.iter().enumerate().map(|(i, &x)| (steps[i / length], i, x));
    let expected: Vec<f32> = each().map(|(step, _, x)| host::apply(x, step, rule)).collect();
    assert_bits(&format!("{what}: values"), &y.read_f32().unwrap(), &expected);
    if let Calibrate { .. } = observation {
        return;
    }

    let dy = values(x.len(), 42);
    let dy_on_device = Tensor::from_f32(gpu, shape, &dy).unwrap();
    let (dx, ds) = gradient(&dy_on_device, &on_device, &used, rule, true).unwrap();
    let expected: Vec<f32> = each().map(|(step, i, x)| host::gradient(dy[i], x, step, rule)).collect();
    assert_bits(&format!("{what}: dx"), &dx.unwrap().read_f32().unwrap(), &expected);
    assert_eq!(ds.shape(), device.scale.shape());
    let ds = ds.read_f32().unwrap();
    for channel in 0..scales.len() {
        let own = channel * length..(channel + 1) * length;
        let (expected, size) = host::scale_gradient(&dy[own.clone()], &x[own], steps[channel], rule);
        assert_close(&format!("{what}: ds"), &[ds[channel]], &[expected], 0.0, rounding(length) * size);
    }
    // Where nobody wants dx, the other comes out the same.
    let (none, same) = gradient(&dy_on_device, &on_device, &used, rule, false).unwrap();
    assert!(none.is_none());
    assert_bits(&format!("{what}: ds alone"), &same.read_f32().unwrap(), &ds);
}

/// Values that try a step: anywhere on the codes and around, on codes, between two, and at both ends.
fn trying(step: f32, count: usize, rule: &StepRule, seed: u64) -> Vec<f32> {
    let mut random = Philox::new(seed, 80);
    let (lowest, highest) = rule.codes();
    let (lowest, span) = (lowest as f32, (highest - lowest) as f32);
    let code = |random: &mut Philox| random.below(highest.abs_diff(0) + 4) as f32 + lowest - 2.0;
    (0..count)
        .map(|i| match i % 8 {
            0 => step * code(&mut random),
            1 => step * (code(&mut random) + 0.5),
            2 => step * lowest,
            3 => step * highest as f32,
            4 => 0.0,
            _ => step * (lowest + span * (random.uniform() * 1.4 - 0.2)),
        })
        .collect()
}

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

#[test]
fn every_width_by_layer_and_by_channel() {
    for rule in rules() {
        for gpu in families() {
            for (shape, channels) in [(&[5, 101][..], 1), (&[5, 101], 5)] {
                let scales: Vec<Scale> =
                    (0..channels).map(|c| Scale { scale: 0.03 + 0.1 * c as f32, steps: 1 }).collect();
                let x: Vec<f32> =
                    scales.iter().flat_map(|s| trying(s.scale, 505 / channels, &rule, 1)).collect();
                for observation in [Train, Off] {
                    let device = state_on(&gpu, &scales);
                    check_pass(&device, &mut scales.clone(), &shape.into(), &x, &rule, observation);
                }
            }
        }
    }
}

#[test]
fn a_scale_is_set_by_the_first_step_that_quantizes_and_kept() {
    let rule = StepRule { delay: 2, ..RULE };
    for gpu in families() {
        for (shape, channels) in SHAPES {
            let shape = Shape::from(shape);
            let mut scales = vec![Scale::START; channels];
            let device = state_on(&gpu, &scales);
            for (step, observation) in [Off, Train, Off, Train, Train, Off, Train].into_iter().enumerate() {
                let x = values(shape.count(), step as u64);
                check_pass(&device, &mut scales, &shape, &x, &rule, observation);
                let unset = step < 4;
                assert!(scales.iter().all(|s| (s.scale == UNSET) == unset), "{shape}, pass {step}");
            }
        }
    }
}

#[test]
fn calibration_sets_the_scale_and_training_keeps_it() {
    // A delay that is longer than the calibration, as long, and none.
    for delay in [0, 3, 5] {
        let rule = StepRule { delay, signed: false, ..RULE };
        for gpu in families() {
            for (shape, channels) in SHAPES {
                let shape = Shape::from(shape);
                // A scale from before, and its steps, mean nothing to it.
                let mut scales = vec![Scale { scale: 123.0, steps: 0 }; channels];
                let device = state_on(&gpu, &scales);
                for batch in 0..3 {
                    let x = values(shape.count(), batch.into());
                    check_pass(&device, &mut scales, &shape, &x, &rule, Calibrate { batch });
                }
                let calibrated = scales.clone();
                for step in 3..7 {
                    check_pass(&device, &mut scales, &shape, &values(shape.count(), step), &rule, Train);
                }
                assert!(scales.iter().zip(&calibrated).all(|(now, then)| now.scale == then.scale));
            }
        }
    }
}

#[test]
fn zeros_tell_no_scale_and_leave_it_to_the_next_step() {
    for gpu in families() {
        for (shape, channels) in SHAPES {
            let shape = Shape::from(shape);
            let mut scales = vec![Scale::START; channels];
            let device = state_on(&gpu, &scales);
            for observation in [Train, Off, Calibrate { batch: 0 }] {
                check_pass(&device, &mut scales, &shape, &vec![0.0; shape.count()], &RULE, observation);
                assert!(scales.iter().all(|s| s.scale == UNSET));
            }
            // In the mean of a calibration they count.
            check_pass(
                &device,
                &mut scales,
                &shape,
                &vec![1.0; shape.count()],
                &RULE,
                Calibrate { batch: 1 },
            );
            assert_close("mean", &[scales[0].scale], &[1.0 / 7f32.sqrt()], 1e-5, 0.0);
        }
    }
}

#[test]
fn values_that_are_not_finite_set_no_scale() {
    for gpu in families() {
        for (shape, channels) in [(&[2, 40][..], 2), (&[80], 1), (&[33_004], 1)] {
            for odd in [f32::NAN, f32::INFINITY] {
                let shape = Shape::from(shape);
                let mut x = values(shape.count(), 3);
                x[5] = odd;
                let device = state_on(&gpu, &vec![Scale::START; channels]);
                let x = Tensor::from_f32(&gpu, &shape, &x).unwrap();
                quantize(&x, &device, &RULE, Train).unwrap();
                assert_eq!(device.scale.read_f32().unwrap()[0], UNSET, "{shape}, {odd}");
            }
        }
    }
}

#[test]
fn a_scale_that_fell_to_zero_or_below_is_used_as_the_least_step() {
    for gpu in families() {
        for scale in [-0.5, -1e-30, LEAST_STEP / 2.0, LEAST_STEP] {
            for (shape, channels) in SHAPES {
                let shape = Shape::from(shape);
                let mut scales = vec![Scale { scale, steps: 4 }; channels];
                let device = state_on(&gpu, &scales);
                let x = values(shape.count(), 5);
                check_pass(&device, &mut scales, &shape, &x, &RULE, Train);
                check_pass(&device, &mut scales, &shape, &x, &RULE, Off);
                assert!(scales.iter().all(|s| s.scale == scale));
            }
        }
    }
}

#[test]
fn a_mark_keeps_scales_from_being_set() {
    for gpu in families() {
        for (shape, channels) in SHAPES {
            let shape = Shape::from(shape);
            let mut scales = vec![Scale { scale: UNSET, steps: FROZEN | 1 }; channels];
            let device = state_on(&gpu, &scales);
            for observation in [Train, Calibrate { batch: 0 }, Train, Off] {
                check_pass(&device, &mut scales, &shape, &values(shape.count(), 6), &RULE, observation);
            }
            assert!(scales.iter().all(|s| *s == Scale { scale: UNSET, steps: FROZEN | 3 }));
        }
    }
}

#[test]
fn replayed_steps_set_the_scale_when_the_delay_is_over() {
    let rule = StepRule { delay: 2, ..RULE };
    for gpu in [KernelFamily::Auto, KernelFamily::Tiled].map(open) {
        for (shape, channels) in [(&[4, 11][..], 4), (&[16_500], 1)] {
            let shape = Shape::from(shape);
            let x = values(shape.count(), 7);
            let mut scales = vec![Scale::START; channels];
            let device = state_on(&gpu, &scales);
            let x_on_device = Tensor::from_f32(&gpu, &shape, &x).unwrap();
            let (recording, y) = gpu.record(|| Ok(quantize(&x_on_device, &device, &rule, Train)?.0)).unwrap();
            for step in 0..4 {
                recording.replay().unwrap();
                let length = x.len() / channels;
                let found = device.scale.read_f32().unwrap();
                let mut expected = Vec::new();
                for (channel, scale) in scales.iter_mut().enumerate() {
                    let x = &x[channel * length..][..length];
                    let used = scale.pass(x, &rule, Train).map(|_| found[channel]);
                    assert_close("scale", &[found[channel]], &[scale.scale], rounding(length), 0.0);
                    expected.extend(x.iter().map(|&x| host::apply(x, used, &rule)));
                }
                assert_bits(&format!("step {step}"), &y.read_f32().unwrap(), &expected);
            }
        }
    }
}

#[test]
fn known_numbers() {
    // Half up, both ends, and the paper's slopes at and beyond them: -Qn = -8, Qp = 7.
    let x = tensor([8], &[-5.0, -4.0, -0.75, -0.25, 0.25, 0.6, 3.5, 9.0]);
    let state = StepState { scale: tensor([1], &[0.5]), steps: words(&[1]) };
    let (y, used) = quantize(&x, &state, &RULE, Off).unwrap();
    assert_bits("y", &y.read_f32().unwrap(), &[-4.0, -4.0, -0.5, 0.0, 0.5, 0.5, 3.5, 3.5]);
    let (dx, ds) = gradient(&tensor([8], &[1.0; 8]), &x, &used, &RULE, true).unwrap();
    assert_bits("dx", &dx.unwrap().read_f32().unwrap(), &[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    let sum = -8.0 - 8.0 + 0.5 + 0.5 + 0.5 - 0.2 + 7.0 + 7.0;
    assert_close("ds", &ds.read_f32().unwrap(), &[sum / 56f32.sqrt()], 1e-5, 0.0);
}

#[test]
fn states_and_rules_that_do_not_fit_are_refused() {
    let x = tensor([4, 2], &[0.0; 8]);
    let state = |scales: usize, counters: usize| StepState {
        scale: tensor([scales], &vec![1.0; scales]),
        steps: words(&vec![0; counters]),
    };
    let error =
        |state: &StepState, rule: &StepRule| quantize(&x, state, rule, Train).unwrap_err().to_string();
    assert!(error(&state(3, 3), &RULE).contains("[4, 2]"));
    assert!(error(&state(4, 1), &RULE).contains("counter"));
    for bits in [0, 1, 9] {
        assert!(error(&state(1, 1), &StepRule { bits, ..RULE }).contains("2 to 8 bits"));
    }
    assert!(quantize(&tensor([0], &[]), &state(1, 1), &RULE, Train).is_err());
    assert!(quantize(&words(&[1, 2]), &state(1, 1), &RULE, Train).is_err());
    let used = Tensor::zeros(x.gpu(), [3], DType::F32).unwrap();
    assert!(gradient(&x, &x, &used, &RULE, true).is_err());
    assert!(gradient(&tensor([8], &[0.0; 8]), &x, &state(1, 1).scale, &RULE, true).is_err());
}
