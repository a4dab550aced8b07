//! Grids and codes at the places where a quotient's last bit decides: the same bits on every adapter, whatever its division
//! is worth. WGSL allows it an error of 2.5 units of the last place.

use super::super::Trial;
use super::super::oracle::fake_quant::{Grid, Range};
use super::super::oracle::learned_step as host;
use super::quantize::{applied, rules, state};
use super::{learned_step, values};
use crate::Result;
use crate::kernel::learned_step::{LEAST_STEP, StepRule, gradient, quantize};
use crate::kernel::quantize::Observation::Off;
use crate::kernel::quantize::{fake_quant, lay_grid};
use crate::shader_test::{Bound, Draw};

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
fn any_size(draw: &mut Draw, low: i32, high: i32) -> f32 {
    let exponent = low + draw.between(0, (high - low) as usize) as i32;
    draw.number(1.0, 2.0) * 2f32.powi(exponent)
}

/// Ranges of all sizes and proportions, among them those that reach equally far to both sides: zero then lies in the middle
/// between two codes.
fn ranges(t: &Trial<'_>, count: usize, stream: u64) -> Vec<Range> {
    let mut draw = t.draw(stream);
    (0..count)
        .map(|i| {
            let max = any_size(&mut draw, -60, 60);
            let min = match i % 4 {
                0 => max,
                1 => 0.0,
                2 => max * draw.number(0.0, 1.0),
                _ => max * any_size(&mut draw, -12, 12),
            };
            Range { min: -min, max, steps: 0 }
        })
        .collect()
}

/// Thousands of grids.
pub(super) fn grids(t: &mut Trial<'_>) -> Result<()> {
    let ranges = ranges(t, 5000, 81);
    for rule in [2, 3, 4, 7, 8].into_iter().flat_map(rules) {
        let x = t.tensor([ranges.len(), 1], &vec![0.0; ranges.len()])?;
        let found = lay_grid(&x, &state(t, &ranges)?, &rule, Off)?.read_f32()?;
        t.same(format!("{rule:?}: numbers"), &[found.len()], &[4 * ranges.len()])?;
        for (range, found) in ranges.iter().zip(found.chunks(4)) {
            let expected = Grid::of(range.min, range.max, &rule).on_device();
            t.numbers(format_args!("{range:?}, {rule:?}"), found, &expected, Bound::Equal)?;
        }
    }
    Ok(())
}

/// Values beside every tie of a grid.
pub(super) fn grid_values(t: &mut Trial<'_>) -> Result<()> {
    for rule in [2, 4, 8].into_iter().flat_map(rules) {
        let ranges = ranges(t, 40, 90 + u64::from(rule.bits));
        let grids: Vec<Grid> = ranges.iter().map(|r| Grid::of(r.min, r.max, &rule)).collect();
        let ties = |grid: &Grid| {
            let &Grid { lo, scale, .. } = grid;
            (1..1u32 << rule.bits).flat_map(move |k| around(lo + (k as f32 - 0.5) * scale))
        };
        let x: Vec<f32> = grids.iter().flat_map(ties).collect();
        let device = t.tensor([grids.len(), x.len() / grids.len()], &x)?;
        let laid = lay_grid(&device, &state(t, &ranges)?, &rule, Off)?;
        t.values(format!("{rule:?}"), &fake_quant(&device, &laid)?, &applied(&grids, &x), Bound::Bits)?;
    }
    Ok(())
}

/// Values beside every tie and end of a learned step.
pub(super) fn learned_values(t: &mut Trial<'_>) -> Result<()> {
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
        let mut draw = t.draw(82 + u64::from(bits));
        let scales: Vec<host::Scale> = (0..40)
            .map(|_| host::Scale { scale: any_size(&mut draw, -36, 60).max(LEAST_STEP), steps: 0 })
            .collect();
        // Twice a place: the codes, among them the ends, and the middles between them.
        let places = |scale: &host::Scale| {
            let (step, (lowest, highest)) = (scale.scale, rule.codes());
            (2 * lowest - 3..=2 * highest + 3).flat_map(move |twice| around(twice as f32 * 0.5 * step))
        };
        let x: Vec<f32> = scales.iter().flat_map(places).collect();
        let length = x.len() / scales.len();
        let dy = values(t, x.len(), 5);
        let each = || x.iter().enumerate().map(|(i, &x)| (Some(scales[i / length].scale), i, x));
        let y: Vec<f32> = each().map(|(step, _, x)| host::apply(x, step, &rule)).collect();
        let dx: Vec<f32> = each().map(|(step, i, x)| host::gradient(dy[i], x, step, &rule)).collect();
        let shape = [scales.len(), length];
        let (x, dy) = (t.tensor(shape, &x)?, t.tensor(shape, &dy)?);
        let (found, used) = quantize(&x, &learned_step::state(t, &scales)?, &rule, Off)?;
        t.values(format!("{rule:?}: values"), &found, &y, Bound::Bits)?;
        let found = gradient(&dy, &x, &used, &rule, true)?.0.map(|dx| dx.read_f32()).transpose()?;
        t.numbers(format!("{rule:?}: gradient"), &found.unwrap_or_default(), &dx, Bound::Bits)?;
    }
    Ok(())
}
