//! Sums, means and maxima over neighbouring axes, and sums that undo stretching.

use std::ops::Range;

use super::super::{Case, Trial};
use super::elementwise::stretched;
use super::{values, whole};
use crate::Result;
use crate::kernel::reduce::{Reduction, reduce, sum_to};
use crate::shader_test::{Bound, Estimate};
use crate::tensor::Shape;

const FAMILY: &str = "reductions";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "any neighbouring axes, in one invocation and as a tree", any_axes),
    Case::new(FAMILY, "random shapes", random_shapes),
    Case::new(FAMILY, "sums undo stretching", unstretching),
    Case::new(FAMILY, "more workgroups than one dimension holds", many_workgroups).thorough(),
];

fn oracle(reduction: Reduction, x: &[f32], shape: &Shape, axes: Range<usize>) -> Vec<Estimate> {
    let length: usize = shape[axes.clone()].iter().product();
    let inner: usize = shape[axes.end..].iter().product();
    let outer: usize = shape[..axes.start].iter().product();
    let line = |i: usize| {
        let first = i / inner * length * inner + i % inner;
        (0..length).map(move |k| x[first + k * inner])
    };
    let total = |i: usize| {
        let sum = Estimate::sum(line(i).map(Estimate::from));
        let is_exact = line(i).all(|v| v.fract() == 0.0);
        if is_exact { Estimate::exact(sum.value) } else { sum }
    };
    // The shader multiplies by the inverse of the length, which the host rounds.
    let share = Estimate::exact(1.0) / Estimate::exact(length as f64);
    (0..outer * inner)
        .map(|i| match reduction {
            Reduction::Sum => total(i),
            Reduction::Mean => total(i) * share,
            Reduction::Max => line(i).fold(f32::NEG_INFINITY, f32::max).into(),
        })
        .collect()
}

/// Whole numbers, whose sums are exact, so that nothing that is left out or added twice is small beside what rounding may do
/// to a long sum; and fractions.
fn check(t: &mut Trial<'_>, shape: &[usize], axes: Range<usize>) -> Result<()> {
    let shape = Shape::from(shape);
    let kept = [&shape[..axes.start], &shape[axes.end..]].concat();
    let stream = shape.count() as u64;
    for (kind, x) in
        [("whole numbers", whole(t, shape.count(), stream)), ("fractions", values(t, shape.count(), stream))]
    {
        let tensor = t.tensor(&shape, &x)?;
        for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max] {
            let what = format!("{reduction:?} of {kind} {shape} over {axes:?}");
            let y = reduce(reduction, &tensor, axes.clone())?;
            t.same(&what, y.shape(), &kept)?;
            t.estimates(what, &y, &oracle(reduction, &x, &shape, axes.clone()))?;
        }
    }
    Ok(())
}

fn any_axes(t: &mut Trial<'_>) -> Result<()> {
    let each: [(&[usize], Range<usize>); 16] = [
        (&[1], 0..1),
        (&[], 0..0), // nothing is reduced: a copy
        (&[5, 3], 1..1),
        (&[63], 0..1), // one below the tree
        (&[64], 0..1), // the shortest tree
        (&[65], 0..1),
        (&[10_007], 0..1),
        (&[7, 3, 5], 0..1),
        (&[7, 3, 5], 1..2),
        (&[7, 3, 5], 2..3),
        (&[7, 3, 5], 0..2),
        (&[7, 3, 5], 0..3),
        (&[3, 130, 5], 1..2),    // a tree in the middle
        (&[200, 17], 0..1),      // a bias gradient
        (&[2, 6, 28, 28], 2..4), // means of a plane
        (&[67, 65, 70], 2..3),   // long, and so many that each lane takes one
    ];
    each.into_iter().try_for_each(|(shape, axes)| check(t, shape, axes))
}

fn random_shapes(t: &mut Trial<'_>) -> Result<()> {
    let mut draw = t.draw(30);
    for _ in 0..24 {
        let axes = draw.between(1, 3);
        let shape = draw.shape(axes, 19);
        let end = draw.between(0, axes);
        let start = draw.between(0, end);
        check(t, &shape, start..end)?;
    }
    Ok(())
}

fn unstretching(t: &mut Trial<'_>) -> Result<()> {
    let mut draw = t.draw(31);
    for _ in 0..24 {
        let [a, b] = stretched(&mut draw);
        let wide = a.broadcast(&b)?;
        let x = whole(t, wide.count(), 3);
        let what = format!("{wide} to {b}");
        let y = sum_to(&t.tensor(&wide, &x)?, &b)?;
        t.same(&what, y.shape(), &b)?;
        // Every value is added to the place that it was stretched from; whole numbers, so exactly.
        let mut expected = vec![0.0; b.count()];
        for (i, v) in x.iter().enumerate() {
            let (mut rest, mut offset, mut step) = (i, 0, 1);
            for (from_end, &extent) in wide.iter().rev().enumerate() {
                let own = b.iter().rev().nth(from_end).copied().unwrap_or(1);
                offset += if own == 1 { 0 } else { rest % extent * step };
                step *= own;
                rest /= extent;
            }
            expected[offset] += v;
        }
        t.values(what, &y, &expected, Bound::Equal)?;
    }
    Ok(())
}

fn many_workgroups(t: &mut Trial<'_>) -> Result<()> {
    // 64 results to a workgroup: 65 537 workgroups.
    let rows = 65_536 * 64 + 1;
    let x = whole(t, 2 * rows, 1);
    let y = reduce(Reduction::Sum, &t.tensor([rows, 2], &x)?, 1..2)?;
    let expected: Vec<f32> = x.chunks(2).map(|pair| pair[0] + pair[1]).collect();
    t.values(format!("[{rows}, 2] over its rows"), &y, &expected, Bound::Equal)
}
