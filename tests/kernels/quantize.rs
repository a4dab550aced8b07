use proptest::prelude::*;
use simqat::gpu::Gpu;
use simqat::kernel::counter::NEVER;
use simqat::kernel::quantize::Observation::{Off, Train};
use simqat::kernel::quantize::{
    GridRule, RangeObserver, RangeState, fake_quant, lay_grid, quantize, straight_through,
};
use simqat::tensor::random::Philox;
use simqat::tensor::{Shape, Tensor};

use super::common::fake_quant::{Action, Grid, Range, codes};
use super::common::{assert_bits, gpu};
use super::{families, few, tensor, values};

pub const PLAIN: GridRule = GridRule {
    bits: 8,
    symmetric: false,
    narrow_range: false,
    observer: RangeObserver::LastBatch,
    delay: 0,
    freeze: NEVER,
};
const NARROW: GridRule = GridRule { narrow_range: true, ..PLAIN };
const FOUR_BITS: GridRule = GridRule { bits: 4, ..PLAIN };

fn state(ranges: &[Range]) -> RangeState {
    state_on(&gpu(), ranges)
}

pub fn state_on(gpu: &Gpu, ranges: &[Range]) -> RangeState {
    let each = |f: fn(&Range) -> f32| -> Tensor {
        Tensor::from_f32(gpu, [ranges.len()], &ranges.iter().map(f).collect::<Vec<_>>()).unwrap()
    };
    let steps: Vec<u32> = ranges.iter().map(|r| r.steps).collect();
    let steps = Tensor::from_u32(gpu, [ranges.len()], &steps).unwrap();
    RangeState { min: each(|r| r.min), max: each(|r| r.max), steps }
}

#[track_caller]
pub fn assert_state(state: &RangeState, ranges: &[Range]) {
    assert_bits("min", &state.min.read_f32().unwrap(), &ranges.iter().map(|r| r.min).collect::<Vec<_>>());
    assert_bits("max", &state.max.read_f32().unwrap(), &ranges.iter().map(|r| r.max).collect::<Vec<_>>());
    assert_eq!(state.steps.read_u32().unwrap(), ranges.iter().map(|r| r.steps).collect::<Vec<_>>());
}

/// Quantizes and differentiates `x` [C, ...] on the device and on the host.
#[track_caller]
pub fn assert_applies(what: &str, shape: &Shape, x: &[f32], device: &Tensor, host: &[Grid]) {
    let grids: Vec<f32> = host.iter().flat_map(Grid::on_device).collect();
    // By value: whether 0 - 0 is written as a negation, and the zero gets a sign, is the driver's affair.
    assert_eq!(device.read_f32().unwrap(), grids, "{what}: grids");
    let length = x.len() / host.len();
    let dy = values(x.len(), 42);
    let each = || x.iter().enumerate().map(|(i, &x)| (&host[i / length], i, x));
    let y: Vec<f32> = each().map(|(grid, _, x)| grid.apply(x)).collect();
    let dx: Vec<f32> = each().map(|(grid, i, x)| grid.gradient(dy[i], x)).collect();
    let [x, dy] = [x, &dy].map(|v| Tensor::from_f32(device.gpu(), shape, v).unwrap());
    assert_bits(&format!("{what}: values"), &fake_quant(&x, device).unwrap().read_f32().unwrap(), &y);
    let back = straight_through(&dy, &x, device).unwrap();
    assert_bits(&format!("{what}: gradient"), &back.read_f32().unwrap(), &dx);
}

/// Values that try a grid: anywhere around it, on its points, between two, and at its ends.
fn trying(grid: &Grid, count: usize, seed: u64) -> Vec<f32> {
    let mut random = Philox::new(seed, 79);
    let span = grid.hi - grid.lo;
    (0..count)
        .map(|i| match i % 8 {
            0 => grid.lo + grid.scale * random.below(256) as f32,
            1 => grid.lo + grid.scale * (random.below(256) as f32 + 0.5),
            2 => grid.lo,
            3 => grid.hi,
            _ => grid.lo + span * (random.uniform() * 1.2 - 0.1),
        })
        .collect()
}

/// Rule, range and two rows of values.
type Golden = (GridRule, [f32; 2], [f32; 6], [f32; 6]);

/// Range, x and y that the algorithm's reference implementations agree on.
const GOLDEN: [Golden; 5] = [
    (
        PLAIN,
        [-6.0, 6.0],
        [1.0, 2.0, 1.0, -2.0, 0.0, -1.0],
        [0.9882355, 1.9764705, 0.9882355, -1.9764705, 0.0, -0.9882355],
    ),
    (
        PLAIN,
        [-10.0, 53.75],
        [-10.1, -10.0, -9.9, -9.75, 53.75, 53.8],
        [-10.0, -10.0, -10.0, -9.75, 53.75, 53.75],
    ),
    (PLAIN, [-0.1, 63.65], [-0.1, 0.0, 0.1, 0.25, 63.75, 63.8], [0.0, 0.0, 0.0, 0.25, 63.75, 63.75]),
    (NARROW, [-0.1, 63.4], [-0.1, 0.0, 0.1, 0.25, 63.5, 63.6], [0.0, 0.0, 0.0, 0.25, 63.5, 63.5]),
    (PLAIN, [0.0, 0.0], [-1.0, 0.0, 0.1, 0.25, 63.5, 63.6], [0.0; 6]),
];

/// Range, x, and where the gradient passes.
const GOLDEN_MASKS: [Golden; 2] = [
    (PLAIN, [-0.125, 63.625], [-0.26, -0.25, -0.24, 0.0, 63.5, 63.6], [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
    (FOUR_BITS, [-0.4, 7.1], [-0.6, -0.5, -0.4, 0.0, 7.0, 7.1], [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
];

/// What the device makes of a row of values for each channel, in ranges that stay: values by both ways of computing
/// them, and the gradient of ones.
fn evaluated(gpu: &Gpu, rule: &GridRule, ranges: &[[f32; 2]], x: &[f32]) -> [Vec<f32>; 3] {
    let ranges: Vec<Range> = ranges.iter().map(|&[min, max]| Range { min, max, steps: 0 }).collect();
    let x = Tensor::from_f32(gpu, [ranges.len(), x.len() / ranges.len()], x).unwrap();
    let device = state_on(gpu, &ranges);
    let grids = lay_grid(&x, &device, rule, Off).unwrap();
    let dx = straight_through(&Tensor::full(gpu, x.shape(), 1.0).unwrap(), &x, &grids).unwrap();
    [fake_quant(&x, &grids).unwrap(), quantize(&x, &device, rule, Off).unwrap().0, dx]
        .map(|t| t.read_f32().unwrap())
}

#[test]
fn golden_vectors_on_the_host_and_on_the_device() {
    for (rule, [min, max], x, y) in GOLDEN {
        let grid = Grid::of(min, max, &rule);
        let what = format!("[{min}, {max}]");
        assert_bits(&format!("{what} on the host"), &x.map(|x| grid.apply(x)), &y);
        for gpu in families() {
            let [twice, once, _] = evaluated(&gpu, &rule, &[[min, max]], &x);
            assert_bits(&what, &twice, &y);
            assert_bits(&format!("{what} in one go"), &once, &y);
        }
    }
}

#[test]
fn golden_gradient_masks_on_the_host_and_on_the_device() {
    for (rule, [min, max], x, mask) in GOLDEN_MASKS {
        let grid = Grid::of(min, max, &rule);
        let what = format!("[{min}, {max}]");
        assert_bits(&format!("{what} on the host"), &x.map(|x| grid.gradient(1.0, x)), &mask);
        for gpu in families() {
            assert_bits(&what, &evaluated(&gpu, &rule, &[[min, max]], &x)[2], &mask);
        }
    }
}

#[test]
fn golden_vectors_and_masks_by_channel() {
    for rule in [PLAIN, NARROW, FOUR_BITS] {
        // One to a channel, and the first once more behind the others: no rule has a single channel.
        let rows = |golden: &[Golden]| -> (Vec<[f32; 2]>, Vec<f32>, Vec<f32>) {
            let mine: Vec<&Golden> = golden.iter().filter(|(r, ..)| *r == rule).collect();
            let rows = || mine.iter().chain(mine.first());
            (
                rows().map(|row| row.1).collect(),
                rows().flat_map(|row| row.2).collect(),
                rows().flat_map(|row| row.3).collect(),
            )
        };
        for gpu in families() {
            let (ranges, x, y) = rows(&GOLDEN);
            if !ranges.is_empty() {
                let [twice, once, _] = evaluated(&gpu, &rule, &ranges, &x);
                assert_bits("by channel", &twice, &y);
                assert_bits("by channel, in one go", &once, &y);
            }
            let (ranges, x, mask) = rows(&GOLDEN_MASKS);
            if !ranges.is_empty() {
                assert_bits("masks by channel", &evaluated(&gpu, &rule, &ranges, &x)[2], &mask);
            }
        }
    }
}

pub fn rules(bits: u32) -> impl Iterator<Item = GridRule> {
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(move |(symmetric, narrow_range)| GridRule { bits, symmetric, narrow_range, ..PLAIN })
}

/// Two steps of training by layer or by channel: states, grids, values and gradients to the bit, observed, laid and
/// rounded one by one and in one go.
fn check_training(gpu: &Gpu, rule: &GridRule, channels: usize) {
    let what = format!("{rule:?}, {channels} channels");
    let shape = Shape::from([5, 101]);
    let length = shape.count() / channels;
    let mut ranges = vec![Range::START; channels];
    let (by_steps, at_once) = (state_on(gpu, &ranges), state_on(gpu, &ranges));
    for step in 0..2 {
        let x = values(shape.count(), 10 * u64::from(rule.bits) + step);
        let device = Tensor::from_f32(gpu, &shape, &x).unwrap();
        let grids = lay_grid(&device, &by_steps, rule, Train).unwrap();
        let (y, same_grids) = quantize(&device, &at_once, rule, Train).unwrap();
        let host: Vec<Grid> =
            ranges.iter_mut().zip(x.chunks(length)).map(|(r, x)| r.observe(x, rule)).collect();
        assert_state(&by_steps, &ranges);
        assert_state(&at_once, &ranges);
        let expected: Vec<f32> = x.iter().enumerate().map(|(i, &x)| host[i / length].apply(x)).collect();
        assert_bits(&format!("{what}: in one go"), &y.read_f32().unwrap(), &expected);
        assert_bits(&format!("{what}: grids"), &same_grids.read_f32().unwrap(), &grids.read_f32().unwrap());
        let tries: Vec<f32> = host.iter().flat_map(|g| trying(g, length, 3)).collect();
        assert_applies(&what, &shape, &tries, &grids, &host);
    }
}

#[test]
fn every_width_and_kind_of_grid_to_the_bit() {
    for rule in (2..=8).flat_map(rules) {
        for observer in [RangeObserver::LastBatch, RangeObserver::MovingAverage] {
            for gpu in families() {
                check_training(&gpu, &GridRule { observer, ..rule }, 1);
                check_training(&gpu, &GridRule { observer, ..rule }, 5);
            }
        }
    }
}

#[test]
fn a_symmetric_narrow_grid_has_zero_on_its_middle_code() {
    for bits in 2..=8 {
        let rule = GridRule { bits, symmetric: true, narrow_range: true, ..PLAIN };
        let x = tensor([3], &[-0.3, 0.7, 0.1]);
        let grids = lay_grid(&x, &state(&[Range::START]), &rule, Train).unwrap().read_f32().unwrap();
        let (qmin, qmax) = codes(&rule);
        assert_eq!(grids[0], -grids[1]);
        assert_eq!(grids[0], (qmin - (qmin + qmax) / 2.0) * grids[2], "{bits} bits");
    }
}

#[test]
fn zero_points_round_at_one_half_and_not_before() {
    // A scale of 1, and zero just before, at and behind the middle between two codes.
    for (min, lo) in [(-0.499_999_97, 0.0), (-0.5, -1.0), (-1.499_999_9, -1.0), (-1.5, -2.0)] {
        let range = Range { min, max: 255.0 + min, steps: 0 };
        let host = Grid::of(range.min, range.max, &PLAIN);
        assert_eq!((host.lo, host.scale), (lo, 1.0));
        let x = trying(&host, 40, 1);
        let grids = lay_grid(&tensor([40], &x), &state(&[range]), &PLAIN, Off).unwrap();
        assert_applies(&format!("{range:?}"), &[40].into(), &x, &grids, &[host]);
    }
}

#[test]
fn shapes_of_every_kernel_variant() {
    // [C, length] with lengths that are and are not whole vectors, below and above the size from which the
    // body is repeated, and one value alone.
    for (channels, length) in
        [(1, 1), (1, 3), (1, 33_001), (3, 44_012), (3, 3001), (7, 4), (6, 25), (1, 131_072), (300, 3)]
    {
        let shape = Shape::from([channels, length]);
        let x = values(shape.count(), length as u64);
        let mut ranges = vec![Range::START; channels];
        let states = families().map(|gpu| state_on(&gpu, &ranges));
        let host: Vec<Grid> =
            ranges.iter_mut().zip(x.chunks(length)).map(|(r, x)| r.observe(x, &PLAIN)).collect();
        for device in states {
            let on_device = Tensor::from_f32(device.min.gpu(), &shape, &x).unwrap();
            let grids = lay_grid(&on_device, &device, &PLAIN, Train).unwrap();
            assert_state(&device, &ranges);
            assert_applies(&format!("{shape}"), &shape, &x, &grids, &host);
        }
    }
}

#[test]
fn ranges_follow_the_batches() {
    for observer in [RangeObserver::LastBatch, RangeObserver::MovingAverage] {
        for rule in rules(8).map(|rule| GridRule { observer, ..rule }) {
            let mut ranges = vec![Range::START; 3];
            let device = state(&ranges);
            for step in 0..6u32 {
                // All above zero, all below, and both.
                let x: Vec<f32> = values(3 * 50, step.into())
                    .iter()
                    .map(|v| v + [4.0, -4.0, 0.0][step as usize % 3])
                    .collect();
                let shape = Shape::from([3, 2, 25]);
                let grids = lay_grid(&tensor(&shape, &x), &device, &rule, Train).unwrap();
                let host: Vec<Grid> =
                    ranges.iter_mut().zip(x.chunks(50)).map(|(r, x)| r.observe(x, &rule)).collect();
                assert_state(&device, &ranges);
                assert_applies(&format!("{rule:?}, step {step}"), &shape, &x, &grids, &host);
            }
        }
    }
}

#[test]
fn values_pass_until_the_delay_is_over_while_the_range_is_observed() {
    let rule = GridRule { delay: 2, ..PLAIN };
    let mut range = Range::START;
    let device = state(&[range]);
    for (step, expected) in [Action::Passes, Action::Passes, Action::Quantizes].into_iter().enumerate() {
        let x = values(37, step as u64);
        let grids = lay_grid(&tensor([37], &x), &device, &rule, Train).unwrap();
        let host = range.observe(&x, &rule);
        assert_eq!(host.action, expected, "step {step}");
        assert_state(&device, &[range]);
        assert_applies(&format!("step {step}"), &[37].into(), &x, &grids, &[host]);
    }
}

#[test]
fn evaluation_quantizes_always_and_moves_nothing() {
    for rule in rules(8).map(|rule| GridRule { delay: 100, ..rule }) {
        let range = Range { min: -1.5, max: 4.0, steps: 3 };
        let device = state(&[range]);
        let x = values(50, 9);
        let grids = lay_grid(&tensor([50], &x), &device, &rule, Off).unwrap();
        assert_state(&device, &[range]);
        assert_applies(&format!("{rule:?}"), &[50].into(), &x, &grids, &[Grid::of(-1.5, 4.0, &rule)]);
    }
}

#[test]
fn a_channel_of_zeros_stays_zero_and_its_gradient_passes_at_zero_only() {
    let device = state(&[Range::START; 2]);
    let x = [0.0, 0.0, 0.0, 1.0, -1.0, 0.5];
    let grids = lay_grid(&tensor([2, 3], &x), &device, &PLAIN, Train).unwrap();
    assert_eq!(grids.read_f32().unwrap()[..4], [0.0, 0.0, 0.0, 2.0]);
    let other = tensor([2, 3], &[0.0, 1.0, -1.0, 0.0, 0.0, 0.0]);
    assert_eq!(fake_quant(&other, &grids).unwrap().read_f32().unwrap()[..3], [0.0; 3]);
    let dx = straight_through(&tensor([2, 3], &[5.0; 6]), &other, &grids).unwrap().read_f32().unwrap();
    assert_eq!(dx[..3], [5.0, 0.0, 0.0]);
}

proptest! {
    #![proptest_config(few())]
    #[test]
    fn random_ranges_to_the_bit(min in -100.0f32..0.0, max in 0.0f32..100.0, shrink in 0i32..20, seed: u64) {
        let factor = 0.5f32.powi(shrink);
        let range = Range { min: min * factor, max: max * factor, steps: 1 };
        for rule in rules(8) {
            let host = Grid::of(range.min, range.max, &rule);
            let x = trying(&host, 500, seed);
            let grids = lay_grid(&tensor([500], &x), &state(&[range]), &rule, Off).unwrap();
            assert_applies(&format!("{range:?} {rule:?}"), &[500].into(), &x, &grids, &[host]);
        }
    }
}

#[test]
fn states_and_grids_that_do_not_fit_are_refused() {
    let x = tensor([4, 2], &[0.0; 8]);
    assert!(lay_grid(&x, &state(&[Range::START; 3]), &PLAIN, Train).is_err());
    assert!(lay_grid(&tensor([0], &[]), &state(&[Range::START]), &PLAIN, Train).is_err());
    let grids = lay_grid(&x, &state(&[Range::START; 4]), &PLAIN, Train).unwrap();
    let other = tensor([3, 2], &[0.0; 6]);
    assert!(fake_quant(&other, &grids).is_err());
    assert!(straight_through(&other, &other, &grids).is_err());
    assert!(fake_quant(&x, &tensor([4], &[0.0; 4])).is_err());
    assert!(fake_quant(&Tensor::from_u32(&gpu(), [4], &[0; 4]).unwrap(), &grids).is_err());
}

#[test]
fn observing_and_rounding_in_one_go_gives_the_same_bits() {
    let shapes: [&[usize]; 5] = [&[6, 1, 5, 5], &[3, 400], &[2, 1], &[5, 7], &[4, 33, 4]];
    for (number, shape) in shapes.iter().enumerate() {
        let shape = Shape::from(*shape);
        let x = tensor(&shape, &values(shape.count(), number as u64));
        for rule in rules(8).chain([GridRule { delay: 2, observer: RangeObserver::MovingAverage, ..NARROW }])
        {
            let fresh = || state(&vec![Range { min: -6.0, max: 6.0, steps: 0 }; shape[0]]);
            let (one, other) = (fresh(), fresh());
            for observation in [Train, Train, Train, Off] {
                let (y, grids) = quantize(&x, &one, &rule, observation).unwrap();
                let expected = lay_grid(&x, &other, &rule, observation).unwrap();
                assert_bits("grids", &grids.read_f32().unwrap(), &expected.read_f32().unwrap());
                let expected = fake_quant(&x, &expected).unwrap();
                assert_bits("values", &y.read_f32().unwrap(), &expected.read_f32().unwrap());
            }
            assert_bits("min", &one.min.read_f32().unwrap(), &other.min.read_f32().unwrap());
            assert_bits("max", &one.max.read_f32().unwrap(), &other.max.read_f32().unwrap());
            assert_eq!(one.steps.read_u32().unwrap(), other.steps.read_u32().unwrap());
        }
    }
}
