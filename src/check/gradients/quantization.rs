//! Fake quantization is a staircase: its gradient is a rule, not a slope, and is held against the rule.

use super::super::oracle::fake_quant::{Grid, Range};
use super::super::{Case, Trial};
use super::away_from_zero;
use crate::Result;
use crate::autograd::{Tape, Var};
use crate::kernel::counter::{FROZEN, NEVER};
use crate::kernel::quantize::Observation::{self, Calibrate, Off, Train};
use crate::kernel::quantize::{GridRule, RangeObserver, RangeState};
use crate::ops::{fake_quant, mul};
use crate::shader_test::Bound;

const FAMILY: &str = "gradients of quantizers";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "the gradient passes within the grid and nowhere else", within_the_grid),
    Case::new(FAMILY, "before the delay is over it passes everywhere", delay),
    Case::new(FAMILY, "frozen ranges and calibration have the gradients of their grids", frozen),
    Case::new(FAMILY, "a range of nothing lets nothing but zero pass", nothing),
];

const RULE: GridRule = GridRule {
    bits: 4,
    symmetric: false,
    narrow_range: false,
    observer: RangeObserver::LastBatch,
    delay: 0,
    freeze: NEVER,
};

fn state(t: &Trial<'_>, ranges: &[Range]) -> Result<RangeState> {
    let of = |f: fn(&Range) -> f32| t.tensor([ranges.len()], &ranges.iter().map(f).collect::<Vec<_>>());
    let steps: Vec<u32> = ranges.iter().map(|r| r.steps).collect();
    Ok(RangeState { min: of(|r| r.min)?, max: of(|r| r.max)?, steps: t.words(&steps)? })
}

/// Values and gradient of a * fq(b * x), in the middle of a graph, against the rule.
fn rule(
    t: &mut Trial<'_>,
    rule: &GridRule,
    ranges: &mut [Range],
    x: &[f32],
    observation: Observation,
) -> Result<()> {
    let what = format!("{rule:?}, {ranges:?}, {observation:?}");
    let shape = [ranges.len(), x.len() / ranges.len()];
    let [before, after, seed] = [7, 8, 9].map(|stream| away_from_zero(t, x.len(), stream));
    let device = state(t, ranges)?;
    let tape = Tape::new();
    let leaf = tape.leaf(&t.tensor(shape, x)?);
    let inner = mul(&leaf, &Var::constant(t.tensor(shape, &before)?))?;
    let y = fake_quant(&inner, &device, rule, observation)?;
    let out = mul(&y, &Var::constant(t.tensor(shape, &after)?))?;
    let gradients = tape.backward_from(&out, t.tensor(shape, &seed)?)?;

    let inner: Vec<f32> = x.iter().zip(&before).map(|(x, b)| x * b).collect();
    let row = shape[1];
    let grids: Vec<Grid> =
        ranges.iter_mut().zip(inner.chunks(row)).map(|(range, x)| range.pass(x, rule, observation)).collect();
    let values: Vec<f32> = inner.iter().enumerate().map(|(i, &x)| grids[i / row].apply(x)).collect();
    let slopes: Vec<f32> =
        (0..x.len()).map(|i| grids[i / row].gradient(seed[i] * after[i], inner[i]) * before[i]).collect();
    t.values(format!("{what}: values"), y.tensor(), &values, Bound::Bits)?;
    let found = gradients.of(&leaf).map(|g| g.read_f32()).transpose()?.unwrap_or_default();
    // Every product is of the same two numbers: equal, but for the sign of nothing.
    t.numbers(format!("{what}: gradient"), &found, &slopes, Bound::Equal)
}

fn within_the_grid(t: &mut Trial<'_>) -> Result<()> {
    let x = away_from_zero(t, 60, 1);
    for (symmetric, narrow_range) in [(false, false), (true, false), (true, true)] {
        let kind = GridRule { symmetric, narrow_range, ..RULE };
        // Narrower than the values, so that some lie outside.
        let narrow = Range { min: -1.0, max: 0.7, steps: 5 };
        rule(t, &kind, &mut [narrow], &x, Off)?;
        rule(t, &kind, &mut [narrow, Range { min: -0.2, max: 2.0, steps: 5 }], &x, Off)?;
        // Observing: the grid is that of these values, and nudging zero onto it may leave an end outside.
        rule(t, &kind, &mut [Range::START], &x, Train)?;
        rule(t, &kind, &mut [Range::START; 3], &x, Train)?;
        let moving = GridRule { observer: RangeObserver::MovingAverage, ..kind };
        rule(t, &moving, &mut [narrow; 3], &x, Train)?;
    }
    Ok(())
}

fn delay(t: &mut Trial<'_>) -> Result<()> {
    let delayed = GridRule { delay: 2, observer: RangeObserver::MovingAverage, ..RULE };
    let mut ranges = [Range { min: -0.1, max: 0.1, steps: 1 }];
    // The last step that passes, and the first that does not.
    for stream in [2, 3] {
        let x = away_from_zero(t, 30, stream);
        rule(t, &delayed, &mut ranges, &x, Train)?;
    }
    Ok(())
}

fn frozen(t: &mut Trial<'_>) -> Result<()> {
    let freezing = GridRule { freeze: 3, ..RULE };
    let narrow = Range { min: -1.0, max: 0.7, steps: 3 };
    let marked = Range { steps: FROZEN | 1, ..narrow };
    let x = [5, 6, 7, 8].map(|stream| away_from_zero(t, 60, stream));
    rule(t, &freezing, &mut [narrow], &x[0], Train)?;
    rule(t, &RULE, &mut [marked, narrow], &x[1], Train)?;
    rule(t, &RULE, &mut [narrow], &x[2], Calibrate { batch: 1 })?;
    rule(t, &RULE, &mut [narrow; 3], &x[3], Calibrate { batch: 0 })
}

fn nothing(t: &mut Trial<'_>) -> Result<()> {
    let mut x = away_from_zero(t, 10, 4);
    x[3] = 0.0;
    rule(t, &RULE, &mut [Range { min: 0.0, max: 0.0, steps: 1 }], &x, Off)
}
