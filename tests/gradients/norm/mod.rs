//! Normalizations and their folds: each gradient against finite differences of the formulas in f64, against plain
//! differentiation of the same expression made of single operations, and in the middle of a graph; with quantizers
//! between, against the formulas of the fold. At the step before the statistics freeze, at it, and behind.

mod scene;

use scene::*;
use simqat::autograd::{Tape, Var};
use simqat::gpu::KernelFamily;
use simqat::kernel::counter::NEVER;
use simqat::kernel::norm::Form;
use simqat::kernel::quantize::{GridRule, Observation, RangeObserver, RangeState};
use simqat::ops::*;
use simqat::tensor::Tensor;

use crate::common::fake_quant::{Grid, Range};
use crate::common::norm::{relative_error, wide};
use crate::common::{assert_bits, gpu, open};
use crate::{away_from_zero, check, draw, tensor};

#[test]
fn every_gradient_against_finite_differences_and_plain_differentiation() {
    let mut worst = [0.0f64; 4];
    for scene in scenes() {
        let (inputs, seed) = scene.drawn();
        let state = scene.state();
        let (y, found) = scene.walk(&inputs, |v| scene.fused(v, &state), &seed);
        let wide_inputs = inputs.each_ref().map(|v| wide(v));
        let case = scene.case(&wide_inputs);
        let [z, z0] = scene.convolutions(&case, &wide_inputs);
        let weights = wide(&seed);
        let expected = case.answer(&z, &z0, &weights);
        let off = relative_error(&y, &expected.y);
        // Values around 1, of sums of up to 27 products.
        assert!(off < 1e-5, "{}: values off by {off:.1e}", scene.name());
        worst[0] = worst[0].max(off);

        let observed = if scene.form == Form::TwoConv { &z0 } else { &z };
        let (mean, var) = case.moved(observed, MOMENTUM.into());
        for (tensor, expected) in [(&state.mean, mean), (&state.var, var)] {
            let off = relative_error(&tensor.read_f32().unwrap(), &expected);
            assert!(off < 1e-5, "{}: running statistics off by {off:.1e}", scene.name());
            worst[1] = worst[1].max(off);
        }
        let counted = if scene.statistics == Statistics::Running { STEPS } else { STEPS + 1 };
        assert_eq!(state.steps.read_u32().unwrap(), vec![counted; scene.w[0]]);

        let slopes = scene.slopes(&wide_inputs, &weights);
        worst[2] = worst[2].max(hold(&scene, "finite differences", &found, &slopes, REQUIRED));
        let (_, plain) = scene.walk(&inputs, |v| scene.plain(v), &seed);
        let plain = plain.each_ref().map(|v| wide(v));
        worst[3] = worst[3].max(hold(&scene, "plain differentiation", &found, &plain, REQUIRED));
    }
    let [values, state, slopes, plain] = worst;
    println!("values {values:.1e}, state {state:.1e}, differences {slopes:.1e}, plain {plain:.1e}");
}

#[test]
fn gradients_in_the_middle_of_a_graph() {
    let scene = Scene {
        form: Form::Plain,
        x: [3, 2, 4, 3],
        w: [2, 2, 2, 2],
        geometry: PLAIN,
        with_bias: false,
        relu: false,
        statistics: ALL_STATISTICS[0],
    };
    let inputs = [draw([3, 2, 2, 2], 1), draw([2], 2), draw([2], 3)];
    for statistics in ALL_STATISTICS {
        // A fresh state each time: a step moves it.
        check(&format!("{statistics:?}"), &inputs, |v| {
            batch_norm(&v[0], &v[1], &v[2], &scene.state(), EPS, statistics, false)
        });
        check(&format!("[N, C], {statistics:?}"), &[draw([7, 2], 1), draw([2], 2), draw([2], 3)], |v| {
            batch_norm(&v[0], &v[1], &v[2], &scene.state(), EPS, statistics, false)
        });
        for form in [FoldForm::TwoConv, FoldForm::OneConv(statistics)] {
            check(&format!("weights, {form:?}"), &[draw([2, 2, 2, 2], 1), draw([2], 2)], |v| {
                fold_weight(&v[0], &v[1], &scene.state(), EPS, form)
            });
        }
        let five = [draw([3, 2, 2, 2], 1), draw([3, 2, 2, 2], 2), draw([2], 3), draw([2], 4), draw([2], 5)];
        let fold = |v: &[Var], state: &NormState, two: bool| {
            let fold = Fold { gamma: &v[2], beta: &v[3], bias: Some(&v[4]), state, eps: EPS, statistics };
            if two {
                normalize_two_conv(&v[0], Some(&v[1]), &fold, false)
            } else {
                normalize_one_conv(&v[0], &fold, false)
            }
        };
        check(&format!("two convolutions, {statistics:?}"), &five, |v| fold(v, &scene.state(), true));
        check(&format!("one convolution, {statistics:?}"), &five, |v| fold(v, &scene.state(), false));
    }
}

/// A quantizer of weights on the device and on the host: one channel, or one for each output.
fn quantizer(channels: usize, range: Range) -> (RangeState, Vec<Range>) {
    let of = |v: f32| tensor([channels], &vec![v; channels]);
    let steps = Tensor::from_u32(&gpu(), [channels], &vec![range.steps; channels]).unwrap();
    (RangeState { min: of(range.min), max: of(range.max), steps }, vec![range; channels])
}

const NARROW: GridRule = GridRule {
    bits: 8,
    symmetric: true,
    narrow_range: true,
    observer: RangeObserver::LastBatch,
    delay: 0,
    freeze: NEVER,
};

#[test]
fn folds_with_quantized_weights_have_the_gradients_of_the_formulas() {
    // Observed whole, so that nothing is cut off; not observed and too narrow for many; and within its delay.
    let quantizers = [
        (NARROW, Range::START, true),
        (
            GridRule { symmetric: false, narrow_range: false, bits: 4, ..NARROW },
            Range { min: -0.9, max: 0.7, steps: 3 },
            false,
        ),
        (GridRule { delay: 10, ..NARROW }, Range::START, true),
    ];
    let mut worst: f64 = 0.0;
    let folds = scenes().into_iter().filter(|scene| scene.form != Form::Plain);
    for (number, scene) in folds.enumerate() {
        let (rule, range, observe) = quantizers[number % 3];
        let observation = if observe { Observation::Train } else { Observation::Off };
        let per_channel = number % 2 == 0;
        let o = scene.w[0];
        let (inputs, seed) = scene.drawn();
        let (state, (ranges, mut host)) = (scene.state(), quantizer(if per_channel { o } else { 1 }, range));
        let kept = std::cell::RefCell::new(None);
        let (y, found) = scene.walk(
            &inputs,
            |v| {
                let fold = Fold {
                    gamma: &v[2],
                    beta: &v[3],
                    bias: scene.with_bias.then_some(&v[4]),
                    state: &state,
                    eps: EPS,
                    statistics: scene.statistics,
                };
                let conv = |w: &Var| conv2d(&v[0], w, None, &scene.geometry, false);
                let two = scene.form == Form::TwoConv;
                let form = if two { FoldForm::TwoConv } else { FoldForm::OneConv(scene.statistics) };
                let folded = fold_weight(&v[1], &v[2], &state, EPS, form)?;
                let rounded = fake_quant(&folded, &ranges, &rule, observation)?;
                *kept.borrow_mut() = Some((folded.tensor().clone(), rounded.tensor().clone()));
                let z = conv(&rounded)?;
                if !two {
                    return normalize_one_conv(&z, &fold, scene.relu);
                }
                // Evaluation does without the second convolution.
                let training = scene.statistics != Statistics::Running;
                let z0 = training.then(|| conv(&v[1])).transpose()?;
                normalize_two_conv(&z, z0.as_ref(), &fold, scene.relu)
            },
            &seed,
        );
        let (folded, rounded) = kept.into_inner().unwrap();
        let (folded, rounded) = (folded.read_f32().unwrap(), rounded.read_f32().unwrap());
        let chunk = folded.len() / host.len();
        let grids: Vec<Grid> = host
            .iter_mut()
            .zip(folded.chunks(chunk))
            .map(
                |(range, w)| {
                    if observe { range.observe(w, &rule) } else { Grid::of(range.min, range.max, &rule) }
                },
            )
            .collect();
        let quantized: Vec<f32> =
            folded.iter().enumerate().map(|(i, &w)| grids[i / chunk].apply(w)).collect();
        assert_bits("quantized weights", &rounded, &quantized);

        let wide_inputs = inputs.each_ref().map(|v| wide(v));
        let case = scene.case(&wide_inputs);
        let [x, w, ..] = &wide_inputs;
        let hat = wide(&rounded);
        let (z, z0) = (scene.convolve(x, &hat), scene.convolve(x, w));
        let expected = case.answer(&z, &z0, &wide(&seed));
        let off = relative_error(&y, &expected.y);
        assert!(off < 1e-5, "{}: values off by {off:.1e}", scene.name());
        let [mut dx, mut d_hat, mut dw] = [vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; w.len()]];
        scene.meet(|at, tap, out| {
            dx[at] += hat[tap] * expected.dz[out] + w[tap] * expected.dz0[out];
            d_hat[tap] += x[at] * expected.dz[out];
            dw[tap] += x[at] * expected.dz0[out];
        });
        let mut d_gamma = expected.gamma;
        for tap in 0..w.len() {
            let channel = tap / scene.length();
            let (ratio, slope) = case.ratio(channel);
            let d = d_hat[tap] * f64::from(grids[tap / chunk].gradient(1.0, folded[tap]));
            dw[tap] += d * ratio;
            d_gamma[channel] += d * w[tap] * slope;
        }
        let bias = if scene.with_bias { expected.bias } else { vec![0.0; o] };
        worst = worst.max(hold(
            &scene,
            "the formulas",
            &found,
            &[dx, dw, d_gamma, expected.beta, bias],
            REQUIRED,
        ));
    }
    println!("formulas {worst:.1e}");
}

#[test]
fn channels_that_start_at_zero_learn() {
    for form in FORMS {
        for per_channel in [None, Some(false), Some(true)] {
            let scene = Scene {
                form,
                x: [3, 2, 5, 5],
                w: [4, 2, 3, 3],
                geometry: PLAIN,
                with_bias: false,
                relu: false,
                statistics: ALL_STATISTICS[0],
            };
            for all in [false, true] {
                let (mut inputs, seed) = scene.drawn();
                inputs[2].iter_mut().skip(if all { 0 } else { 2 }).for_each(|gamma| *gamma = 0.0);
                let state = scene.state();
                let (y, found) = scene.walk(
                    &inputs,
                    |v| {
                        if per_channel.is_none() || form == Form::Plain {
                            return scene.fused(v, &state);
                        }
                        let two = form == Form::TwoConv;
                        let fold_form =
                            if two { FoldForm::TwoConv } else { FoldForm::OneConv(scene.statistics) };
                        let folded = fold_weight(&v[1], &v[2], &state, EPS, fold_form)?;
                        let (ranges, _) =
                            quantizer(if per_channel == Some(true) { 4 } else { 1 }, Range::START);
                        let z = conv2d(
                            &v[0],
                            &fake_quant(&folded, &ranges, &NARROW, Observation::Train)?,
                            None,
                            &PLAIN,
                            false,
                        )?;
                        let (gamma, beta) = (&v[2], &v[3]);
                        let fold = Fold {
                            gamma,
                            beta,
                            bias: None,
                            state: &state,
                            eps: EPS,
                            statistics: scene.statistics,
                        };
                        if !two {
                            return normalize_one_conv(&z, &fold, false);
                        }
                        normalize_two_conv(
                            &z,
                            Some(&conv2d(&v[0], &v[1], None, &PLAIN, false)?),
                            &fold,
                            false,
                        )
                    },
                    &seed,
                );
                let what = format!("{form:?}, quantized by channel {per_channel:?}, all channels {all}");
                assert!(y.iter().chain(found.iter().flatten()).all(|v| v.is_finite()), "{what}");
                // Nothing but beta comes out of the last channel.
                let plane = y.len() / 12;
                let last = (0..y.len()).filter(|i| i / plane % 4 == 3);
                last.for_each(|i| assert_eq!(y[i], inputs[3][3], "{what}"));
                // One grid for all channels may leave nothing of a small one beside larger ones.
                let drowned = form == Form::OneConv && per_channel == Some(false) && !all;
                assert!(drowned || found[2].iter().all(|v| v.abs() > 1e-3), "{what}: {:?}", found[2]);
                assert_eq!(state.steps.read_u32().unwrap(), [STEPS + 1; 4]);
                let read = [&state.mean, &state.var].map(|t| t.read_f32().unwrap());
                assert!(read.iter().flatten().all(|v| v.is_finite()), "{what}: {read:?}");
                if per_channel.is_none() {
                    let weights = wide(&seed);
                    let slopes = scene.slopes(&inputs.each_ref().map(|v| wide(v)), &weights);
                    hold(&scene, "finite differences", &found, &slopes, REQUIRED);
                }
            }
        }
    }
}

#[test]
fn gradients_that_nobody_wants_are_not_given_and_change_no_other() {
    for form in FORMS {
        for statistics in ALL_STATISTICS {
            let (x, w) = ([2, 3, 6, 6], [4, 3, 3, 3]);
            let scene =
                Scene { form, x, w, geometry: PLAIN, with_bias: form != Form::Plain, relu: true, statistics };
            let (inputs, seed) = scene.drawn();
            let run = |wanted: [bool; 6]| -> Vec<Option<Vec<f32>>> {
                let tape = Tape::new();
                let state = scene.state();
                let shape = scene.y_shape();
                let channels = [w[0]];
                let count = shape.iter().product();
                let tensors = [
                    tensor(shape, &away_from_zero(count, 1)),
                    tensor(shape, &away_from_zero(count, 2)),
                    tensor(channels, &inputs[2]),
                    tensor(channels, &inputs[3]),
                    tensor(channels, &inputs[4]),
                    tensor([], &[1.0]),
                ];
                let v: Vec<Var> = tensors
                    .iter()
                    .zip(wanted)
                    .map(|(t, wanted)| if wanted { tape.leaf(t) } else { Var::constant(t.clone()) })
                    .collect();
                let bias = scene.with_bias.then_some(&v[4]);
                let fold = Fold { gamma: &v[2], beta: &v[3], bias, state: &state, eps: EPS, statistics };
                let y = match form {
                    Form::Plain => batch_norm(&v[0], &v[2], &v[3], &state, EPS, statistics, true),
                    Form::TwoConv => normalize_two_conv(&v[0], Some(&v[1]), &fold, true),
                    Form::OneConv => normalize_one_conv(&v[0], &fold, true),
                };
                // So that there is something to walk back to.
                let y = mul(&y.unwrap(), &v[5]).unwrap();
                let gradients = tape.backward_from(&y, tensor(shape, &seed)).unwrap();
                v.iter().map(|v| gradients.of(v).map(|g| g.read_f32().unwrap())).collect()
            };
            let all = run([true; 6]);
            for only in 0..5 {
                for others in [false, true] {
                    let wanted = std::array::from_fn(|i| i == 5 || (i == only) != others);
                    for (i, found) in run(wanted).iter().enumerate() {
                        let expected = all[i].as_ref().filter(|_| wanted[i]);
                        assert_eq!(
                            found.as_ref(),
                            expected,
                            "{form:?}, {statistics:?}, {wanted:?}, input {i}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn recordings_freeze_on_their_own() {
    let gpu = open(KernelFamily::Auto);
    for form in FORMS {
        let (x, w) = ([2, 3, 6, 6], [4, 3, 3, 3]);
        let statistics = Statistics::Batch { momentum: MOMENTUM, freeze: STEPS + 2 };
        let scene =
            Scene { form, x, w, geometry: PLAIN, with_bias: form != Form::Plain, relu: true, statistics };
        let (inputs, seed) = scene.drawn();
        let shapes = scene.shapes();
        let up = |shape: &[usize], v: &[f32]| Tensor::from_f32(&gpu, shape, v).unwrap();
        let tensors: Vec<Tensor> = inputs.iter().zip(&shapes).map(|(v, shape)| up(shape, v)).collect();
        let seed = up(&scene.y_shape(), &seed);
        let step = |state: &NormState| {
            let tape = Tape::new();
            let leaves: Vec<Var> = tensors.iter().map(|t| tape.leaf(t)).collect();
            let y = scene.fused(&leaves, state)?;
            let gradients = tape.backward_from(&y, seed.clone())?;
            let mut results = vec![y.tensor().clone(), state.mean.clone(), state.var.clone()];
            results.extend(leaves.iter().filter_map(|leaf| gradients.of(leaf).cloned()));
            Ok(results)
        };
        let (eager, recorded) = (scene.state_on(&gpu), scene.state_on(&gpu));
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
    let training = Statistics::Batch { momentum: MOMENTUM, freeze: NEVER };
    let error = normalize_two_conv(&z, None, &fold(training), false).err().unwrap().to_string();
    assert!(error.contains("unfolded"), "{error}");
    let error = normalize_two_conv(&z, Some(&other), &fold(training), false).err().unwrap().to_string();
    assert!(error.contains("[3, 2]") && error.contains("[2, 2]"), "{error}");
}
