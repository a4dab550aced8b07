use simqat::kernel::loss::{CrossEntropy, ENTRY, HISTORY, softmax_cross_entropy, tally};
use simqat::tensor::{DType, Tensor};

use super::common::gpu;
use super::{family, tensor, words};

#[test]
fn loss() {
    family("loss");
}

#[test]
fn shapes_that_disagree_are_refused() {
    let logits = tensor([2, 3], &[0.0; 6]);
    assert!(softmax_cross_entropy(&logits, &words(&[0, 1, 2]), 0.0).is_err());
    assert!(softmax_cross_entropy(&logits, &tensor([2], &[0.0; 2]), 0.0).is_err());
    assert!(softmax_cross_entropy(&tensor([6], &[0.0; 6]), &words(&[0]), 0.0).is_err());
    for smoothing in [-0.1, 1.0, f32::NAN] {
        let error = softmax_cross_entropy(&logits, &words(&[0, 1]), smoothing).err().unwrap().to_string();
        assert!(error.contains(&smoothing.to_string()), "{error}");
    }
}

#[test]
fn a_step_of_no_passes_is_refused() {
    let history = Tensor::zeros(&gpu(), [HISTORY, ENTRY], DType::F32).unwrap();
    let one = || tensor([1], &[0.0]);
    let none = CrossEntropy { losses: one(), ranks: words(&[0]), gradient: one() };
    assert!(tally(&none, &history, &words(&[0; 4]), 0).is_err());
}
