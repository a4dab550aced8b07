use simqat::kernel::gemm::{Epilogue, Form, gemm};
use simqat::tensor::{DType, Tensor};

use super::common::gpu;
use super::family;

#[test]
fn products() {
    family("products");
}

#[test]
fn matrices_that_do_not_multiply_are_refused() {
    let gpu = gpu();
    let zeros = |shape: [usize; 2]| Tensor::zeros(&gpu, shape, DType::F32).unwrap();
    let none = Epilogue::NONE;
    let error = gemm(Form::NN, &zeros([2, 3]), &zeros([2, 3]), none).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("NN"), "{error}");
    assert!(gemm(Form::NT, &zeros([2, 3]), &zeros([3, 2]), none).is_err());
    assert!(gemm(Form::TN, &zeros([2, 3]), &zeros([3, 2]), none).is_err());
    assert!(gemm(Form::NN, &zeros([0, 3]), &zeros([3, 2]), none).is_err());
    assert!(gemm(Form::NN, &zeros([2, 3]).reshape([6]).unwrap(), &zeros([3, 2]), none).is_err());
    let bias = Tensor::zeros(&gpu, [3], DType::F32).unwrap();
    let error = gemm(Form::NN, &zeros([2, 3]), &zeros([3, 2]), Epilogue { bias: Some(&bias), relu: false });
    assert!(error.unwrap_err().to_string().contains("bias"));
    let words = Tensor::zeros(&gpu, [2, 3], DType::U32).unwrap();
    assert!(gemm(Form::NN, &words, &zeros([3, 2]), none).is_err());
}
