use simqat::Result;
use simqat::autograd::{Tape, Var};
use simqat::kernel::conv::Geometry;
use simqat::kernel::counter::NEVER;
use simqat::kernel::norm::Form;
use simqat::ops::*;
use simqat::tensor::Tensor;

use super::common::{assert_bits, gpu};
use super::{away_from_zero, draw};

/// Large, so that gradients through it are seen.
const EPS: f32 = 0.5;

#[test]
fn recordings_freeze_on_their_own() {
    let gpu = gpu();
    let up = |shape: &[usize], seed: u64| {
        let values = away_from_zero(shape.iter().product(), seed);
        Tensor::from_f32(&gpu, shape, &values).unwrap()
    };
    let statistics = Statistics::Batch { momentum: 0.9, freeze: 9 };
    for form in [Form::Plain, Form::TwoConv, Form::OneConv] {
        // x, w, gamma, beta and, in the folds, bias.
        let shapes: [&[usize]; 5] = [&[2, 3, 6, 6], &[4, 3, 3, 3], &[4], &[4], &[4]];
        let tensors: Vec<Tensor> = shapes.iter().zip(20..).map(|(shape, seed)| up(shape, seed)).collect();
        let seed = up(&[2, 4, 4, 4], 40);
        let fused = |v: &[Var], state: &NormState| -> Result<Var> {
            let conv = |w: &Var| conv2d(&v[0], w, None, &Geometry::default(), false);
            let fold = Fold { gamma: &v[2], beta: &v[3], bias: Some(&v[4]), state, eps: EPS, statistics };
            match form {
                Form::Plain => batch_norm(&conv(&v[1])?, &v[2], &v[3], state, EPS, statistics, true),
                Form::TwoConv => {
                    let z = conv(&fold_weight(&v[1], &v[2], state, EPS, FoldForm::TwoConv)?)?;
                    normalize_two_conv(&z, Some(&conv(&v[1])?), &fold, true)
                }
                Form::OneConv => {
                    let z = conv(&fold_weight(&v[1], &v[2], state, EPS, FoldForm::OneConv(statistics))?)?;
                    normalize_one_conv(&z, &fold, true)
                }
            }
        };
        let step = |state: &NormState| {
            let tape = Tape::new();
            let leaves: Vec<Var> = tensors.iter().map(|t| tape.leaf(t)).collect();
            let y = fused(&leaves, state)?;
            let gradients = tape.backward_from(&y, seed.clone())?;
            let mut results = vec![y.tensor().clone(), state.mean.clone(), state.var.clone()];
            results.extend(leaves.iter().filter_map(|leaf| gradients.of(leaf).cloned()));
            Ok(results)
        };
        let state = || NormState {
            mean: up(&[4], 30),
            var: Tensor::full(&gpu, [4], 1.5).unwrap(),
            steps: Tensor::from_u32(&gpu, [4], &[7; 4]).unwrap(),
        };
        let (eager, recorded) = (state(), state());
        let (recording, results) = gpu.record(|| step(&recorded)).unwrap();
        let mut means = Vec::new();
        // Two steps that move, and two that do not.
        for number in 0..4 {
            recording.replay().unwrap();
            for (found, expected) in results.iter().zip(&step(&eager).unwrap()) {
                let [found, expected] = [found, expected].map(|t| t.read_f32().unwrap());
                assert_bits(&format!("{form:?}, replay {number}"), &found, &expected);
            }
            means.push(recorded.mean.read_f32().unwrap());
        }
        assert!(means[0] != means[1] && means[1] == means[2] && means[2] == means[3]);
    }
}

#[test]
fn the_second_convolution_is_asked_for_in_training_only() {
    let state = NormState::new(&gpu(), 2).unwrap();
    let [z, other] = [draw([3, 2], 1), draw([2, 2], 2)].map(Var::constant);
    let [gamma, beta] = [1, 2].map(|seed| Var::constant(draw([2], seed)));
    let fold =
        |statistics| Fold { gamma: &gamma, beta: &beta, bias: None, state: &state, eps: EPS, statistics };
    normalize_two_conv(&z, None, &fold(Statistics::Running), false).unwrap();
    let training = Statistics::Batch { momentum: 0.9, freeze: NEVER };
    let error = normalize_two_conv(&z, None, &fold(training), false).err().unwrap().to_string();
    assert!(error.contains("unfolded"), "{error}");
    let error = normalize_two_conv(&z, Some(&other), &fold(training), false).err().unwrap().to_string();
    assert!(error.contains("[3, 2]") && error.contains("[2, 2]"), "{error}");
}
