//! Fake quantization is a staircase: its gradient is a rule, not a slope, and is held against the rule.

use simqat::autograd::{Tape, Var};
use simqat::kernel::counter::{FROZEN, NEVER};
use simqat::kernel::quantize::Observation::{self, Calibrate, Off, Train};
use simqat::kernel::quantize::{GridRule, RangeObserver, RangeState};
use simqat::ops::{fake_quant, mul};
use simqat::tensor::Tensor;

use super::common::fake_quant::{Grid, Range};
use super::common::{assert_bits, gpu};
use super::{away_from_zero, draw, tensor};

const RULE: GridRule = GridRule {
    bits: 4,
    symmetric: false,
    narrow_range: false,
    observer: RangeObserver::LastBatch,
    delay: 0,
    freeze: NEVER,
};

fn state(ranges: &[Range]) -> RangeState {
    let channels = ranges.len();
    let of = |f: fn(&Range) -> f32| tensor([channels], &ranges.iter().map(f).collect::<Vec<_>>());
    let steps: Vec<u32> = ranges.iter().map(|r| r.steps).collect();
    RangeState {
        min: of(|r| r.min),
        max: of(|r| r.max),
        steps: Tensor::from_u32(&gpu(), [channels], &steps).unwrap(),
    }
}

/// Values and gradient of a * fq(b * x), in the middle of a graph, against the rule.
fn check(rule: &GridRule, ranges: &mut [Range], x: &[f32], observation: Observation) {
    let channels = ranges.len();
    let shape = [channels, x.len() / channels];
    let (before, behind) = (draw(shape, 7), draw(shape, 8));
    let device = state(ranges);
    let tape = Tape::new();
    let leaf = tape.leaf(&tensor(shape, x));
    let inner = mul(&leaf, &Var::constant(before.clone())).unwrap();
    let y = fake_quant(&inner, &device, rule, observation).unwrap();
    let out = mul(&y, &Var::constant(behind.clone())).unwrap();
    let seed = draw(shape, 9);
    let gradients = tape.backward_from(&out, seed.clone()).unwrap();

    let [before, behind, seed] = [before, behind, seed].map(|t| t.read_f32().unwrap());
    let inner: Vec<f32> = x.iter().zip(&before).map(|(x, b)| x * b).collect();
    let row = shape[1];
    let grids: Vec<Grid> =
        ranges.iter_mut().zip(inner.chunks(row)).map(|(range, x)| range.pass(x, rule, observation)).collect();
    let values: Vec<f32> = inner.iter().enumerate().map(|(i, &x)| grids[i / row].apply(x)).collect();
    let slopes: Vec<f32> =
        (0..x.len()).map(|i| grids[i / row].gradient(seed[i] * behind[i], inner[i]) * before[i]).collect();
    assert_bits("values", &y.tensor().read_f32().unwrap(), &values);
    let found = gradients.of(&leaf).unwrap().read_f32().unwrap();
    // Every product is of the same two numbers: equal, but for the sign of nothing.
    assert_eq!(found, slopes, "{rule:?}, {observation:?}");
}

#[test]
fn the_gradient_passes_within_the_grid_and_nowhere_else() {
    let x = away_from_zero(60, 1);
    for (symmetric, narrow_range) in [(false, false), (true, false), (true, true)] {
        let rule = GridRule { symmetric, narrow_range, ..RULE };
        // Narrower than the values, so that some lie outside.
        let narrow = Range { min: -1.0, max: 0.7, steps: 5 };
        check(&rule, &mut [narrow], &x, Off);
        check(&rule, &mut [narrow, Range { min: -0.2, max: 2.0, steps: 5 }], &x, Off);
        // Observing: the grid is that of these values, and nudging zero onto it may leave an end outside.
        check(&rule, &mut [Range::START], &x, Train);
        check(&rule, &mut [Range::START; 3], &x, Train);
        let moving = GridRule { observer: RangeObserver::MovingAverage, ..rule };
        check(&moving, &mut [narrow; 3], &x, Train);
    }
}

#[test]
fn before_the_delay_is_over_the_gradient_passes_everywhere() {
    let rule = GridRule { delay: 2, observer: RangeObserver::MovingAverage, ..RULE };
    let mut ranges = [Range { min: -0.1, max: 0.1, steps: 1 }];
    // The last step that passes, and the first that does not.
    check(&rule, &mut ranges, &away_from_zero(30, 2), Train);
    check(&rule, &mut ranges, &away_from_zero(30, 3), Train);
}

#[test]
fn frozen_ranges_and_calibration_have_the_gradients_of_their_grids() {
    let rule = GridRule { freeze: 3, ..RULE };
    let narrow = Range { min: -1.0, max: 0.7, steps: 3 };
    check(&rule, &mut [narrow], &away_from_zero(60, 5), Train);
    check(&RULE, &mut [Range { steps: FROZEN | 1, ..narrow }, narrow], &away_from_zero(60, 6), Train);
    check(&RULE, &mut [narrow], &away_from_zero(60, 7), Calibrate { batch: 1 });
    check(&RULE, &mut [narrow; 3], &away_from_zero(60, 8), Calibrate { batch: 0 });
}

#[test]
fn a_range_of_nothing_lets_nothing_but_zero_pass() {
    let mut x = away_from_zero(10, 4);
    x[3] = 0.0;
    check(&RULE, &mut [Range { min: 0.0, max: 0.0, steps: 1 }], &x, Off);
}
