use simqat::kernel::augment::{Source, gather, unpack};
use simqat::tensor::Tensor;

use super::common::gpu;
use super::{family, words};

#[test]
fn augmentation() {
    family("augmentation");
}

#[test]
fn what_does_not_fit_is_refused() {
    let one = words(&[0]);
    let order = words(&[0; 4]).reshape([1, 4]).unwrap();
    let normalization = Tensor::full(&gpu(), [1, 2], 1.0).unwrap();
    let source = Source {
        pixels: [&one, &one],
        first: 1,
        order: &order,
        progress: &one,
        image: [3, 1, 1],
        part: None,
        normalization: &normalization,
    };
    let error = gather(&source, 1, 1, [1, 1]).unwrap_err().to_string();
    assert!(error.contains("[3, 2]") && error.contains("[1, 2]"), "{error}");
    let error = unpack(&one, &one, &normalization, 1, [1, 1, 3]).unwrap_err().to_string();
    assert!(error.contains("[3, 2]") && error.contains("[1, 2]"), "{error}");
    let error = unpack(&one, &order, &normalization, 2, [2, 2, 1]).unwrap_err().to_string();
    assert!(error.contains("2 images of [2, 2, 1]"), "{error}");
    let error =
        gather(&Source { image: [1, 1, 1], order: &one, ..source }, 1, 1, [1, 1]).unwrap_err().to_string();
    assert!(error.contains("[N, 4]"), "{error}");
}
