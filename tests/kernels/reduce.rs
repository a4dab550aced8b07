use proptest::prelude::*;
use simqat::kernel::reduce::{Reduction, reduce, sum_to};
use simqat::tensor::Shape;

use super::common::assert_close;
use super::elementwise::stretched;
use super::{few, tensor, values, whole};

fn oracle(reduction: Reduction, x: &[f32], shape: &Shape, axes: std::ops::Range<usize>) -> Vec<f32> {
    let length: usize = shape[axes.clone()].iter().product();
    let inner: usize = shape[axes.end..].iter().product();
    let outer: usize = shape[..axes.start].iter().product();
    let line = |i: usize| {
        let first = i / inner * length * inner + i % inner;
        (0..length).map(move |k| f64::from(x[first + k * inner]))
    };
    (0..outer * inner)
        .map(|i| match reduction {
            Reduction::Sum => line(i).sum::<f64>() as f32,
            Reduction::Mean => (line(i).sum::<f64>() / length as f64) as f32,
            Reduction::Max => line(i).fold(f64::NEG_INFINITY, f64::max) as f32,
        })
        .collect()
}

fn check(shape: &[usize], axes: std::ops::Range<usize>) {
    let shape = Shape::from(shape);
    let x = values(shape.count(), shape.count() as u64);
    let length: usize = shape[axes.clone()].iter().product();
    for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max] {
        let y = reduce(reduction, &tensor(&shape, &x), axes.clone()).unwrap();
        let kept: Shape = [&shape[..axes.start], &shape[axes.end..]].concat().into();
        assert_eq!(y.shape(), &kept);
        // Rounding grows with the number of additions, each off by half a unit of values below 3 * length.
        let absolute = match reduction {
            Reduction::Sum => 4e-7 * length as f32,
            Reduction::Mean => 4e-7,
            Reduction::Max => 0.0,
        };
        let expected = oracle(reduction, &x, &shape, axes.clone());
        assert_close(
            &format!("{reduction:?} of {shape} over {axes:?}"),
            &y.read_f32().unwrap(),
            &expected,
            1e-6,
            absolute,
        );
    }
}

#[test]
fn any_neighbouring_axes_serial_and_tree() {
    check(&[1], 0..1);
    check(&[], 0..0); // nothing is reduced: a copy
    check(&[5, 3], 1..1);
    check(&[63], 0..1); // one below the tree
    check(&[64], 0..1); // the shortest tree
    check(&[65], 0..1);
    check(&[10_007], 0..1);
    check(&[7, 3, 5], 0..1);
    check(&[7, 3, 5], 1..2);
    check(&[7, 3, 5], 2..3);
    check(&[7, 3, 5], 0..2);
    check(&[7, 3, 5], 0..3);
    check(&[3, 130, 5], 1..2); // a tree in the middle
    check(&[200, 17], 0..1); // a bias gradient
    check(&[2, 6, 28, 28], 2..4); // means of a plane
    check(&[67, 65, 70], 2..3); // long, and so many that each lane takes one
}

#[test]
fn more_workgroups_than_one_dimension_holds() {
    // 64 results to a workgroup, 65 537 workgroups.
    let rows = 65_536 * 64 + 1;
    let x = whole(2 * rows, 1);
    let y = reduce(Reduction::Sum, &tensor([rows, 2], &x), 1..2).unwrap().read_f32().unwrap();
    let wrong = x.chunks(2).zip(&y).position(|(pair, &sum)| pair[0] + pair[1] != sum);
    assert_eq!((y.len(), wrong), (rows, None));
}

proptest! {
    #![proptest_config(few())]
    #[test]
    fn random_shapes(shape in proptest::collection::vec(1usize..20, 1..4), ends in any::<[prop::sample::Index; 2]>()) {
        let mut ends = ends.map(|end| end.index(shape.len() + 1));
        ends.sort_unstable();
        check(&shape, ends[0]..ends[1]);
    }

    #[test]
    fn sum_to_undoes_stretching((a, b) in stretched()) {
        let wide = a.broadcast(&b).unwrap();
        let x = whole(wide.count(), 3);
        let y = sum_to(&tensor(&wide, &x), &b).unwrap();
        prop_assert_eq!(y.shape(), &b);
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
        prop_assert_eq!(y.read_f32().unwrap(), expected);
    }
}

#[test]
fn impossible_reductions_are_refused() {
    let x = tensor([2, 3], &[0.0; 6]);
    assert!(reduce(Reduction::Sum, &x, 1..3).is_err());
    assert!(reduce(Reduction::Sum, &tensor([2, 0], &[]), 1..2).is_err());
    assert!(sum_to(&x, &Shape::from([2])).is_err());
    assert!(sum_to(&x, &Shape::from([4, 2, 3])).is_err());
}
