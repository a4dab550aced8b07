//! Arithmetic, sums and shapes.

use super::super::{Case, Trial};
use super::{apart, drawn, slopes, slopes_within};
use crate::Result;
use crate::autograd::GradCheck;
use crate::ops::*;

const FAMILY: &str = "gradients of arithmetic";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "every kind of broadcasting", broadcasting),
    Case::new(FAMILY, "a sum with ReLU", sum_relu),
    Case::new(FAMILY, "a scalar factor", scalar_factor),
    Case::new(FAMILY, "a variable that is used more than once", used_again),
    Case::new(FAMILY, "activations", activations),
    Case::new(FAMILY, "square roots", square_roots),
    Case::new(FAMILY, "matrix products", products),
    Case::new(FAMILY, "shapes, sums and means", shapes),
];

/// The device's tanh may be off by 1e-5 (WGSL, accuracy of f32), which the loss weighs with up to 4 and finite
/// differences divide by a step of 0.02, twice; where the tanh is flat, the relative bound allows no such thing.
pub(super) const TANH: GradCheck = GradCheck { step: 1e-2, relative: 1e-2, absolute: 4e-3 };

/// Shapes of two operands: alike, a scalar, a row, a column, both stretching, missing axes, a channel's bias.
const PAIRS: [(&[usize], &[usize]); 8] = [
    (&[5], &[5]),
    (&[2, 3], &[]),
    (&[2, 3], &[3]),
    (&[2, 3], &[2, 1]),
    (&[3, 1], &[1, 4]),
    (&[2], &[2, 3, 2]),
    (&[2, 3, 2, 2], &[3, 1, 1]),
    (&[1, 2, 1], &[2, 1, 3]),
];

fn broadcasting(t: &mut Trial<'_>) -> Result<()> {
    for (a, b) in PAIRS {
        let inputs = [drawn(t, a, 1)?, drawn(t, b, 2)?];
        slopes(t, &format!("{a:?} + {b:?}"), &inputs, |v| add(&v[0], &v[1]))?;
        slopes(t, &format!("{a:?} - {b:?}"), &inputs, |v| sub(&v[0], &v[1]))?;
        slopes(t, &format!("{a:?} * {b:?}"), &inputs, |v| mul(&v[0], &v[1]))?;
        slopes(t, &format!("{a:?} / {b:?}"), &inputs, |v| div(&v[0], &v[1]))?;
    }
    Ok(())
}

fn sum_relu(t: &mut Trial<'_>) -> Result<()> {
    // Sums are odd multiples of 0.05, so no difference reaches over the corner.
    let tenths = |count: usize| (0..count).map(|i| 0.1 * (i % 5) as f32 - 0.2).collect::<Vec<_>>();
    for (a, b) in [(&[2, 3, 4][..], &[2, 3, 4][..]), (&[2, 3, 2, 2], &[3, 1, 1])] {
        let [count, other] = [a, b].map(|shape| shape.iter().product());
        let inputs = [t.tensor(a, &apart(t, count, 1))?, t.tensor(b, &tenths(other))?];
        slopes(t, &format!("relu({a:?} + {b:?})"), &inputs, |v| add_relu(&v[0], &v[1]))?;
    }
    Ok(())
}

fn scalar_factor(t: &mut Trial<'_>) -> Result<()> {
    let x = [drawn(t, [2, 3], 1)?];
    for factor in [-1.5, 0.0, 3.0] {
        slopes(t, &format!("{factor} x"), &x, |v| mul_scalar(&v[0], factor))?;
    }
    Ok(())
}

fn used_again(t: &mut Trial<'_>) -> Result<()> {
    let x = [drawn(t, [2, 3], 1)?];
    slopes(t, "x * x", &x, |v| mul(&v[0], &v[0]))?;
    slopes(t, "x + x", &x, |v| add(&v[0], &v[0]))?;
    slopes(t, "x - x", &x, |v| sub(&v[0], &v[0]))?;
    slopes(t, "x / x", &x, |v| div(&v[0], &v[0]))?;
    slopes(t, "x x^T by reshaping, and x again after it", &x, |v| {
        let column = reshape(&v[0], [3, 2])?;
        add(&matmul(&v[0], &column)?, &sum(&v[0], 0..2)?)
    })?;
    // Used at three depths.
    slopes_within(t, TANH, "tanh(x) * x + x", &x, |v| {
        add(&mul(&activation(Activation::Tanh, &v[0])?, &v[0])?, &v[0])
    })
}

fn activations(t: &mut Trial<'_>) -> Result<()> {
    let kinds = [
        Activation::Relu,
        Activation::LeakyRelu(0.1),
        Activation::LeakyRelu(-0.3),
        Activation::Sigmoid,
        Activation::Tanh,
    ];
    let x = [drawn(t, [3, 5], 1)?];
    for kind in kinds {
        let within = if kind == Activation::Tanh { TANH } else { GradCheck::default() };
        slopes_within(t, within, &kind.to_string(), &x, |v| activation(kind, &v[0]))?;
    }
    // Below, between and above the two kinks, none nearer to one than the step.
    let x = [t.tensor([6], &[-2.0, -0.3, 0.2, 2.5, 4.5, 7.0])?];
    slopes(t, "ReLU6", &x, |v| activation(Activation::Relu6, &v[0]))?;
    // Likewise, with the kinks at -3 and 3 before the factor of 1.25. HSwish turns at -1.5.
    let x = [t.tensor([8], &[-4.0, -2.6, -2.0, -1.2, -0.3, 0.2, 2.2, 2.7])?];
    for kind in [Activation::HSigmoid, Activation::HSwish] {
        slopes(t, &kind.to_string(), &x, |v| activation(kind, &v[0]))?;
    }
    Ok(())
}

fn square_roots(t: &mut Trial<'_>) -> Result<()> {
    let x = [t.tensor([5], &[0.3, 0.5, 1.0, 2.0, 9.0])?];
    slopes(t, "sqrt", &x, |v| sqrt(&v[0]))
}

fn products(t: &mut Trial<'_>) -> Result<()> {
    for [m, k, n] in [[1, 1, 1], [2, 3, 4], [5, 2, 3]] {
        let inputs = [drawn(t, [m, k], 1)?, drawn(t, [k, n], 2)?];
        slopes(t, &format!("[{m}, {k}] by [{k}, {n}]"), &inputs, |v| matmul(&v[0], &v[1]))?;
    }
    Ok(())
}

fn shapes(t: &mut Trial<'_>) -> Result<()> {
    let x = [drawn(t, [2, 3, 4], 1)?];
    slopes(t, "reshape", &x, |v| reshape(&v[0], [4, 6]))?;
    slopes(t, "flatten", &x, |v| flatten(&v[0]))?;
    for axes in [0..1, 1..2, 2..3, 0..2, 1..3, 0..3] {
        slopes(t, &format!("sum over {axes:?}"), &x, |v| sum(&v[0], axes.clone()))?;
        slopes(t, &format!("mean over {axes:?}"), &x, |v| mean(&v[0], axes.clone()))?;
    }
    Ok(())
}
