use simqat::check::oracle::learned_step::{self as host, Scale, rounding};
use simqat::gpu::KernelFamily;
use simqat::kernel::learned_step::{StepRule, StepState, UNSET, gradient, quantize};
use simqat::kernel::quantize::Observation::Train;
use simqat::tensor::{DType, Shape, Tensor};

use super::common::{assert_bits, assert_close, open};
use super::{family, tensor, values, words};

const RULE: StepRule = StepRule { bits: 4, signed: true, narrow_range: false, delay: 0 };

#[test]
fn learned_steps() {
    family("learned steps");
}

/// On devices of their own: what other tests ask of a shared one would end up in the recording.
#[test]
fn replayed_steps_set_the_scale_when_the_delay_is_over() {
    let rule = StepRule { delay: 2, ..RULE };
    for gpu in [KernelFamily::Auto, KernelFamily::Tiled].map(open) {
        for (shape, channels) in [(&[4, 11][..], 4), (&[16_500], 1)] {
            let shape = Shape::from(shape);
            let x = values(shape.count(), 7);
            let mut scales = vec![Scale::START; channels];
            let device = StepState {
                scale: Tensor::full(&gpu, [channels], UNSET).unwrap(),
                steps: Tensor::zeros(&gpu, [channels], DType::U32).unwrap(),
            };
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
