//! Convolutions and normalizations in one, and values that go with them.

use super::*;

#[test]
fn convolutions_are_joined_with_the_normalizations_behind_them() {
    let network = normed().build(&Gpu::noop(), 1).unwrap();
    let joined = |simqat: SimQat| -> Vec<String> {
        let quantized = simqat.apply(&network).unwrap();
        let nodes = quantized.nodes().iter();
        nodes.filter(|n| matches!(n.layer, Layer::Conv2dBn(_))).map(|n| n.name.clone()).collect()
    };
    assert_eq!(joined(SimQat::default()), ["conv1", "conv2"]);
    assert!(joined(SimQat::golden_stick()).is_empty());
    for fold in FOLDS {
        assert_eq!(joined(SimQat::golden_stick().fold(fold)).len(), 2);
    }
    // "shared" has two consumers, so its output must exist by itself.
    let quantized = SimQat::default().apply(&network).unwrap();
    assert!(quantized.nodes().iter().any(|n| n.name == "bn3"));
    assert_eq!(slots(&quantized, "conv1"), "i-w-");
    assert_eq!((slots(&quantized, "conv2"), slots(&quantized, "sum")), ("--wo".into(), "----".into()));
}

#[test]
fn what_was_joined_before_follows_the_new_options() {
    let network = normed().build(&Gpu::noop(), 1).unwrap();
    let joined = SimQat::default().apply(&network).unwrap();
    let bare = joined.with_quantizers("Bare", |_, _| Default::default()).unwrap();
    for fold in FOLDS {
        let again = SimQat::default().fold(fold).apply(&bare).unwrap();
        let folds = again.nodes().iter().filter_map(|n| match &n.layer {
            Layer::Conv2dBn(layer) => Some(layer.fold),
            _ => None,
        });
        assert_eq!(folds.collect::<Vec<_>>(), [fold; 2]);
    }
}

#[test]
fn what_is_joined_computes_what_the_float_network_computed() {
    let network = lived_in(normed(), 3);
    let x = images([5, 2, 6, 6], 4);
    let expected = network.predict(&x).unwrap().read_f32().unwrap();
    for fold in FOLDS {
        let quantized = SimQat::default().fold(fold).apply(&network).unwrap();
        assert_eq!(without_quantizers(&quantized), without_quantizers(&network), "{fold:?}: values");
        // Quantizers off: the joined layers alone.
        let bare = quantized.with_quantizers("Bare", |_, _| Default::default()).unwrap();
        let found = bare.predict(&x).unwrap().read_f32().unwrap();
        // The fold multiplies weights instead of sums: a few roundings of values around 1.
        assert_close(&format!("{fold:?}"), &found, &expected, 1e-5, 1e-5);
        // Or waiting for their delay.
        let waiting = SimQat::default().fold(fold).quant_delay(9).apply(&network).unwrap();
        let trained = waiting.train_pass(&x).unwrap().output.tensor().read_f32().unwrap();
        let batch = network.with_quantizers("Float", |_, _| Default::default()).unwrap();
        let batch = batch.train_pass(&x).unwrap().output.tensor().read_f32().unwrap();
        // Statistics of 180 values besides.
        assert_close(&format!("{fold:?} in training"), &trained, &batch, 1e-4, 1e-4);
    }
}

#[test]
fn running_statistics_follow_as_in_the_float_network() {
    let network = lived_in(normed(), 3);
    let float = network.with_quantizers("Float", |_, _| Default::default()).unwrap();
    let quantized: Vec<Network> =
        FOLDS.map(|fold| SimQat::default().fold(fold).quant_delay(9).apply(&network).unwrap()).into();
    for step in 0..3 {
        let x = images([5, 2, 6, 6], 20 + step);
        float.train_pass(&x).unwrap();
        quantized.iter().for_each(|n| drop(n.train_pass(&x).unwrap()));
    }
    for (network, fold) in quantized.iter().zip(FOLDS) {
        for name in
            ["bn1.running_mean", "bn1.running_var", "bn2.running_mean", "bn2.running_var", "bn3.running_var"]
        {
            assert_close(&format!("{fold:?}: {name}"), &read(network, name), &read(&float, name), 1e-4, 1e-5);
        }
        assert_eq!(steps(network, "bn1.steps"), 3);
    }
}

#[test]
fn applying_leaves_the_network_alone_and_carries_its_values_over() {
    let network = lived_in(normed(), 5);
    let (before, printed) = (snapshot(&network), network.to_string());
    let quantized = SimQat::default().apply(&network).unwrap();
    assert_eq!(without_quantizers(&quantized), without_quantizers(&network));
    quantized.train_pass(&images([2, 2, 6, 6], 1)).unwrap();
    let weight = &quantized.parameter("fc.weight").unwrap().tensor;
    weight.write_f32(&vec![0.5; weight.count()]).unwrap();
    assert_eq!(snapshot(&network), before);
    assert_eq!((network.to_string(), network.is_quantized()), (printed, false));
    let start = SimQat::default().apply(&network).unwrap();
    for (name, value) in [("min", -6.0f32), ("max", 6.0)] {
        let range = start.parameter(&format!("conv1.weight_quantizer.{name}")).unwrap();
        assert_eq!(range.tensor.read_f32().unwrap(), [value; 4]);
        assert!(!range.trainable);
    }
}

#[test]
fn float_checkpoints_go_into_the_quantized_network_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let [float_file, quantized_file] = ["float", "quantized"].map(|n| folder.path().join(n));
    let float = lived_in(normed(), 1);
    save_network(&float, &float_file).unwrap();
    let learned = SimQat::default().observer(Observer::LearnedStep, Observer::LearnedStep);
    for simqat in [SimQat::default(), SimQat::golden_stick(), learned] {
        let quantized = simqat.apply(&normed().build(&gpu(), 2).unwrap()).unwrap();
        quantized.train_pass(&images([4, 2, 6, 6], 1)).unwrap();
        Checkpoint::read(&float_file).unwrap().load_into(&quantized).unwrap();
        assert_eq!(without_quantizers(&quantized), without_quantizers(&float));
        save_network(&quantized, &quantized_file).unwrap();
        let back = normed().build(&gpu(), 3).unwrap();
        Checkpoint::read(&quantized_file).unwrap().load_into(&back).unwrap();
        assert_eq!(snapshot(&back), snapshot(&float));
    }
    // Statistics are not the optimizer's, and yet part of the network.
    let plain = lenet5(10, ModelInit::He).build(&gpu(), 1).unwrap();
    save_network(&plain, &float_file).unwrap();
    assert_told(Checkpoint::read(&float_file).unwrap().load_into(&float), &["another network"]);
}
