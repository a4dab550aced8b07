//! Vectors that the algorithm's reference implementations agree on.

use super::super::super::Trial;
use super::super::super::oracle::fake_quant::{Grid, Range};
use super::{PLAIN, state};
use crate::Result;
use crate::kernel::quantize::Observation::Off;
use crate::kernel::quantize::{GridRule, fake_quant, lay_grid, quantize, straight_through};
use crate::shader_test::Bound;
use crate::tensor::Tensor;

const NARROW: GridRule = GridRule { narrow_range: true, ..PLAIN };
const FOUR_BITS: GridRule = GridRule { bits: 4, ..PLAIN };

/// Rule, range and two rows of values.
type Golden = (GridRule, [f32; 2], [f32; 6], [f32; 6]);

/// Range, x and y.
const VECTORS: [Golden; 5] = [
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
const MASKS: [Golden; 2] = [
    (PLAIN, [-0.125, 63.625], [-0.26, -0.25, -0.24, 0.0, 63.5, 63.6], [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
    (FOUR_BITS, [-0.4, 7.1], [-0.6, -0.5, -0.4, 0.0, 7.0, 7.1], [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
];

/// What the device makes of a row of values for each channel, in ranges that stay: values by both ways of computing
/// them, and the gradient of ones.
fn evaluated(t: &Trial<'_>, rule: &GridRule, ranges: &[[f32; 2]], x: &[f32]) -> Result<[Tensor; 3]> {
    let ranges: Vec<Range> = ranges.iter().map(|&[min, max]| Range { min, max, steps: 0 }).collect();
    let x = t.tensor([ranges.len(), x.len() / ranges.len()], x)?;
    let device = state(t, &ranges)?;
    let grids = lay_grid(&x, &device, rule, Off)?;
    let dx = straight_through(&Tensor::full(t.gpu(), x.shape(), 1.0)?, &x, &grids)?;
    Ok([fake_quant(&x, &grids)?, quantize(&x, &device, rule, Off)?.0, dx])
}

pub(super) fn vectors(t: &mut Trial<'_>) -> Result<()> {
    for (rule, [min, max], x, y) in VECTORS {
        let grid = Grid::of(min, max, &rule);
        let what = format!("[{min}, {max}]");
        t.numbers(format!("{what} on the host"), &x.map(|x| grid.apply(x)), &y, Bound::Bits)?;
        let [twice, once, _] = evaluated(t, &rule, &[[min, max]], &x)?;
        t.values(&what, &twice, &y, Bound::Bits)?;
        t.values(format!("{what} in one go"), &once, &y, Bound::Bits)?;
    }
    Ok(())
}

pub(super) fn masks(t: &mut Trial<'_>) -> Result<()> {
    for (rule, [min, max], x, mask) in MASKS {
        let grid = Grid::of(min, max, &rule);
        let what = format!("[{min}, {max}]");
        t.numbers(format!("{what} on the host"), &x.map(|x| grid.gradient(1.0, x)), &mask, Bound::Bits)?;
        let [.., dx] = evaluated(t, &rule, &[[min, max]], &x)?;
        t.values(&what, &dx, &mask, Bound::Bits)?;
    }
    Ok(())
}

pub(super) fn by_channel(t: &mut Trial<'_>) -> Result<()> {
    for rule in [PLAIN, NARROW, FOUR_BITS] {
        // One to a channel, and the first once more after the others: no rule has a single channel.
        let rows = |golden: &[Golden]| -> (Vec<[f32; 2]>, Vec<f32>, Vec<f32>) {
            let mine: Vec<&Golden> = golden.iter().filter(|(r, ..)| *r == rule).collect();
            let rows = || mine.iter().chain(mine.first());
            (
                rows().map(|row| row.1).collect(),
                rows().flat_map(|row| row.2).collect(),
                rows().flat_map(|row| row.3).collect(),
            )
        };
        let (ranges, x, y) = rows(&VECTORS);
        if !ranges.is_empty() {
            let [twice, once, _] = evaluated(t, &rule, &ranges, &x)?;
            t.values("by channel", &twice, &y, Bound::Bits)?;
            t.values("by channel, in one go", &once, &y, Bound::Bits)?;
        }
        let (ranges, x, mask) = rows(&MASKS);
        if !ranges.is_empty() {
            let [.., dx] = evaluated(t, &rule, &ranges, &x)?;
            t.values("masks by channel", &dx, &mask, Bound::Bits)?;
        }
    }
    Ok(())
}
