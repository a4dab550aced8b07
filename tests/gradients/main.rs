//! The gradient of every operation against finite differences, in the middle of a graph: something stands
//! before it and behind it, and the loss weighs every output differently, so that a gradient in the wrong place
//! or of the wrong shape is seen.

#[path = "../common/mod.rs"]
mod common;

mod learned_step;
mod norm;
mod ops;
mod quantization;
mod tape;

use simqat::Result;
use simqat::autograd::{GradCheck, Var, gradcheck};
use simqat::ops::{mul, sum};
use simqat::tensor::random::Philox;
use simqat::tensor::{Shape, Tensor};

use common::gpu;

/// Values between 0.5 and 2 in size, with random signs.
fn away_from_zero(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Philox::new(seed, 91);
    let signed = |v: f32, word: u32| if word.is_multiple_of(2) { v } else { -v };
    (0..count).map(|_| signed(0.5 + 1.5 * random.uniform(), random.next_u32())).collect()
}

/// Values in random order that are all at least 0.1 apart and 0.05 from zero: moving one by the step of a check
/// changes no order and no sign.
fn apart(count: usize, seed: u64) -> Vec<f32> {
    let order = Philox::new(seed, 92).permutation(count);
    order.iter().map(|&place| (place as f32 - (count / 2) as f32) * 0.1 + 0.05).collect()
}

fn tensor(shape: impl Into<Shape>, values: &[f32]) -> Tensor {
    Tensor::from_f32(&gpu(), shape, values).unwrap()
}

fn draw(shape: impl Into<Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    tensor(&shape, &away_from_zero(shape.count(), seed))
}

/// The loss: the sum of all values, each with a weight of its own.
fn weighted(y: &Var) -> Result<Var> {
    let weights = draw(y.tensor().shape(), 999);
    let product = mul(y, &Var::constant(weights))?;
    sum(&product, 0..product.tensor().shape().len())
}

/// Checks `op` with a factor before each of its inputs and one behind its output, all of them values that the
/// gradient must go through.
fn check(what: &str, inputs: &[Tensor], op: impl Fn(&[Var]) -> Result<Var>) {
    check_within(GradCheck::default(), what, inputs, op);
}

fn check_within(within: GradCheck, what: &str, inputs: &[Tensor], op: impl Fn(&[Var]) -> Result<Var>) {
    let outcome = gradcheck(within, inputs, |leaves| {
        let before = leaves.iter().map(|leaf| mul(leaf, &Var::constant(tensor([], &[1.25]))));
        let y = op(&before.collect::<Result<Vec<_>>>()?)?;
        let behind = draw(y.tensor().shape(), 998);
        weighted(&mul(&y, &Var::constant(behind))?)
    });
    outcome.unwrap_or_else(|e| panic!("{what}: {e}"));
}
