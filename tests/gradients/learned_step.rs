//! Learned step sizes in the middle of a graph. Both gradients are rules, not slopes, and are held against them; where
//! values lie beyond the ends, the scale's is a slope, and is held against differences.

use simqat::autograd::{Tape, Var};
use simqat::gpu::Gpu;
use simqat::kernel::learned_step::{StepRule, UNSET};
use simqat::kernel::momentum::{Settings, update};
use simqat::kernel::quantize::Observation::{self, Calibrate, Off, Train};
use simqat::ops::{add, learned_step_quant, mul};
use simqat::tensor::{DType, Tensor};

use super::away_from_zero;
use super::common::learned_step::{Scale, apply, gradient, scale_gradient};
use super::common::{assert_bits, assert_close, gpu, tiled_gpu};

const RULE: StepRule = StepRule { bits: 3, signed: true, narrow_range: false, delay: 0 };

/// Each term of a scale's gradient is rounded a few times, and sums of up to 600 are longer than any here.
const ROUNDING: f32 = 600.0 * f32::EPSILON / 2.0;

fn draw(gpu: &Gpu, shape: [usize; 2], seed: u64) -> Tensor {
    Tensor::from_f32(gpu, shape, &away_from_zero(shape[0] * shape[1], seed)).unwrap()
}

fn counters(gpu: &Gpu, scales: &[Scale]) -> Tensor {
    let steps: Vec<u32> = scales.iter().map(|s| s.steps).collect();
    Tensor::from_u32(gpu, [scales.len()], &steps).unwrap()
}

/// Values and both gradients of a * lsq(b * x, s), in the middle of a graph, against the rule. `scales` are those
/// that the pass is to use.
fn check(gpu: &Gpu, rule: &StepRule, scales: &[Scale], row: usize, observation: Observation) {
    let what = format!("{rule:?}, {scales:?}, {row} values each, {observation:?}");
    let shape = [scales.len(), row];
    let [x, before, behind, seed] = [1, 2, 3, 4].map(|number| draw(gpu, shape, number));
    let tape = Tape::new();
    let x_leaf = tape.leaf(&x);
    let start: Vec<f32> = scales.iter().map(|s| s.scale).collect();
    let scale = tape.leaf(&Tensor::from_f32(gpu, [scales.len()], &start).unwrap());
    let inner = mul(&x_leaf, &Var::constant(before.clone())).unwrap();
    let y = learned_step_quant(&inner, &scale, &counters(gpu, scales), rule, observation).unwrap();
    let out = mul(&y, &Var::constant(behind.clone())).unwrap();
    let gradients = tape.backward_from(&out, seed.clone()).unwrap();

    let [x, before, behind, seed] = [x, before, behind, seed].map(|t| t.read_f32().unwrap());
    let inner: Vec<f32> = x.iter().zip(&before).map(|(x, b)| x * b).collect();
    let dy: Vec<f32> = seed.iter().zip(&behind).map(|(s, b)| s * b).collect();
    // A scale that was set on the device differs by rounding from the host's, and all else follows the device's.
    let found = scale.tensor().read_f32().unwrap();
    let steps: Vec<_> = scales
        .iter()
        .enumerate()
        .map(|(c, scale)| {
            let mut scale = *scale;
            let step = scale.pass(&inner[c * row..][..row], rule, observation);
            assert_close(&what, &[found[c]], &[scale.scale], ROUNDING, 0.0);
            step.map(|_| found[c])
        })
        .collect();
    let values: Vec<f32> = inner.iter().enumerate().map(|(i, &x)| apply(x, steps[i / row], rule)).collect();
    assert_bits(&what, &y.tensor().read_f32().unwrap(), &values);
    let slopes: Vec<f32> =
        (0..x.len()).map(|i| gradient(dy[i], inner[i], steps[i / row], rule) * before[i]).collect();
    // Every product is of the same two numbers: equal, but for the sign of nothing.
    assert_eq!(gradients.of(&x_leaf).unwrap().read_f32().unwrap(), slopes, "{what}");
    if let Calibrate { .. } = observation {
        return assert!(gradients.of(&scale).is_none());
    }
    let ds = gradients.of(&scale).unwrap().read_f32().unwrap();
    for (c, step) in steps.iter().enumerate() {
        let own = c * row..(c + 1) * row;
        let (expected, size) = scale_gradient(&dy[own.clone()], &inner[own], *step, rule);
        assert_close(&what, &[ds[c]], &[expected], 0.0, ROUNDING * size);
    }
}

#[test]
fn both_gradients_are_the_rule_s() {
    // So that some values lie inside, and some beyond either end.
    let wide = Scale { scale: 0.4, steps: 3 };
    for gpu in [gpu(), tiled_gpu()] {
        for rule in [RULE, StepRule { narrow_range: true, ..RULE }, StepRule { signed: false, ..RULE }] {
            for observation in [Train, Off] {
                check(&gpu, &rule, &[wide], 60, observation);
                check(&gpu, &rule, &[wide], 17_001, observation);
                check(&gpu, &rule, &[wide, Scale { scale: 0.07, ..wide }, wide], 25, observation);
            }
        }
    }
}

#[test]
fn the_step_that_sets_the_scale_has_its_gradients_too() {
    for gpu in [gpu(), tiled_gpu()] {
        check(&gpu, &RULE, &[Scale::START], 60, Train);
        check(&gpu, &RULE, &[Scale::START], 17_001, Train);
        check(&gpu, &RULE, &[Scale::START; 3], 25, Train);
    }
}

#[test]
fn before_the_delay_and_in_calibration_gradients_pass_and_the_scale_gets_none() {
    let rule = StepRule { delay: 5, ..RULE };
    for gpu in [gpu(), tiled_gpu()] {
        for scale in [UNSET, 0.3] {
            for (channels, row) in [(1, 30), (1, 17_000), (3, 30)] {
                // The last step that passes, and the first that does not.
                check(&gpu, &rule, &vec![Scale { scale, steps: 4 }; channels], row, Train);
                check(&gpu, &rule, &vec![Scale { scale, steps: 5 }; channels], row, Train);
                check(&gpu, &rule, &vec![Scale { scale, steps: 4 }; channels], row, Calibrate { batch: 0 });
                check(&gpu, &rule, &vec![Scale { scale, steps: 4 }; channels], row, Off);
            }
        }
    }
}

#[test]
fn beyond_the_ends_the_scale_s_gradient_is_a_slope() {
    // Two values above the upper end and one below the lower: y is a multiple of the scale.
    let gpu = gpu();
    let x = Var::constant(Tensor::from_f32(&gpu, [3], &[5.0, 9.0, -7.0]).unwrap());
    let steps = Tensor::from_u32(&gpu, [1], &[1]).unwrap();
    let weights = [1.5f32, -0.5, 2.0];
    let loss = |scale: f32| -> f32 {
        let scale = Var::constant(Tensor::from_f32(&gpu, [1], &[scale]).unwrap());
        let y = learned_step_quant(&x, &scale, &steps, &RULE, Off).unwrap();
        y.tensor().read_f32().unwrap().iter().zip(&weights).map(|(y, w)| y * w).sum()
    };
    let tape = Tape::new();
    let scale = tape.leaf(&Tensor::from_f32(&gpu, [1], &[0.5]).unwrap());
    let y = learned_step_quant(&x, &scale, &steps, &RULE, Off).unwrap();
    let gradients = tape.backward_from(&y, Tensor::from_f32(&gpu, [3], &weights).unwrap()).unwrap();
    let slope = (loss(0.625) - loss(0.375)) / 0.25;
    // Three values share the scale, and the highest code is 3. The differences are of small multiples of 1/8: exact.
    assert_close("slope", &gradients.of(&scale).unwrap().read_f32().unwrap(), &[slope / 3.0], 1e-6, 0.0);
}

#[test]
fn inputs_that_want_no_gradient_cost_the_others_none() {
    let gpu = gpu();
    let [x, seed] = [1, 2].map(|number| draw(&gpu, [2, 30], number));
    let scale = Tensor::from_f32(&gpu, [2], &[0.4, 0.2]).unwrap();
    let steps = Tensor::from_u32(&gpu, [2], &[1, 1]).unwrap();
    let gradients = |on_tape: [bool; 2]| {
        let tape = Tape::new();
        let [x, scale] = [(&x, on_tape[0]), (&scale, on_tape[1])]
            .map(|(t, leaf)| if leaf { tape.leaf(t) } else { Var::constant(t.clone()) });
        let y = learned_step_quant(&x, &scale, &steps, &RULE, Off).unwrap();
        let found = tape.backward_from(&y, seed.clone()).unwrap();
        [x, scale].map(|v| found.of(&v).map(|g| g.read_f32().unwrap()))
    };
    let [dx, ds] = gradients([true, true]);
    assert_eq!(gradients([true, false]), [dx, None]);
    assert_eq!(gradients([false, true]), [None, ds]);
}

#[test]
fn a_scale_of_two_quantizers_gets_the_sum_and_follows_the_optimizer() {
    let gpu = gpu();
    let [x, seed] = [1, 2].map(|number| draw(&gpu, [1, 40], number));
    let scale = Tensor::from_f32(&gpu, [1], &[0.4]).unwrap();
    let steps = Tensor::from_u32(&gpu, [1], &[0]).unwrap();
    let walk = |twice: bool| {
        let tape = Tape::new();
        let leaf = tape.leaf(&scale);
        let quantized =
            || learned_step_quant(&Var::constant(x.clone()), &leaf, &steps, &RULE, Train).unwrap();
        let y = if twice { add(&quantized(), &quantized()).unwrap() } else { quantized() };
        let gradients = tape.backward_from(&y, seed.clone()).unwrap();
        (y.tensor().read_f32().unwrap(), gradients.of(&leaf).unwrap().clone())
    };
    let (_, ds) = walk(false);
    let (_, doubled) = walk(true);
    let slope = ds.read_f32().unwrap()[0];
    assert_bits("twice", &doubled.read_f32().unwrap(), &[2.0 * slope]);
    // The update writes the scale in place; the next step rounds with it.
    let settings = Settings {
        rate: &Tensor::from_f32(&gpu, [1], &[0.01]).unwrap(),
        progress: &Tensor::zeros(&gpu, [3], DType::U32).unwrap(),
        factor: None,
        momentum: 0.9,
        weight_decay: 0.0,
        place: 0,
    };
    update(&scale, &Tensor::zeros(&gpu, [1], DType::F32).unwrap(), &ds, &settings).unwrap();
    let moved = scale.read_f32().unwrap()[0];
    assert_close("scale", &[moved], &[0.4 - 0.01 * slope], 1e-6, 0.0);
    assert!(moved != 0.4);
    let expected: Vec<f32> = x.read_f32().unwrap().iter().map(|&x| apply(x, Some(moved), &RULE)).collect();
    assert_bits("values", &walk(false).0, &expected);
}
