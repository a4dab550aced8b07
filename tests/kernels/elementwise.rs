use simqat::kernel::elementwise::{Binary, Unary, add_same, binary, unary};
use simqat::tensor::{DType, Shape, Tensor};

use super::common::gpu;
use super::{family, tensor};

#[test]
fn elementwise() {
    family("elementwise");
}

#[test]
fn more_than_eight_separate_axes_are_refused() {
    let alternate = |odd: usize| Shape::from((0..9).map(|i| 1 + (i + odd) % 2).collect::<Vec<_>>());
    let [a, b] = [0, 1].map(|odd| Tensor::zeros(&gpu(), alternate(odd), DType::F32).unwrap());
    let error = binary(Binary::Add, &a, &b, 0.0).unwrap_err().to_string();
    assert!(error.contains("at most 8"), "{error}");
}

#[test]
fn wrong_operands_are_refused_by_name() {
    let (a, b) = (tensor([2, 3], &[0.0; 6]), tensor([2], &[0.0; 2]));
    let error = binary(Binary::Add, &a, &b, 0.0).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("[2]"), "{error}");
    assert!(add_same(&a, &b).is_err());
    let counts = Tensor::zeros(&gpu(), [3], DType::U32).unwrap();
    let error = unary(Unary::Relu, &counts, 0.0, 0.0).unwrap_err().to_string();
    assert!(error.contains("f32") && error.contains("u32"), "{error}");
}
