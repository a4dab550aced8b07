//! The gradient of every operation (the cases of `simqat::check`, which say how), and the tape itself.

#[path = "../common/mod.rs"]
mod common;

mod norm;
mod tape;

use simqat::Result;
use simqat::autograd::Var;
use simqat::ops::{mul, sum};
use simqat::tensor::random::Philox;
use simqat::tensor::{Shape, Tensor};

use common::{family, gpu};

#[test]
fn arithmetic() {
    family("gradients of arithmetic");
}

#[test]
fn layers() {
    family("gradients of layers");
}

#[test]
fn losses() {
    family("gradients of losses");
}

#[test]
fn quantizers() {
    family("gradients of quantizers");
}

#[test]
fn learned_steps() {
    family("gradients of learned steps");
}

#[test]
fn normalizations() {
    family("gradients of normalizations");
}

/// Values between 0.5 and 2 in size, with random signs.
fn away_from_zero(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Philox::new(seed, 91);
    let signed = |v: f32, word: u32| if word.is_multiple_of(2) { v } else { -v };
    (0..count).map(|_| signed(0.5 + 1.5 * random.uniform(), random.next_u32())).collect()
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
