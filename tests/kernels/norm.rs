use simqat::kernel::counter::NEVER;
use simqat::kernel::norm::{
    FoldForm, Form, Norm, NormState, Statistics, fold_weight, fold_weight_grad, normalize, parameter_grads,
    rules,
};

use super::common::gpu;
use super::{family, tensor, values};

const EPS: f32 = 1e-3;
const TRAINING: Statistics = Statistics::Batch { momentum: 0.9, freeze: NEVER };

#[test]
fn normalization() {
    family("normalization");
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let (gamma, beta) = (tensor([3], &[1.0; 3]), tensor([3], &[0.0; 3]));
    let state = NormState::new(&gpu(), 3).unwrap();
    let x = tensor([2, 3, 4], &values(24, 1));
    let norm = Norm { form: Form::Plain, gamma: &gamma, bias: None, state: &state, eps: EPS };
    // A variance of one value.
    let one = tensor([1, 3, 1, 1], &[1.0; 3]);
    let error = rules(&norm, &one, TRAINING).unwrap_err().to_string();
    assert!(error.contains("[1, 3, 1, 1]") && error.contains("running statistics"), "{error}");
    rules(&norm, &one, Statistics::Running).unwrap();
    for eps in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = rules(&Norm { eps, ..norm }, &x, TRAINING).unwrap_err().to_string();
        assert!(error.contains("eps"), "{error}");
    }
    for momentum in [-0.1, 1.1, f32::NAN] {
        let statistics = Statistics::Batch { momentum, freeze: NEVER };
        let error = rules(&norm, &x, statistics).unwrap_err().to_string();
        assert!(error.contains("momentum"), "{error}");
    }
    let four = tensor([4], &[1.0; 4]);
    assert!(rules(&Norm { gamma: &four, ..norm }, &x, TRAINING).is_err());
    assert!(rules(&Norm { form: Form::TwoConv, bias: Some(&four), ..norm }, &x, TRAINING).is_err());
    let error = rules(&Norm { bias: Some(&beta), ..norm }, &x, TRAINING).unwrap_err().to_string();
    assert!(error.contains("no bias"), "{error}");
    assert!(rules(&norm, &tensor([2, 4], &[0.0; 8]), TRAINING).is_err());
    assert!(rules(&norm, &tensor([3], &[0.0; 3]), TRAINING).is_err());
    assert!(rules(&norm, &tensor([0, 3], &[]), TRAINING).is_err());
    let rule = rules(&norm, &x, TRAINING).unwrap();
    assert!(normalize(&tensor([2, 4], &[0.0; 8]), &rule, &beta, false).is_err());
    assert!(normalize(&x, &rule, &four, false).is_err());
    assert!(parameter_grads(&one, &x, &rule, &beta, false, false).is_err());
    assert!(fold_weight(&tensor([4, 2], &[0.0; 8]), &gamma, &state, EPS, FoldForm::TwoConv).is_err());
    let w = tensor([3, 2], &[0.0; 6]);
    assert!(fold_weight(&w, &gamma, &state, 0.0, FoldForm::TwoConv).is_err());
    assert!(fold_weight_grad(&w, &x, &rule, [true, true]).is_err());
    assert!(fold_weight_grad(&w, &w, &rule, [true, true]).is_err());
}
