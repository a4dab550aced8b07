//! Fake quantization: ranges, grids, values and the straight-through gradient, to the bit.

mod golden;

use super::super::oracle::fake_quant::{Action, Grid, Range, codes};
use super::super::{Case, Trial};
use super::{ties, values};
use crate::Result;
use crate::kernel::counter::NEVER;
use crate::kernel::quantize::Observation::{Off, Train};
use crate::kernel::quantize::{
    GridRule, RangeObserver, RangeState, fake_quant, lay_grid, quantize, straight_through,
};
use crate::shader_test::{Bound, Draw};
use crate::tensor::{Shape, Tensor};

const FAMILY: &str = "quantizers";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "golden vectors", golden::vectors).on_both(),
    Case::new(FAMILY, "golden gradient masks", golden::masks).on_both(),
    Case::new(FAMILY, "golden vectors and masks by channel", golden::by_channel).on_both(),
    Case::new(FAMILY, "every width and kind of grid", every_width).on_both(),
    Case::new(FAMILY, "a symmetric narrow grid has zero on its middle code", middle_code),
    Case::new(FAMILY, "zero points round at one half and not before", zero_points),
    Case::new(FAMILY, "shapes of every kernel variant", shapes).on_both(),
    Case::new(FAMILY, "ranges follow the batches", ranges_follow),
    Case::new(FAMILY, "values pass until the delay is over", delay),
    Case::new(FAMILY, "evaluation quantizes always and moves nothing", evaluation),
    Case::new(FAMILY, "a channel of zeros stays zero", channel_of_zeros),
    Case::new(FAMILY, "random ranges", random_ranges),
    Case::new(FAMILY, "observing and rounding in one go", in_one_go),
    Case::new(FAMILY, "grids of thousands of ranges", ties::grids).on_both(),
    Case::new(FAMILY, "values beside every tie of a grid", ties::grid_values).on_both(),
];

pub(super) const PLAIN: GridRule = GridRule {
    bits: 8,
    symmetric: false,
    narrow_range: false,
    observer: RangeObserver::LastBatch,
    delay: 0,
    freeze: NEVER,
};

/// With and without symmetry and the lowest code.
pub(super) fn rules(bits: u32) -> impl Iterator<Item = GridRule> {
    [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .map(move |(symmetric, narrow_range)| GridRule { bits, symmetric, narrow_range, ..PLAIN })
}

pub(super) fn state(t: &Trial<'_>, ranges: &[Range]) -> Result<RangeState> {
    let each = |f: fn(&Range) -> f32| t.tensor([ranges.len()], &ranges.iter().map(f).collect::<Vec<_>>());
    let steps: Vec<u32> = ranges.iter().map(|r| r.steps).collect();
    Ok(RangeState { min: each(|r| r.min)?, max: each(|r| r.max)?, steps: t.words(&steps)? })
}

/// Holds the state on the device against the host's.
pub(super) fn states(t: &mut Trial<'_>, what: &str, state: &RangeState, ranges: &[Range]) -> Result<()> {
    let each = |f: fn(&Range) -> f32| ranges.iter().map(f).collect::<Vec<_>>();
    t.values(format!("{what}: min"), &state.min, &each(|r| r.min), Bound::Bits)?;
    t.values(format!("{what}: max"), &state.max, &each(|r| r.max), Bound::Bits)?;
    let steps: Vec<u32> = ranges.iter().map(|r| r.steps).collect();
    t.same(format!("{what}: steps"), &state.steps.read_u32()?, &steps)
}

/// Quantizes and differentiates `x` [C, ...] on the device and on the host.
pub(super) fn applies(
    t: &mut Trial<'_>,
    what: &str,
    shape: &Shape,
    x: &[f32],
    device: &Tensor,
    host: &[Grid],
) -> Result<()> {
    let grids: Vec<f32> = host.iter().flat_map(Grid::on_device).collect();
    // By value: whether 0 - 0 is written as a negation, and the zero gets a sign, is the driver's affair.
    t.values(format!("{what}: grids"), device, &grids, Bound::Equal)?;
    let length = x.len() / host.len();
    let dy = values(t, x.len(), 42);
    let each = || x.iter().enumerate().map(|(i, &x)| (&host[i / length], i, x));
    let y: Vec<f32> = each().map(|(grid, _, x)| grid.apply(x)).collect();
    let dx: Vec<f32> = each().map(|(grid, i, x)| grid.gradient(dy[i], x)).collect();
    let (x, dy) = (t.tensor(shape, x)?, t.tensor(shape, &dy)?);
    t.values(format!("{what}: values"), &fake_quant(&x, device)?, &y, Bound::Bits)?;
    t.values(format!("{what}: gradient"), &straight_through(&dy, &x, device)?, &dx, Bound::Bits)
}

/// What each channel's grid makes of its values.
pub(super) fn applied(grids: &[Grid], x: &[f32]) -> Vec<f32> {
    let length = x.len() / grids.len();
    x.iter().enumerate().map(|(i, &x)| grids[i / length].apply(x)).collect()
}

/// Values that try a grid: anywhere around it, on its points, between two, and at its ends.
fn trying(grid: &Grid, count: usize, draw: &mut Draw) -> Vec<f32> {
    let span = grid.hi - grid.lo;
    (0..count)
        .map(|i| match i % 8 {
            0 => grid.lo + grid.scale * draw.between(0, 255) as f32,
            1 => grid.lo + grid.scale * (draw.between(0, 255) as f32 + 0.5),
            2 => grid.lo,
            3 => grid.hi,
            _ => grid.lo + span * draw.number(-0.1, 1.1),
        })
        .collect()
}

/// Two steps of training by layer or by channel: states, grids, values and gradients, observed, laid and rounded one by
/// one and in one go.
fn training(t: &mut Trial<'_>, rule: &GridRule, channels: usize) -> Result<()> {
    let what = format!("{rule:?}, {channels} channels");
    let shape = Shape::from([5, 101]);
    let length = shape.count() / channels;
    let mut ranges = vec![Range::START; channels];
    let (by_steps, at_once) = (state(t, &ranges)?, state(t, &ranges)?);
    for step in 0..2 {
        let x = values(t, shape.count(), 10 * u64::from(rule.bits) + step);
        let device = t.tensor(&shape, &x)?;
        let grids = lay_grid(&device, &by_steps, rule, Train)?;
        let (y, same_grids) = quantize(&device, &at_once, rule, Train)?;
        let host: Vec<Grid> =
            ranges.iter_mut().zip(x.chunks(length)).map(|(r, x)| r.observe(x, rule)).collect();
        states(t, &what, &by_steps, &ranges)?;
        states(t, &format!("{what}, in one go"), &at_once, &ranges)?;
        t.values(format!("{what}: in one go"), &y, &applied(&host, &x), Bound::Bits)?;
        t.values(format!("{what}: grids"), &same_grids, &grids.read_f32()?, Bound::Bits)?;
        let mut draw = t.draw(3);
        let tries: Vec<f32> = host.iter().flat_map(|g| trying(g, length, &mut draw)).collect();
        applies(t, &what, &shape, &tries, &grids, &host)?;
    }
    Ok(())
}

fn every_width(t: &mut Trial<'_>) -> Result<()> {
    for rule in (2..=8).flat_map(rules) {
        for observer in [RangeObserver::LastBatch, RangeObserver::MovingAverage] {
            training(t, &GridRule { observer, ..rule }, 1)?;
            training(t, &GridRule { observer, ..rule }, 5)?;
        }
    }
    Ok(())
}

fn middle_code(t: &mut Trial<'_>) -> Result<()> {
    for bits in 2..=8 {
        let rule = GridRule { bits, symmetric: true, narrow_range: true, ..PLAIN };
        let x = t.tensor([3], &[-0.3, 0.7, 0.1])?;
        let grids = lay_grid(&x, &state(t, &[Range::START])?, &rule, Train)?.read_f32()?;
        let (qmin, qmax) = codes(&rule);
        let expected = [-grids[1], (qmin - (qmin + qmax) / 2.0) * grids[2]];
        t.numbers(format!("{bits} bits"), &[grids[0]; 2], &expected, Bound::Bits)?;
    }
    Ok(())
}

fn zero_points(t: &mut Trial<'_>) -> Result<()> {
    // A scale of 1, and zero just before, at and beyond the middle between two codes.
    for (min, lo) in [(-0.499_999_97, 0.0), (-0.5, -1.0), (-1.499_999_9, -1.0), (-1.5, -2.0)] {
        let range = Range { min, max: 255.0 + min, steps: 0 };
        let host = Grid::of(range.min, range.max, &PLAIN);
        let what = format!("{range:?}");
        t.numbers(format!("{what} on the host"), &[host.lo, host.scale], &[lo, 1.0], Bound::Equal)?;
        let x = trying(&host, 40, &mut t.draw(1));
        let grids = lay_grid(&t.tensor([40], &x)?, &state(t, &[range])?, &PLAIN, Off)?;
        applies(t, &what, &[40].into(), &x, &grids, &[host])?;
    }
    Ok(())
}

fn shapes(t: &mut Trial<'_>) -> Result<()> {
    // [C, length] with lengths that are and are not whole vectors, below and above the size from which the
    // body is repeated, and one value alone.
    for (channels, length) in
        [(1, 1), (1, 3), (1, 33_001), (3, 44_012), (3, 3001), (7, 4), (6, 25), (1, 131_072), (300, 3)]
    {
        let shape = Shape::from([channels, length]);
        let x = values(t, shape.count(), length as u64);
        let mut ranges = vec![Range::START; channels];
        let device = state(t, &ranges)?;
        let host: Vec<Grid> =
            ranges.iter_mut().zip(x.chunks(length)).map(|(r, x)| r.observe(x, &PLAIN)).collect();
        let grids = lay_grid(&t.tensor(&shape, &x)?, &device, &PLAIN, Train)?;
        states(t, &shape.to_string(), &device, &ranges)?;
        applies(t, &shape.to_string(), &shape, &x, &grids, &host)?;
    }
    Ok(())
}

/// A batch of its own for each step: all above zero, all below, and both.
pub(super) fn batch(t: &Trial<'_>, count: usize, step: usize) -> Vec<f32> {
    values(t, count, step as u64).iter().map(|v| v + [4.0, -4.0, 0.0][step % 3]).collect()
}

fn ranges_follow(t: &mut Trial<'_>) -> Result<()> {
    for observer in [RangeObserver::LastBatch, RangeObserver::MovingAverage] {
        for rule in rules(8).map(|rule| GridRule { observer, ..rule }) {
            let mut ranges = vec![Range::START; 3];
            let device = state(t, &ranges)?;
            for step in 0..6 {
                let what = format!("{rule:?}, step {step}");
                let shape = Shape::from([3, 2, 25]);
                let x = batch(t, 3 * 50, step);
                let grids = lay_grid(&t.tensor(&shape, &x)?, &device, &rule, Train)?;
                let host: Vec<Grid> =
                    ranges.iter_mut().zip(x.chunks(50)).map(|(r, x)| r.observe(x, &rule)).collect();
                states(t, &what, &device, &ranges)?;
                applies(t, &what, &shape, &x, &grids, &host)?;
            }
        }
    }
    Ok(())
}

fn delay(t: &mut Trial<'_>) -> Result<()> {
    let rule = GridRule { delay: 2, ..PLAIN };
    let mut range = Range::START;
    let device = state(t, &[range])?;
    for (step, expected) in [Action::Passes, Action::Passes, Action::Quantizes].into_iter().enumerate() {
        let what = format!("step {step}");
        let x = values(t, 37, step as u64);
        let grids = lay_grid(&t.tensor([37], &x)?, &device, &rule, Train)?;
        let host = range.observe(&x, &rule);
        t.same(format!("{what} on the host"), &[host.action], &[expected])?;
        states(t, &what, &device, &[range])?;
        applies(t, &what, &[37].into(), &x, &grids, &[host])?;
    }
    Ok(())
}

fn evaluation(t: &mut Trial<'_>) -> Result<()> {
    for rule in rules(8).map(|rule| GridRule { delay: 100, ..rule }) {
        let what = format!("{rule:?}");
        let range = Range { min: -1.5, max: 4.0, steps: 3 };
        let device = state(t, &[range])?;
        let x = values(t, 50, 9);
        let grids = lay_grid(&t.tensor([50], &x)?, &device, &rule, Off)?;
        states(t, &what, &device, &[range])?;
        applies(t, &what, &[50].into(), &x, &grids, &[Grid::of(-1.5, 4.0, &rule)])?;
    }
    Ok(())
}

fn channel_of_zeros(t: &mut Trial<'_>) -> Result<()> {
    let device = state(t, &[Range::START; 2])?;
    let x = [0.0, 0.0, 0.0, 1.0, -1.0, 0.5];
    let grids = lay_grid(&t.tensor([2, 3], &x)?, &device, &PLAIN, Train)?;
    t.numbers("grid", &grids.read_f32()?[..4], &[0.0, 0.0, 0.0, 2.0], Bound::Equal)?;
    let other = t.tensor([2, 3], &[0.0, 1.0, -1.0, 0.0, 0.0, 0.0])?;
    t.numbers("values", &fake_quant(&other, &grids)?.read_f32()?[..3], &[0.0; 3], Bound::Equal)?;
    // The gradient passes at zero, where the range is, and nowhere else.
    let dx = straight_through(&t.tensor([2, 3], &[5.0; 6])?, &other, &grids)?.read_f32()?;
    t.numbers("gradient", &dx[..3], &[5.0, 0.0, 0.0], Bound::Equal)
}

fn random_ranges(t: &mut Trial<'_>) -> Result<()> {
    for number in 0..24 {
        let mut draw = t.draw(100 + number);
        // From a hundred down to a ten-thousandth.
        let factor = 0.5f32.powi(draw.between(0, 19) as i32);
        let (min, max) = (draw.number(-100.0, 0.0) * factor, draw.number(0.0, 100.0) * factor);
        let range = Range { min, max, steps: 1 };
        for rule in rules(8) {
            let host = Grid::of(range.min, range.max, &rule);
            let x = trying(&host, 500, &mut draw);
            let grids = lay_grid(&t.tensor([500], &x)?, &state(t, &[range])?, &rule, Off)?;
            applies(t, &format!("{range:?} {rule:?}"), &[500].into(), &x, &grids, &[host])?;
        }
    }
    Ok(())
}

fn in_one_go(t: &mut Trial<'_>) -> Result<()> {
    let shapes: [&[usize]; 5] = [&[6, 1, 5, 5], &[3, 400], &[2, 1], &[5, 7], &[4, 33, 4]];
    let moving = GridRule { delay: 2, observer: RangeObserver::MovingAverage, narrow_range: true, ..PLAIN };
    for (number, shape) in shapes.iter().enumerate() {
        let shape = Shape::from(*shape);
        let x = t.tensor(&shape, &values(t, shape.count(), number as u64))?;
        for rule in rules(8).chain([moving]) {
            let what = format!("{shape}, {rule:?}");
            let fresh = vec![Range::START; shape[0]];
            let (one, other) = (state(t, &fresh)?, state(t, &fresh)?);
            for observation in [Train, Train, Train, Off] {
                let (y, grids) = quantize(&x, &one, &rule, observation)?;
                let expected = lay_grid(&x, &other, &rule, observation)?;
                t.values(format!("{what}: grids"), &grids, &expected.read_f32()?, Bound::Bits)?;
                let expected = fake_quant(&x, &expected)?;
                t.values(format!("{what}: values"), &y, &expected.read_f32()?, Bound::Bits)?;
            }
            t.values(format!("{what}: min"), &one.min, &other.min.read_f32()?, Bound::Bits)?;
            t.values(format!("{what}: max"), &one.max, &other.max.read_f32()?, Bound::Bits)?;
            t.same(format!("{what}: steps"), &one.steps.read_u32()?, &other.steps.read_u32()?)?;
        }
    }
    Ok(())
}
