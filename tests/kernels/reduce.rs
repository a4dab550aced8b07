use simqat::kernel::reduce::{Reduction, reduce, sum_to};
use simqat::tensor::Shape;

use super::{family, tensor};

#[test]
fn reductions() {
    family("reductions");
}

#[test]
fn impossible_reductions_are_refused() {
    let x = tensor([2, 3], &[0.0; 6]);
    assert!(reduce(Reduction::Sum, &x, 1..3).is_err());
    assert!(reduce(Reduction::Sum, &tensor([2, 0], &[]), 1..2).is_err());
    assert!(sum_to(&x, &Shape::from([2])).is_err());
    assert!(sum_to(&x, &Shape::from([4, 2, 3])).is_err());
}
