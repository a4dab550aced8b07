//! Products of matrices, with a bias and a ReLU or without.

use super::super::{Case, Trial};
use super::{values, whole};
use crate::Result;
use crate::kernel::gemm::{Epilogue, Form, gemm};
use crate::shader_test::{Bound, Estimate};

const FAMILY: &str = "products";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "whole numbers are exact", exact).on_both(),
    Case::new(FAMILY, "fractions are within the rounding of their sum", fractions).on_both(),
    Case::new(FAMILY, "the same product has the same bits", same_bits).on_both(),
];

const FORMS: [Form; 3] = [Form::NN, Form::NT, Form::TN];

/// [m, n, k]: one, odd, multiples of four and not, larger than a tile, and sums so long beside so few results
/// that they are cut into shares; LeNet5's dense layers and their gradients.
const SHAPES: [[usize; 3]; 15] = [
    [1, 1, 1],
    [1, 7, 3],
    [5, 1, 9],
    [3, 5, 2],
    [8, 8, 8],
    [33, 31, 29],
    [32, 120, 400],
    [32, 10, 84],
    [32, 84, 10],
    [10, 84, 32],
    [67, 130, 5],
    [100, 68, 36],
    [4, 4, 2048],
    [3, 5, 1999],
    [1, 2, 4097],
];

fn shape_of(form: Form, [m, n, k]: [usize; 3]) -> ([usize; 2], [usize; 2]) {
    match form {
        Form::NN => ([m, k], [k, n]),
        Form::NT => ([m, k], [n, k]),
        Form::TN => ([k, m], [k, n]),
    }
}

/// Sum and sum of magnitudes of each result, in f64.
fn oracle(form: Form, [m, n, k]: [usize; 3], a: &[f32], b: &[f32]) -> Vec<(f64, f64)> {
    let left = |i: usize, l: usize| f64::from(if form == Form::TN { a[l * m + i] } else { a[i * k + l] });
    let right = |l: usize, j: usize| f64::from(if form == Form::NT { b[j * k + l] } else { b[l * n + j] });
    let results = (0..m).flat_map(|i| (0..n).map(move |j| (i, j)));
    let products = |i, j| (0..k).map(move |l| left(i, l) * right(l, j));
    results.map(|(i, j)| (products(i, j).sum(), products(i, j).map(f64::abs).sum())).collect()
}

#[derive(Clone, Copy)]
struct Own<'a> {
    bias: Option<&'a [f32]>,
    relu: bool,
}

/// The product on the device, with `bias` [n] if there is one.
fn product(
    t: &mut Trial<'_>,
    form: Form,
    mnk: [usize; 3],
    [a, b]: [&[f32]; 2],
    own: Own<'_>,
) -> Result<Vec<f32>> {
    let [m, n, _] = mnk;
    let (a_shape, b_shape) = shape_of(form, mnk);
    let bias = own.bias.map(|bias| t.tensor([n], bias)).transpose()?;
    let epilogue = Epilogue { bias: bias.as_ref(), relu: own.relu };
    let y = gemm(form, &t.tensor(a_shape, a)?, &t.tensor(b_shape, b)?, epilogue)?;
    t.same(format!("shape of {form:?} {mnk:?}"), y.shape(), &[m, n])?;
    y.read_f32()
}

/// Whole numbers so small that every partial sum is exact: no order of summation changes a bit.
fn exact(t: &mut Trial<'_>) -> Result<()> {
    for (number, mnk) in SHAPES.into_iter().enumerate() {
        let [m, n, k] = mnk;
        let (a, b, bias) = (whole(t, m * k, 1), whole(t, k * n, 2), whole(t, n, 3));
        for (form_number, form) in FORMS.into_iter().enumerate() {
            let sums = oracle(form, mnk, &a, &b);
            // Each shape and form with one epilogue, so that neighbours have different ones; all with none.
            let (with_bias, with_relu) =
                [(true, false), (false, true), (true, true)][(number + form_number) % 3];
            for own in [
                Own { bias: None, relu: false },
                Own { bias: with_bias.then_some(&bias[..]), relu: with_relu },
            ] {
                let expected: Vec<f32> = sums
                    .iter()
                    .enumerate()
                    .map(|(at, (sum, _))| *sum as f32 + own.bias.map_or(0.0, |bias| bias[at % n]))
                    .map(|v| if own.relu { v.max(0.0) } else { v })
                    .collect();
                let found = product(t, form, mnk, [&a, &b], own)?;
                let (with_bias, relu) = (own.bias.is_some(), own.relu);
                let what = format!("{form:?} {mnk:?}, bias {with_bias}, relu {relu}");
                t.numbers(what, &found, &expected, Bound::Equal)?;
            }
        }
    }
    Ok(())
}

const NONE: Own<'_> = Own { bias: None, relu: false };

fn fractions(t: &mut Trial<'_>) -> Result<()> {
    for mnk in [[33, 31, 29], [32, 120, 400], [3, 5, 1999]] {
        let [m, n, k] = mnk;
        let (a, b) = (values(t, m * k, 4), values(t, k * n, 5));
        for form in FORMS {
            let sums = oracle(form, mnk, &a, &b);
            let expected: Vec<Estimate> =
                sums.iter().map(|&(sum, size)| Estimate::dot(sum, size, k)).collect();
            let found = product(t, form, mnk, [&a, &b], NONE)?;
            t.near(format!("{form:?} {mnk:?}"), &found, &expected)?;
        }
    }
    Ok(())
}

fn same_bits(t: &mut Trial<'_>) -> Result<()> {
    let mnk = [3, 5, 1999];
    let (a, b) = (values(t, 3 * 1999, 6), values(t, 5 * 1999, 7));
    let first = product(t, Form::NN, mnk, [&a, &b], NONE)?;
    for turn in 1..=5 {
        let again = product(t, Form::NN, mnk, [&a, &b], NONE)?;
        t.numbers(format!("turn {turn} of NN {mnk:?}"), &again, &first, Bound::Bits)?;
    }
    Ok(())
}
