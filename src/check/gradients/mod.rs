//! The gradient of every operation, in the middle of a graph: something stands before it and after it, and the loss weighs
//! every output differently, so that a gradient in the wrong place or of the wrong shape is seen.
//!
//! Slopes are held against finite differences; rounding has a rule in place of a slope, and is held against the rule.

mod arithmetic;
mod layers;
mod learned_step;
mod losses;
mod norm;
mod quantization;

use super::{Case, Trial};
use crate::autograd::{GradCheck, Var, gradcheck};
use crate::ops::{mul, sum};
use crate::tensor::{Shape, Tensor};
use crate::{Error, Result};

pub(super) fn cases() -> Vec<Case> {
    [arithmetic::CASES, layers::CASES, losses::CASES, quantization::CASES, learned_step::CASES, norm::CASES]
        .into_iter()
        .flatten()
        .copied()
        .collect()
}

/// Values between 0.5 and 2 in size, with random signs.
fn away_from_zero(t: &Trial<'_>, count: usize, stream: u64) -> Vec<f32> {
    let mut draw = t.draw(stream);
    (0..count).map(|_| draw.number(0.5, 2.0) * draw.one_of(&[1.0, -1.0])).collect()
}

/// Values in random order that are all at least 0.1 apart and 0.05 from zero: moving one by the step of a check
/// changes no order and no sign.
fn apart(t: &Trial<'_>, count: usize, stream: u64) -> Vec<f32> {
    let mut draw = t.draw(stream);
    let mut order: Vec<usize> = (0..count).collect();
    (1..count).for_each(|last| order.swap(last, draw.between(0, last)));
    order.iter().map(|&place| (place as f32 - (count / 2) as f32) * 0.1 + 0.05).collect()
}

/// A tensor of values away from zero.
fn drawn(t: &Trial<'_>, shape: impl Into<Shape>, stream: u64) -> Result<Tensor> {
    let shape = shape.into();
    t.tensor(&shape, &away_from_zero(t, shape.count(), stream))
}

/// Holds the gradients of `op` against finite differences, with a factor before each of its inputs and one after its
/// output, all of them values that the gradient must go through.
fn slopes(
    t: &mut Trial<'_>,
    what: &str,
    inputs: &[Tensor],
    op: impl Fn(&[Var]) -> Result<Var>,
) -> Result<()> {
    slopes_within(t, GradCheck::default(), what, inputs, op)
}

fn slopes_within(
    t: &mut Trial<'_>,
    within: GradCheck,
    what: &str,
    inputs: &[Tensor],
    op: impl Fn(&[Var]) -> Result<Var>,
) -> Result<()> {
    let factor = Var::constant(t.tensor([], &[1.25])?);
    let through = |leaves: &[Var]| -> Result<Var> {
        let before = leaves.iter().map(|leaf| mul(leaf, &factor));
        op(&before.collect::<Result<Vec<_>>>()?)
    };
    let y = through(&inputs.iter().map(|x| Var::constant(x.clone())).collect::<Vec<_>>())?;
    let [after, weight] = [drawn(t, y.tensor().shape(), 998)?, drawn(t, y.tensor().shape(), 999)?];
    let size: f32 = [y.tensor(), &after, &weight]
        .map(Tensor::read_f32)
        .into_iter()
        .try_fold(vec![1.0; y.tensor().count()], |product: Vec<f32>, factor| {
            Ok::<_, Error>(product.iter().zip(factor?).map(|(a, b)| (a * b).abs()).collect())
        })?
        .iter()
        .sum();
    // A loss is a sum of terms of this size in all, rounded a few times each: two losses are off by some units of 2^-24 of
    // it, over twice the step.
    let rounding = 8.0 * size / (1 << 24) as f32 / within.step;
    let within = GradCheck { absolute: within.absolute + rounding, ..within };
    let [after, weight] = [after, weight].map(Var::constant);
    let outcome = gradcheck(within, inputs, |leaves| {
        let weighted = mul(&mul(&through(leaves)?, &after)?, &weight)?;
        sum(&weighted, 0..weighted.tensor().shape().len())
    });
    match outcome {
        Ok(nearest) => t.within(what, nearest.error.into(), nearest.allowed.into()),
        Err(Error::Mismatch(message)) => Err(Error::Mismatch(format!("{what}: {message}"))),
        Err(other) => Err(other),
    }
}
