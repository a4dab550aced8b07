//! Grids and codes at the places where a quotient's last bit decides: the same bits on every adapter, whatever its division
//! is worth. WGSL allows it an error of 2.5 units of the last place.

use simqat::gpu::Gpu;
use simqat::kernel::learned_step::{LEAST_STEP, StepRule, StepState, gradient, quantize};
use simqat::kernel::quantize::Observation::Off;
use simqat::kernel::quantize::{fake_quant, lay_grid};
use simqat::tensor::Tensor;
use simqat::tensor::random::Philox;

use super::common::fake_quant::{Grid, Range};
use super::common::{assert_bits, learned_step as host};
use super::quantize::{rules, state_on};
use super::{families, values};

/// How far from a place it is tried, in neighbouring numbers.
const BESIDE: i32 = 3;

/// A number and its neighbours on both sides.
fn around(value: f32) -> impl Iterator<Item = f32> {
    (-BESIDE..=BESIDE).map(move |away| {
        let bits = value.to_bits() as i32;
        f32::from_bits((bits + if value == 0.0 { 0 } else { away }) as u32)
    })
}

/// A positive number with any mantissa, anywhere from 2^low to 2^(high + 1).
fn any_size(random: &mut Philox, low: i32, high: i32) -> f32 {
    let exponent = low + random.below((high - low + 1) as u32) as i32;
    (1.0 + random.uniform()) * 2f32.powi(exponent)
}

/// Ranges of all sizes and proportions, among them those that reach equally far to both sides: zero then lies in the middle
/// between two codes.
fn ranges(count: usize, seed: u64) -> Vec<Range> {
    let mut random = Philox::new(seed, 81);
    (0..count)
        .map(|i| {
            let max = any_size(&mut random, -60, 60);
            let min = match i % 4 {
                0 => max,
                1 => 0.0,
                2 => max * random.uniform(),
                _ => max * any_size(&mut random, -12, 12),
            };
            Range { min: -min, max, steps: 0 }
        })
        .collect()
}

#[test]
fn grids_of_thousands_of_ranges_to_the_bit() {
    let ranges = ranges(5000, 1);
    for rule in [2, 3, 4, 7, 8].into_iter().flat_map(rules) {
        let expected: Vec<f32> =
            ranges.iter().flat_map(|r| Grid::of(r.min, r.max, &rule).on_device()).collect();
        for gpu in families() {
            let x = Tensor::from_f32(&gpu, [ranges.len(), 1], &vec![0.0; ranges.len()]).unwrap();
            let grids = lay_grid(&x, &state_on(&gpu, &ranges), &rule, Off).unwrap().read_f32().unwrap();
            let differ = (0..ranges.len()).find(|i| grids[4 * i..4 * i + 4] != expected[4 * i..4 * i + 4]);
            if let Some(i) = differ {
                let [found, wanted] = [&grids, &expected].map(|g| &g[4 * i..4 * i + 4]);
                panic!("{:?}, {rule:?}: {found:?}, expected {wanted:?}", ranges[i]);
            }
        }
    }
}

#[test]
fn values_beside_every_tie_of_a_grid_to_the_bit() {
    for rule in [2, 4, 8].into_iter().flat_map(rules) {
        let ranges = ranges(40, u64::from(rule.bits));
        let grids: Vec<Grid> = ranges.iter().map(|r| Grid::of(r.min, r.max, &rule)).collect();
        let ties = |grid: &Grid| {
            let &Grid { lo, scale, .. } = grid;
            (1..1u32 << rule.bits).flat_map(move |k| around(lo + (k as f32 - 0.5) * scale))
        };
        let x: Vec<f32> = grids.iter().flat_map(ties).collect();
        let length = x.len() / grids.len();
        let expected: Vec<f32> = x.iter().enumerate().map(|(i, &x)| grids[i / length].apply(x)).collect();
        for gpu in families() {
            let x = Tensor::from_f32(&gpu, [grids.len(), length], &x).unwrap();
            let device = lay_grid(&x, &state_on(&gpu, &ranges), &rule, Off).unwrap();
            let y = fake_quant(&x, &device).unwrap().read_f32().unwrap();
            assert_bits(&format!("{rule:?}"), &y, &expected);
        }
    }
}

fn learned(gpu: &Gpu, steps: &[f32]) -> StepState {
    StepState {
        scale: Tensor::from_f32(gpu, [steps.len()], steps).unwrap(),
        steps: Tensor::from_u32(gpu, [steps.len()], &vec![0; steps.len()]).unwrap(),
    }
}

#[test]
fn values_beside_every_tie_and_end_of_a_learned_step_to_the_bit() {
    for (bits, signed, narrow_range) in [
        (2, true, false),
        (2, true, true),
        (2, false, false),
        (4, true, false),
        (8, true, false),
        (8, true, true),
        (8, false, false),
    ] {
        let rule = StepRule { bits, signed, narrow_range, delay: 0 };
        let mut random = Philox::new(bits.into(), 82);
        let steps: Vec<f32> = (0..40).map(|_| any_size(&mut random, -36, 60).max(LEAST_STEP)).collect();
        // Twice a place: the codes, among them the ends, and the middles between them.
        let places = |step: &f32| {
            let (step, (lowest, highest)) = (*step, rule.codes());
            (2 * lowest - 3..=2 * highest + 3).flat_map(move |twice| around(twice as f32 * 0.5 * step))
        };
        let x: Vec<f32> = steps.iter().flat_map(places).collect();
        let length = x.len() / steps.len();
        let dy = values(x.len(), 5);
        let each = || x.iter().enumerate().map(|(i, &x)| (Some(steps[i / length]), i, x));
        let y: Vec<f32> = each().map(|(step, _, x)| host::apply(x, step, &rule)).collect();
        let dx: Vec<f32> = each().map(|(step, i, x)| host::gradient(dy[i], x, step, &rule)).collect();
        for gpu in families() {
            let [x, dy] = [&x, &dy].map(|v| Tensor::from_f32(&gpu, [steps.len(), length], v).unwrap());
            let (values, used) = quantize(&x, &learned(&gpu, &steps), &rule, Off).unwrap();
            assert_bits(&format!("{rule:?}: values"), &values.read_f32().unwrap(), &y);
            let (x_grad, _) = gradient(&dy, &x, &used, &rule, true).unwrap();
            assert_bits(&format!("{rule:?}: gradient"), &x_grad.unwrap().read_f32().unwrap(), &dx);
        }
    }
}
