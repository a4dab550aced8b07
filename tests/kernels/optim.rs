use simqat::kernel::gradient::{accumulate, partial_sums, square_sums};
use simqat::kernel::loss::{ENTRY, HISTORY};
use simqat::kernel::momentum::{Settings, settle, update};
use simqat::optim::{GradientClip, GradientSums, Momentum, MomentumOptions};
use simqat::tensor::Tensor;

use super::common::{assert_close, gpu};
use super::{tensor, values, words};

#[test]
fn momentum_over_several_steps() {
    // The last size takes the variant that repeats its body, and ends in the middle of a workgroup: nothing
    // may be updated twice.
    for count in [1, 7, 64, 1000, 33_001] {
        let mut p = values(count, 1);
        let mut v = vec![0.0f32; count];
        let (parameter, velocity) = (tensor([count], &p), tensor([count], &v));
        for (i, decay) in [0.0, 1e-2, 1e-2].into_iter().enumerate() {
            let g = values(count, 10 + i as u64);
            let rate = 0.1 / (i + 1) as f32;
            let settings = Settings {
                rate: &tensor([1], &[rate]),
                progress: &words(&[0, 0, 0]),
                factor: None,
                momentum: 0.9,
                weight_decay: decay,
                place: 0,
            };
            update(&parameter, &velocity, &tensor([count], &g), &settings).unwrap();
            for ((p, v), g) in p.iter_mut().zip(&mut v).zip(&g) {
                *v = 0.9 * *v + (g + decay * *p);
                *p -= rate * *v;
            }
        }
        // A few units in the last place: the device may contract a product and a sum.
        assert_close(&format!("velocity of {count}"), &velocity.read_f32().unwrap(), &v, 1e-6, 1e-6);
        assert_close(&format!("parameter of {count}"), &parameter.read_f32().unwrap(), &p, 1e-6, 1e-6);
    }
}

#[test]
fn only_what_decays_is_pulled_to_zero() {
    let parameters = [tensor([2, 2], &[1.0; 4]), tensor([4], &[1.0; 4])];
    let options = MomentumOptions { learning_rate: 0.5, momentum: 0.0, weight_decay: 0.5 };
    let optimizer = Momentum::new(&parameters, options).unwrap().decaying(|_, p| p.shape().len() > 1);
    for (index, parameter) in parameters.iter().enumerate() {
        optimizer.update(index, &tensor(parameter.shape(), &[0.0; 4])).unwrap();
    }
    assert_eq!(parameters.map(|p| p.read_f32().unwrap()), [vec![0.75; 4], vec![1.0; 4]]);
}

#[test]
fn a_raised_flag_leaves_everything_as_it_is() {
    let (p, v) = (values(33, 1), values(33, 2));
    let (parameter, velocity) = (tensor([33], &p), tensor([33], &v));
    let settings = Settings {
        rate: &tensor([1], &[0.1]),
        progress: &words(&[0, 0, 1]),
        factor: None,
        momentum: 0.9,
        weight_decay: 0.1,
        place: 0,
    };
    update(&parameter, &velocity, &tensor([33], &[f32::NAN; 33]), &settings).unwrap();
    assert_eq!((parameter.read_f32().unwrap(), velocity.read_f32().unwrap()), (p, v));
    assert!(update(&parameter, &velocity, &tensor([32], &[0.0; 32]), &settings).is_err());
}

#[test]
fn what_lies_behind_the_last_value_is_no_update() {
    // Memory that is used again holds what was there before: here, NaNs behind five values.
    for _ in 0..3 {
        drop((0..3).map(|_| tensor([8], &[f32::NAN; 8])).collect::<Vec<_>>());
        let (parameter, velocity) = (tensor([5], &[1.0; 5]), tensor([5], &[0.0; 5]));
        let gradient = tensor([5], &[2.0; 5]);
        let (rate, progress) = (tensor([1], &[0.25]), words(&[0, 0, 0, 0]));
        let settings = Settings {
            rate: &rate,
            progress: &progress,
            factor: None,
            momentum: 0.9,
            weight_decay: 0.0,
            place: 0,
        };
        update(&parameter, &velocity, &gradient, &settings).unwrap();
        assert_eq!((parameter.read_f32().unwrap(), progress.read_u32().unwrap()[2]), (vec![0.5; 5], 0));
    }
}

#[test]
fn updates_that_are_not_finite_are_left_out_and_the_step_is_taken_back() {
    let count = 33_001; // the variant that repeats its body
    let mut gradient = values(count, 1);
    // Three that are no update: no number, infinite, and one that overflows with the rate.
    let bad = [(5, f32::NAN), (20_000, f32::INFINITY), (33_000, 3e38)];
    for (place, value) in bad {
        gradient[place] = value;
    }
    let (parameter, velocity) = (tensor([count], &vec![1.0; count]), tensor([count], &vec![0.0; count]));
    let progress = words(&[4, 7, 0, 2]);
    let settings = Settings {
        rate: &tensor([1], &[100.0]),
        progress: &progress,
        factor: None,
        momentum: 0.9,
        weight_decay: 0.0,
        place: 5,
    };
    update(&parameter, &velocity, &tensor([count], &gradient), &settings).unwrap();
    let (p, v) = (parameter.read_f32().unwrap(), velocity.read_f32().unwrap());
    for i in 0..count {
        let is_bad = bad.iter().any(|(place, _)| i / 4 == place / 4);
        let (wanted_p, wanted_v) = if is_bad { (1.0, 0.0) } else { (1.0 - 100.0 * gradient[i], gradient[i]) };
        // The device may contract the product and the difference.
        assert!((p[i] - wanted_p).abs() < 1e-4 && v[i] == wanted_v, "{i}: {} {wanted_p}", p[i]);
    }
    assert_eq!(progress.read_u32().unwrap(), [4, 7, 7, 2]);
    let history = tensor([HISTORY, ENTRY], &vec![0.5; HISTORY * ENTRY]);
    settle(&history, &progress, 2).unwrap();
    assert_eq!(progress.read_u32().unwrap(), [2, 6, 1, 2]);
    assert_eq!(history.read_f32().unwrap()[6 * ENTRY..7 * ENTRY], [0.5, 0.5, 0.5, -6.0]);
    // Nothing is settled twice, and nothing where all went well.
    let settled = history.read_f32().unwrap();
    for words_before in [[2, 6, 1, 2], [4, 7, 0, 2]] {
        let progress = words(&words_before);
        settle(&history, &progress, 2).unwrap();
        assert_eq!(
            (progress.read_u32().unwrap(), history.read_f32().unwrap()),
            (words_before.to_vec(), settled.clone())
        );
    }
}

/// Sizes with a rest behind whole vectors, of one and of several workgroups, and of both variants of elementwise kernels.
const COUNTS: [usize; 7] = [1, 3, 4, 67, 2049, 33_001, 600_002];

#[test]
fn a_factor_scales_the_gradient_and_not_the_decay() {
    for count in COUNTS {
        let (mut p, g, mut v) = (values(count, 1), values(count, 2), values(count, 3));
        let (parameter, velocity) = (tensor([count], &p), tensor([count], &v));
        let settings = Settings {
            rate: &tensor([1], &[0.5]),
            progress: &words(&[0, 0, 0]),
            factor: Some(&tensor([1], &[0.25])),
            momentum: 0.5,
            weight_decay: 0.125,
            place: 0,
        };
        update(&parameter, &velocity, &tensor([count], &g), &settings).unwrap();
        for ((p, v), g) in p.iter_mut().zip(&mut v).zip(&g) {
            *v = 0.5 * *v + (0.25 * g + 0.125 * *p);
            *p -= 0.5 * *v;
        }
        // A few units in the last place: the device may contract a product and a sum.
        assert_close(&format!("velocity of {count}"), &velocity.read_f32().unwrap(), &v, 1e-6, 1e-6);
        assert_close(&format!("parameter of {count}"), &parameter.read_f32().unwrap(), &p, 1e-6, 1e-6);
    }
}

#[test]
fn sums_begin_anew_with_each_step() {
    for count in COUNTS {
        let sums = GradientSums::new(&[tensor([count], &vec![0.0; count])]).unwrap();
        let passes: Vec<Vec<f32>> = (0..3).map(|pass| values(count, pass)).collect();
        for step in 0..2 {
            let mut expected = vec![0.0f32; count];
            for (pass, gradient) in passes.iter().enumerate() {
                let progress = words(&[0, step, 0, pass as u32 + 1]);
                sums.add(0, &tensor([count], gradient), &progress).unwrap();
                expected.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
            }
            // The same additions in the same order.
            assert_eq!(sums.of(0).read_f32().unwrap(), expected, "{count}");
        }
    }
    assert!(accumulate(&tensor([3], &[0.0; 3]), &tensor([4], &[0.0; 4]), &words(&[0; 4])).is_err());
}

/// A history and the progress behind the first of two passes of step 3.
fn behind_a_step() -> (Tensor, Tensor) {
    (Tensor::full(&gpu(), [HISTORY, ENTRY], -7.0).unwrap(), words(&[8, 4, 0, 2]))
}

#[test]
fn gradients_are_clipped_by_the_norm_of_all_of_them() {
    let gradients: Vec<Vec<f32>> = COUNTS.iter().map(|&count| values(count, count as u64)).collect();
    let tensors: Vec<Tensor> = gradients.iter().map(|g| tensor([g.len()], g)).collect();
    let squares = gradients.iter().flatten().map(|&g| f64::from(g).powi(2));
    let norm = squares.sum::<f64>().sqrt();
    for limit in [0.5 * norm, 2.0 * norm] {
        let (history, progress) = behind_a_step();
        let clip = GradientClip::new(&tensors, limit as f32).unwrap();
        let run = || {
            tensors.iter().enumerate().for_each(|(i, g)| clip.measure(i, g).unwrap());
            clip.finish(&history, &progress, 2).unwrap();
            (clip.factor().read_f32().unwrap()[0], history.read_f32().unwrap())
        };
        let (factor, kept) = run();
        // 640 000 squares in partial sums of a few hundred.
        let found = kept[3 * ENTRY + 3];
        assert_close("norm", &[found], &[norm as f32], 1e-5, 0.0);
        assert_close("factor", &[factor], &[(limit / (norm + 1e-6)).min(1.0) as f32], 1e-5, 0.0);
        assert!(limit < norm || factor == 1.0, "what is below the limit is left as it is: {factor}");
        assert_eq!(kept.iter().filter(|&&v| v != -7.0).count(), 1, "the norm of one step is written");
        assert_eq!(progress.read_u32().unwrap(), [8, 4, 0, 2]);
        let bits = |(factor, kept): (f32, Vec<f32>)| (factor.to_bits(), kept[3 * ENTRY + 3].to_bits());
        assert_eq!(bits(run()), (factor.to_bits(), found.to_bits()));
    }
}

#[test]
fn a_gradient_of_zeros_is_left_as_it_is() {
    let (history, progress) = behind_a_step();
    let zeros = tensor([5], &[0.0; 5]);
    let clip = GradientClip::new(std::slice::from_ref(&zeros), 1.0).unwrap();
    clip.measure(0, &zeros).unwrap();
    clip.finish(&history, &progress, 2).unwrap();
    assert_eq!(clip.factor().read_f32().unwrap(), [1.0]);
    assert_eq!(history.read_f32().unwrap()[3 * ENTRY + 3], 0.0);
}

#[test]
fn a_norm_that_is_no_number_halts_before_its_step() {
    for bad in [f32::NAN, f32::INFINITY, 1e30] {
        let (history, progress) = behind_a_step();
        let gradient = tensor([6], &[0.0, 0.0, 0.0, 0.0, bad, 0.0]);
        let clip = GradientClip::new(std::slice::from_ref(&gradient), 1.0).unwrap();
        clip.measure(0, &gradient).unwrap();
        clip.finish(&history, &progress, 2).unwrap();
        assert_eq!(progress.read_u32().unwrap()[..3], [6, 3, 1], "{bad}");
        assert!(!history.read_f32().unwrap()[3 * ENTRY + 3].is_finite(), "{bad}");
        // What is halted stays as it is.
        clip.finish(&history, &progress, 2).unwrap();
        assert_eq!(progress.read_u32().unwrap()[..3], [6, 3, 1], "{bad}");
    }
}

#[test]
fn clipping_that_makes_no_sense_is_refused() {
    let parameter = tensor([5], &[0.0; 5]);
    for limit in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = GradientClip::new(std::slice::from_ref(&parameter), limit).err().unwrap().to_string();
        assert!(error.contains(&format!("optimizer.clip_norm = {limit}")), "{error}");
    }
    assert!(GradientClip::new(&[], 1.0).is_err());
    let partials = tensor([partial_sums(5)], &[0.0]);
    assert!(square_sums(&parameter, &partials, 1).is_err(), "there is no second place");
}
