//! Learned step sizes in the middle of a graph. Both gradients are rules, not slopes, and are held against them; if
//! values lie beyond the ends, the scale's is a slope, and is held against differences.

use super::super::oracle::learned_step::{Scale, apply, gradient, rounding, scale_gradient};
use super::super::{Case, Trial};
use super::{away_from_zero, drawn};
use crate::Result;
use crate::autograd::{Tape, Var};
use crate::kernel::learned_step::{StepRule, UNSET};
use crate::kernel::momentum::{Settings, update};
use crate::kernel::quantize::Observation::{self, Calibrate, Off, Train};
use crate::ops::{add, learned_step_quant, mul};
use crate::shader_test::Bound;
use crate::tensor::{DType, Tensor};

const FAMILY: &str = "gradients of learned steps";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "both gradients are the rule's", both_gradients).on_both(),
    Case::new(FAMILY, "the step that sets the scale has its gradients too", setting).on_both(),
    Case::new(FAMILY, "before the delay and in calibration the scale gets none", none_for_the_scale)
        .on_both(),
    Case::new(FAMILY, "beyond the ends the scale's gradient is a slope", beyond_the_ends),
    Case::new(FAMILY, "inputs that want no gradient cost the others none", unwanted),
    Case::new(FAMILY, "a scale of two quantizers gets the sum and follows the optimizer", shared_scale),
];

const RULE: StepRule = StepRule { bits: 3, signed: true, narrow_range: false, delay: 0 };

/// Values and both gradients of a * lsq(b * x, s), in the middle of a graph, against the rule. `scales` are those
/// that the pass is to use.
fn rule(
    t: &mut Trial<'_>,
    rule: &StepRule,
    scales: &[Scale],
    row: usize,
    observation: Observation,
) -> Result<()> {
    let what = format!("{rule:?}, {scales:?}, {row} values each, {observation:?}");
    let shape = [scales.len(), row];
    let [x, before, after, seed] = [1, 2, 3, 4].map(|stream| away_from_zero(t, scales.len() * row, stream));
    let tape = Tape::new();
    let x_leaf = tape.leaf(&t.tensor(shape, &x)?);
    let start: Vec<f32> = scales.iter().map(|s| s.scale).collect();
    let scale = tape.leaf(&t.tensor([scales.len()], &start)?);
    let counters = t.words(&scales.iter().map(|s| s.steps).collect::<Vec<_>>())?;
    let inner = mul(&x_leaf, &Var::constant(t.tensor(shape, &before)?))?;
    let y = learned_step_quant(&inner, &scale, &counters, rule, observation)?;
    let out = mul(&y, &Var::constant(t.tensor(shape, &after)?))?;
    let gradients = tape.backward_from(&out, t.tensor(shape, &seed)?)?;

    let inner: Vec<f32> = x.iter().zip(&before).map(|(x, b)| x * b).collect();
    let dy: Vec<f32> = seed.iter().zip(&after).map(|(s, a)| s * a).collect();
    // A scale that was set on the device differs by rounding from the host's, and all else follows the device's.
    let found = scale.tensor().read_f32()?;
    let mut host = scales.to_vec();
    let passes: Vec<_> =
        host.iter_mut().zip(inner.chunks(row)).map(|(s, x)| s.pass(x, rule, observation)).collect();
    let expected: Vec<f32> = host.iter().map(|s| s.scale).collect();
    let bound = Bound::Within { relative: rounding(row), absolute: 0.0 };
    t.numbers(format!("{what}: scales"), &found, &expected, bound)?;
    let steps: Vec<_> = passes.iter().zip(&found).map(|(step, found)| step.map(|_| *found)).collect();
    let values: Vec<f32> = inner.iter().enumerate().map(|(i, &x)| apply(x, steps[i / row], rule)).collect();
    t.values(format!("{what}: values"), y.tensor(), &values, Bound::Bits)?;
    let slopes: Vec<f32> =
        (0..x.len()).map(|i| gradient(dy[i], inner[i], steps[i / row], rule) * before[i]).collect();
    let dx = gradients.of(&x_leaf).map(|g| g.read_f32()).transpose()?.unwrap_or_default();
    // Every product is of the same two numbers: equal, but for the sign of nothing.
    t.numbers(format!("{what}: gradient"), &dx, &slopes, Bound::Equal)?;
    let ds = gradients.of(&scale).map(|g| g.read_f32()).transpose()?;
    if let Calibrate { .. } = observation {
        return t.that(format!("{what}: calibration gives the scale a gradient"), ds.is_none());
    }
    let ds = ds.unwrap_or_default();
    t.same(format!("{what}: gradients of scales"), &[ds.len()], &[scales.len()])?;
    for (c, step) in steps.iter().enumerate() {
        let own = c * row..(c + 1) * row;
        let (expected, off) = scale_gradient(&dy[own.clone()], &inner[own], *step, rule);
        let bound = Bound::Within { relative: 0.0, absolute: off };
        t.numbers(format!("{what}: gradient of scale {c}"), &[ds[c]], &[expected], bound)?;
    }
    Ok(())
}

fn both_gradients(t: &mut Trial<'_>) -> Result<()> {
    // So that some values lie inside, and some beyond either end.
    let wide = Scale { scale: 0.4, steps: 3 };
    for kind in [RULE, StepRule { narrow_range: true, ..RULE }, StepRule { signed: false, ..RULE }] {
        for observation in [Train, Off] {
            rule(t, &kind, &[wide], 60, observation)?;
            rule(t, &kind, &[wide], 17_001, observation)?;
            rule(t, &kind, &[wide, Scale { scale: 0.07, ..wide }, wide], 25, observation)?;
        }
    }
    Ok(())
}

fn setting(t: &mut Trial<'_>) -> Result<()> {
    rule(t, &RULE, &[Scale::START], 60, Train)?;
    rule(t, &RULE, &[Scale::START], 17_001, Train)?;
    rule(t, &RULE, &[Scale::START; 3], 25, Train)
}

fn none_for_the_scale(t: &mut Trial<'_>) -> Result<()> {
    let kind = StepRule { delay: 5, ..RULE };
    for scale in [UNSET, 0.3] {
        for (channels, row) in [(1, 30), (1, 17_000), (3, 30)] {
            // The last step that passes, and the first that does not.
            let before = vec![Scale { scale, steps: 4 }; channels];
            rule(t, &kind, &before, row, Train)?;
            rule(t, &kind, &vec![Scale { scale, steps: 5 }; channels], row, Train)?;
            rule(t, &kind, &before, row, Calibrate { batch: 0 })?;
            rule(t, &kind, &before, row, Off)?;
        }
    }
    Ok(())
}

fn beyond_the_ends(t: &mut Trial<'_>) -> Result<()> {
    // Two values above the upper end and one below the lower: y is a multiple of the scale.
    let x = Var::constant(t.tensor([3], &[5.0, 9.0, -7.0])?);
    let steps = t.words(&[1])?;
    let weights = [1.5f32, -0.5, 2.0];
    let loss = |scale: f32| -> Result<f32> {
        let scale = Var::constant(t.tensor([1], &[scale])?);
        let y = learned_step_quant(&x, &scale, &steps, &RULE, Off)?.tensor().read_f32()?;
        Ok(y.iter().zip(&weights).map(|(y, w)| y * w).sum())
    };
    let tape = Tape::new();
    let scale = tape.leaf(&t.tensor([1], &[0.5])?);
    let y = learned_step_quant(&x, &scale, &steps, &RULE, Off)?;
    let gradients = tape.backward_from(&y, t.tensor([3], &weights)?)?;
    let slope = (loss(0.625)? - loss(0.375)?) / 0.25;
    let found = gradients.of(&scale).map(|g| g.read_f32()).transpose()?.unwrap_or_default();
    // Three values share the scale, and the highest code is 3. The differences are of small multiples of 1/8: exact.
    t.numbers("slope", &found, &[slope / 3.0], Bound::Within { relative: 1e-6, absolute: 0.0 })
}

fn unwanted(t: &mut Trial<'_>) -> Result<()> {
    let (x, seed) = (drawn(t, [2, 30], 1)?, drawn(t, [2, 30], 2)?);
    let scale = t.tensor([2], &[0.4, 0.2])?;
    let steps = t.words(&[1, 1])?;
    let gradients = |on_tape: [bool; 2]| -> Result<[Option<Vec<f32>>; 2]> {
        let tape = Tape::new();
        let [x, scale] = [(&x, on_tape[0]), (&scale, on_tape[1])]
            .map(|(t, leaf)| if leaf { tape.leaf(t) } else { Var::constant(t.clone()) });
        let y = learned_step_quant(&x, &scale, &steps, &RULE, Off)?;
        let found = tape.backward_from(&y, seed.clone())?;
        let of = |v: &Var| found.of(v).map(|g| g.read_f32()).transpose();
        Ok([of(&x)?, of(&scale)?])
    };
    let [dx, ds] = gradients([true, true])?;
    t.that("both are wanted, and one is missing", dx.is_some() && ds.is_some())?;
    t.same("the values' alone", &gradients([true, false])?, &[dx, None])?;
    t.same("the scale's alone", &gradients([false, true])?, &[None, ds])
}

fn shared_scale(t: &mut Trial<'_>) -> Result<()> {
    let (x, seed) = (away_from_zero(t, 40, 1), drawn(t, [1, 40], 2)?);
    let device_x = Var::constant(t.tensor([1, 40], &x)?);
    let scale = t.tensor([1], &[0.4])?;
    let steps = t.words(&[0])?;
    let walk = |twice: bool| -> Result<(Vec<f32>, Option<Tensor>)> {
        let tape = Tape::new();
        let leaf = tape.leaf(&scale);
        let quantized = || learned_step_quant(&device_x, &leaf, &steps, &RULE, Train);
        let y = if twice { add(&quantized()?, &quantized()?)? } else { quantized()? };
        let gradients = tape.backward_from(&y, seed.clone())?;
        Ok((y.tensor().read_f32()?, gradients.of(&leaf).cloned()))
    };
    let ((_, Some(ds)), (_, Some(doubled))) = (walk(false)?, walk(true)?) else {
        return t.that("a scale without a gradient", false);
    };
    let slope = ds.read_f32()?[0];
    t.values("twice", &doubled, &[2.0 * slope], Bound::Bits)?;
    // The update writes the scale in place; the next step rounds with it.
    let settings = Settings {
        rate: &t.tensor([1], &[0.01])?,
        progress: &t.words(&[0; 3])?,
        factor: None,
        momentum: 0.9,
        weight_decay: 0.0,
        place: 0,
    };
    update(&scale, &Tensor::zeros(t.gpu(), [1], DType::F32)?, &ds, &settings)?;
    let moved = scale.read_f32()?;
    let bound = Bound::Within { relative: 1e-6, absolute: 0.0 };
    t.numbers("scale", &moved, &[0.4 - 0.01 * slope], bound)?;
    t.that("the update has not moved the scale", moved[0] != 0.4)?;
    let expected: Vec<f32> = x.iter().map(|&x| apply(x, Some(moved[0]), &RULE)).collect();
    t.numbers("values", &walk(false)?.0, &expected, Bound::Bits)
}
