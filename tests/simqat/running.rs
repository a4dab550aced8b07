//! Freezing, calibrating, estimating anew: what a quantized network does as it runs.

use super::*;

#[test]
fn freezing_holds_ranges_and_statistics_where_they_are() {
    let network = lived_in(normed(), 1);
    let quantized = SimQat::default().apply(&network).unwrap();
    quantized.train_pass(&images([4, 2, 6, 6], 1)).unwrap();
    let still = |what: &str| -> Vec<(String, Vec<u32>)> {
        let mut all = snapshot(&quantized);
        all.retain(|(name, _)| {
            let of_quantizer = name.contains("_quantizer.") && !name.ends_with("steps");
            let of_norm = name.contains("running_");
            (what == "ranges" && of_quantizer) || (what == "statistics" && of_norm)
        });
        assert!(!all.is_empty());
        all
    };
    let moved = |ranges: bool, statistics: bool, seed: u64| {
        let before = [still("ranges"), still("statistics")];
        quantized.train_pass(&images([4, 2, 6, 6], seed)).unwrap();
        assert_eq!(before[0] != still("ranges"), ranges, "ranges moved");
        assert_eq!(before[1] != still("statistics"), statistics, "statistics moved");
    };
    moved(true, true, 2);
    quantized.freeze_observers(true).unwrap();
    moved(false, true, 3);
    quantized.freeze_batch_norm(true).unwrap();
    moved(false, false, 4);
    assert_eq!(steps(&quantized, "bn1.steps"), FROZEN | 4);
    assert_eq!(steps(&quantized, "conv1.input_quantizer.steps"), FROZEN | 4);
    quantized.freeze_observers(false).unwrap();
    moved(true, false, 5);
    quantized.freeze_batch_norm(false).unwrap();
    moved(true, true, 6);
}

#[test]
fn freezing_by_step_begins_at_that_step_in_every_form() {
    let x = |seed| images([4, 2, 6, 6], seed);
    for fold in FOLDS {
        for style in [Style::Deploy, Style::GoldenStick] {
            let simqat = changed(SimQat::preset(style).fold(fold), |o| o.freeze_bn = 2);
            let network = simqat.apply(&lived_in(normed(), 1)).unwrap();
            let honoured = style == Style::Deploy || fold == BnFold::TwoConv;
            for step in 0..4 {
                let before = read(&network, "bn1.running_var");
                network.train_pass(&x(step)).unwrap();
                let moved = before != read(&network, "bn1.running_var");
                assert_eq!(moved, step < 2 || !honoured, "{fold:?}, {style:?}, step {step}");
            }
        }
    }
    let simqat = changed(SimQat::default(), |o| o.freeze_observers = 2);
    let network = simqat.apply(&lived_in(normed(), 1)).unwrap();
    for step in 0..4 {
        let before = read(&network, "conv1.input_quantizer.max");
        network.train_pass(&x(step)).unwrap();
        assert_eq!(before != read(&network, "conv1.input_quantizer.max"), step < 2, "step {step}");
    }
}

#[test]
fn a_quantized_training_counts_its_own_steps() {
    let float = lived_in(normed(), 1);
    for seed in 0..3 {
        float.train_pass(&images([4, 2, 6, 6], seed)).unwrap();
    }
    float.freeze_batch_norm(true).unwrap();
    assert_eq!(steps(&float, "bn1.steps"), FROZEN | 3);
    // Two steps of its own, not of the float training's.
    let network = SimQat::default().freeze_bn(2).apply(&float).unwrap();
    for step in 0..4 {
        let before = read(&network, "bn1.running_var");
        network.train_pass(&images([4, 2, 6, 6], step)).unwrap();
        assert_eq!(before != read(&network, "bn1.running_var"), step < 2, "step {step}");
    }
    network.freeze_observers(true).unwrap();
    network.restart_counters().unwrap();
    assert_eq!((steps(&network, "bn1.steps"), steps(&network, "conv1.input_quantizer.steps")), (0, 1));
}

#[test]
fn freezing_observers_keeps_no_learned_step_from_its_start() {
    let simqat = SimQat::default().observer(Observer::MovingAverage, Observer::LearnedStep).quant_delay(2);
    let network = simqat.apply(&lived_in(normed(), 1)).unwrap();
    network.freeze_observers(true).unwrap();
    let scale = || read(&network, "conv1.weight_quantizer.scale")[0];
    for step in 0..3 {
        assert_eq!(scale(), 0.0, "before its delay is over");
        network.train_pass(&images([4, 2, 6, 6], step)).unwrap();
    }
    assert!(scale() > 0.0);
}

#[test]
fn a_skipped_convolution_pays_for_no_fold() {
    let skip = LayerOptions { skip: Some(true), ..Default::default() };
    let network = SimQat::default().for_layers("conv1", skip).apply(&lived_in(normed(), 1)).unwrap();
    let fold = |name: &str| match &network.nodes().iter().find(|n| n.name == name).unwrap().layer {
        Layer::Conv2dBn(layer) => layer.fold,
        other => panic!("{other:?}"),
    };
    assert_eq!((fold("conv1"), fold("conv2")), (BnFold::Without, BnFold::TwoConv));
}

#[test]
fn frozen_training_computes_what_evaluation_computes() {
    let x = images([4, 2, 6, 6], 9);
    for fold in FOLDS {
        let network = SimQat::default().fold(fold).apply(&lived_in(normed(), 1)).unwrap();
        network.train_pass(&images([4, 2, 6, 6], 1)).unwrap();
        network.freeze_batch_norm(true).unwrap();
        network.freeze_observers(true).unwrap();
        let trained = network.train_pass(&x).unwrap().output.tensor().read_f32().unwrap();
        let evaluated = network.predict(&x).unwrap().read_f32().unwrap();
        assert_bits(&format!("{fold:?}"), &trained, &evaluated);
    }
}

#[test]
fn calibration_finds_ranges_and_changes_nothing_else() {
    let float = lived_in(normed(), 1);
    let batches: Vec<Tensor> = (0..3).map(|seed| images([4, 2, 6, 6], seed)).collect();
    for simqat in [SimQat::default(), SimQat::golden_stick()] {
        let network = simqat.apply(&float).unwrap();
        for (batch, x) in batches.iter().enumerate() {
            network.calibrate(x, batch as u32).unwrap();
        }
        assert_eq!(without_quantizers(&network), without_quantizers(&float));
        let ends = |x: &Tensor| {
            let values = x.read_f32().unwrap();
            let low = values.iter().copied().fold(0.0, f32::min);
            let high = values.iter().copied().fold(0.0, f32::max);
            (low, high)
        };
        let (low, high) =
            batches.iter().map(ends).fold((0.0, 0.0), |a, e| (a.0 + e.0 / 3.0, a.1 + e.1 / 3.0));
        // Three roundings of numbers around 3.
        assert_close("low", &read(&network, "conv1.input_quantizer.min"), &[low], 1e-6, 0.0);
        assert_close("high", &read(&network, "conv1.input_quantizer.max"), &[high], 1e-6, 0.0);
        // No steps of a training, but no fresh range either.
        assert_eq!(steps(&network, "conv1.input_quantizer.steps"), 1);
        // Ready to be used. Calibrated with what it is used on, so that nothing is cut off.
        let network = simqat.apply(&float).unwrap();
        network.calibrate(&batches[0], 0).unwrap();
        let found = network.predict(&batches[0]).unwrap().read_f32().unwrap();
        let expected = float.predict(&batches[0]).unwrap().read_f32().unwrap();
        let largest = expected.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
        let differ = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Some ten roundings to 8 bits, each off by half a code of some 200.
        assert!(differ > 0.0 && differ < 0.05 * largest, "{differ} of {largest}");
    }
}

#[test]
fn statistics_estimated_anew_are_the_mean_over_the_batches() {
    let network = lived_in(normed(), 1);
    let batches: Vec<Tensor> = (0..3).map(|seed| images([4, 2, 6, 6], seed)).collect();
    let single = |x: &Tensor| {
        let copy = network.with_quantizers("Copy", |_, _| Default::default()).unwrap();
        copy.reestimate_batch_norm(x, 0).unwrap();
        ["bn1.running_mean", "bn1.running_var"].map(|name| read(&copy, name))
    };
    let each: Vec<_> = batches.iter().map(single).collect();
    let ranges = |n: &Network| -> Vec<_> {
        let of_activations = |name: &str| name.contains("put_quantizer.");
        snapshot(n).into_iter().filter(|(name, _)| of_activations(name)).collect()
    };
    for fold in FOLDS {
        let quantized = SimQat::default().fold(fold).apply(&network).unwrap();
        quantized.calibrate(&batches[0], 0).unwrap();
        let before = ranges(&quantized);
        for (batch, x) in batches.iter().enumerate() {
            quantized.reestimate_batch_norm(x, batch as u32).unwrap();
        }
        assert_eq!(ranges(&quantized), before, "observers of activations see nothing");
        assert_eq!(
            (steps(&quantized, "bn1.steps"), steps(&quantized, "conv1.weight_quantizer.steps")),
            (0, 1)
        );
        for (i, name) in ["bn1.running_mean", "bn1.running_var"].iter().enumerate() {
            let mean: Vec<f32> = (0..4).map(|c| each.iter().map(|e| e[i][c] / 3.0).sum()).collect();
            // The quantized input and weights differ from float ones by a per cent.
            assert_close(&format!("{fold:?}: {name}"), &read(&quantized, name), &mean, 0.05, 0.02);
        }
    }
    // Folded weights change with the statistics, and their ranges with them.
    let quantized = SimQat::default().apply(&network).unwrap();
    quantized.calibrate(&batches[0], 0).unwrap();
    quantized.reestimate_batch_norm(&batches[0], 0).unwrap();
    quantized.observe_folded_weights().unwrap();
    let (weight, gamma, var) = (
        read(&quantized, "conv1.weight"),
        read(&quantized, "bn1.gamma"),
        read(&quantized, "bn1.running_var"),
    );
    let reach: Vec<f32> = (0..4)
        .map(|c| {
            weight[c * 18..][..18].iter().fold(0.0, |m: f32, w| m.max(w.abs())) * gamma[c]
                / (var[c] + 1e-5).sqrt()
        })
        .collect();
    // A square root, a quotient and a product.
    assert_close("folded weights", &read(&quantized, "conv1.weight_quantizer.max"), &reach, 1e-6, 0.0);
    let plain = network.with_quantizers("Plain", |_, _| Default::default()).unwrap();
    for (batch, x) in batches.iter().enumerate() {
        plain.reestimate_batch_norm(x, batch as u32).unwrap();
    }
    let mean: Vec<f32> = (0..4).map(|c| each.iter().map(|e| e[1][c] / 3.0).sum()).collect();
    assert_close("float", &read(&plain, "bn1.running_var"), &mean, 1e-5, 0.0);
}

#[test]
fn every_combination_of_options_runs() {
    let network = lived_in(normed(), 2);
    let x = images([4, 2, 6, 6], 3);
    let observers = [Observer::LastBatch, Observer::MovingAverage, Observer::LearnedStep];
    for fold in FOLDS {
        for style in [Style::Deploy, Style::GoldenStick] {
            for observer in observers {
                for bits in [2, 5, 8] {
                    let simqat =
                        SimQat::preset(style).fold(fold).bits(bits, bits).observer(observer, observer);
                    let quantized = simqat.apply(&network).unwrap();
                    let pass = quantized.train_pass(&x).unwrap();
                    let seed = Tensor::full(&gpu(), pass.output.tensor().shape(), 1.0).unwrap();
                    let gradients = pass.tape.backward_from(&pass.output, seed).unwrap();
                    for (index, p) in quantized.parameters().iter().enumerate().filter(|(_, p)| p.trainable) {
                        let gradient = pass.leaf(index).and_then(|leaf| gradients.of(leaf));
                        // A bias before a normalization does nothing in training.
                        let Some(gradient) = gradient else {
                            assert!(p.name.ends_with(".bias"), "{} has no gradient", p.name);
                            continue;
                        };
                        let values = gradient.read_f32().unwrap();
                        assert!(values.iter().all(|v| v.is_finite()), "{}: {fold:?} {style:?}", p.name);
                    }
                    let predicted = quantized.predict(&x).unwrap().read_f32().unwrap();
                    assert!(predicted.iter().all(|v| v.is_finite()));
                }
            }
        }
    }
    // The kernel's two observers are two of the three.
    let rule = SimQat::default().apply(&network).unwrap().nodes()[1].quantizers.input.unwrap().rule;
    assert!(matches!(rule, QuantizerRule::Range(r) if r.observer == RangeObserver::MovingAverage));
}
