//! SimQAT as a rewriting of networks: options, where quantizers sit, what is joined, what is told of it.

mod common;

use common::networks::{images, residual, snapshot};
use common::{assert_bits, assert_close, gpu};
use simqat::gpu::Gpu;
use simqat::kernel::counter::FROZEN;
use simqat::kernel::geometry::Padding;
use simqat::kernel::quantize::RangeObserver;
use simqat::nn::models::{ModelInit, convbn, lenet5};
use simqat::nn::{BatchNorm2d, BnFold, Conv2d, Dense, Layer, Network, NetworkBuilder, QuantizerRule, Slot};
use simqat::quant::{LayerOptions, Observer, QuantOptions, SimQat, Style};
use simqat::tensor::Tensor;
use simqat::tensor::random::Philox;
use simqat::train::checkpoint::{Checkpoint, save_network};

const FOLDS: [BnFold; 3] = [BnFold::Without, BnFold::OneConv, BnFold::TwoConv];

/// Conv, BatchNorm and ReLU, with a bias in the second convolution, a normalization with a convolution of two
/// consumers before it, and a residual sum.
fn normed() -> NetworkBuilder {
    let conv = |i, o| Conv2d::new(i, o, 3).padding(Padding::all(1));
    Network::builder("Normed", [2, 6, 6])
        .conv2d("conv1", conv(2, 4).no_bias())
        .batch_norm2d("bn1", BatchNorm2d::new(4))
        .relu("relu1")
        .conv2d("conv2", conv(4, 4))
        .batch_norm2d("bn2", BatchNorm2d::new(4).eps(1e-3).momentum(0.8))
        .node("sum", Layer::Add, &[5, 3])
        .relu("relu2")
        .conv2d("shared", conv(4, 4))
        .batch_norm2d("bn3", BatchNorm2d::new(4).no_affine())
        .node("again", Layer::Add, &[9, 8])
        .avg_pool2d("mean", 3)
        .flatten("flatten")
        .dense("fc", Dense::new(16, 3))
}

/// With values that no initialization gives: scales around 1, shifts, statistics of other data.
fn lived_in(builder: NetworkBuilder, seed: u64) -> Network {
    let network = builder.build(&gpu(), seed).unwrap();
    let mut random = Philox::new(seed, 6);
    for p in network.parameters() {
        let (floor, spread) = match p.name.rsplit('.').next().unwrap() {
            "gamma" | "running_var" => (0.6, 0.9),
            "beta" | "running_mean" | "bias" => (-0.4, 0.8),
            _ => continue,
        };
        let values: Vec<f32> = (0..p.tensor.count()).map(|_| floor + spread * random.uniform()).collect();
        p.tensor.write_f32(&values).unwrap();
    }
    network
}

fn without_quantizers(network: &Network) -> Vec<(String, Vec<u32>)> {
    let mut all = snapshot(network);
    all.retain(|(name, _)| !name.contains("_quantizer."));
    all.sort();
    all
}

fn changed(simqat: SimQat, change: impl FnOnce(&mut SimQat)) -> SimQat {
    let mut simqat = simqat;
    change(&mut simqat);
    simqat
}

fn read(network: &Network, parameter: &str) -> Vec<f32> {
    network.parameter(parameter).unwrap().tensor.read_f32().unwrap()
}

fn steps(network: &Network, parameter: &str) -> u32 {
    network.parameter(parameter).unwrap().tensor.read_u32().unwrap()[0]
}

#[track_caller]
fn assert_told(outcome: simqat::Result<impl Sized>, parts: &[&str]) {
    let error = outcome.err().expect("this must fail").to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
}

// Options

#[test]
fn options_that_cannot_be_used_are_named_with_their_value() {
    let network = convbn(10).build(&Gpu::noop(), 1).unwrap();
    let refused = |change: fn(&mut SimQat), parts: &[&str]| {
        assert_told(changed(SimQat::default(), change).apply(&network), parts);
    };
    refused(|o| o.activations.bits = 1, &["simqat.activations.bits = 1", "2 to 8"]);
    refused(|o| o.activations.bits = 9, &["simqat.activations.bits = 9", "2 to 8"]);
    refused(|o| o.weights.bits = 0, &["simqat.weights.bits = 0", "2 to 8"]);
    refused(|o| o.activations.per_channel = true, &["activations.per_channel = true", "not supported"]);
    refused(|o| o.weights.quant_delay = 1 << 31, &["simqat.weights.quant_delay = 2147483648", "2147483647"]);
    refused(|o| o.freeze_bn = u32::MAX, &["simqat.freeze_bn = 4294967295"]);
    refused(|o| o.freeze_observers = u32::MAX, &["simqat.freeze_observers = 4294967295"]);
    let bits = |bits| LayerOptions { weight_bits: Some(bits), ..Default::default() };
    let refused = |pattern: &str, options, parts: &[&str]| {
        assert_told(SimQat::default().for_layers(pattern, options).apply(&network), parts);
    };
    refused("fc*", bits(9), &["simqat.layer.\"fc*\".weight_bits = 9", "2 to 8"]);
    refused("fcc*", bits(4), &["simqat.layer.\"fcc*\"", "matches no layer", "fc1, relu4, fc2"]);
    // The normalization is part of its convolution by then.
    refused("bn1", bits(4), &["simqat.layer.\"bn1\"", "matches no layer"]);
    for bits in 2..=8 {
        SimQat::default().bits(bits, bits).apply(&network).unwrap();
    }
    let quantized = SimQat::default().apply(&network).unwrap();
    assert_told(SimQat::default().apply(&quantized), &["ConvBnOpt", "quantized already"]);
}

#[test]
fn the_presets_are_those_of_their_documentation() {
    let (own, golden) = (SimQat::default(), SimQat::golden_stick());
    let activations = QuantOptions {
        quant_delay: 0,
        bits: 8,
        per_channel: false,
        symmetric: false,
        narrow_range: false,
        observer: Observer::LastBatch,
    };
    let weights = QuantOptions { per_channel: true, symmetric: true, ..activations };
    assert_eq!((golden.activations, golden.weights), (activations, weights));
    assert_eq!(own.activations, QuantOptions { observer: Observer::MovingAverage, ..activations });
    assert_eq!(own.weights, QuantOptions { narrow_range: true, ..weights });
    let switches = |o: &SimQat| (o.style, o.enable_fusion, o.bn_fold, o.one_conv_fold, o.freeze_bn);
    assert_eq!(switches(&golden), (Style::GoldenStick, false, false, true, 10_000_000));
    assert_eq!(switches(&own), (Style::Deploy, true, true, false, 10_000_000));
    let delayed = golden.quant_delay(900);
    assert_eq!((delayed.activations.quant_delay, delayed.weights.quant_delay), (900, 900));
}

#[test]
fn options_come_from_toml_over_the_preset_of_their_style() {
    assert_eq!(SimQat::from_toml("").unwrap(), SimQat::default());
    let text = "style = \"golden_stick\"\nenable_fusion = true\n[weights]\nobserver = \"learned_step\"\n\
                [layer.\"fc*\"]\nweight_bits = 4\n[layer.conv1]\nskip = true";
    let expected = changed(SimQat::golden_stick(), |o| {
        o.enable_fusion = true;
        o.weights.observer = Observer::LearnedStep;
    })
    .for_layers("fc*", LayerOptions { weight_bits: Some(4), ..Default::default() })
    .for_layers("conv1", LayerOptions { skip: Some(true), ..Default::default() });
    assert_eq!(SimQat::from_toml(text).unwrap(), expected);
    for (text, parts) in [
        ("bn_fol = true", &["\"simqat.bn_fol\"", "\"bn_fold\""][..]),
        ("[weights]\nbits = 9", &["simqat.weights.bits = 9"]),
        ("[weights]\nobserver = \"mean\"", &["mean", "learned_step"]),
        ("style = \"tflite\"", &["tflite", "golden_stick"]),
        ("[layer.fc1]\nweight_bit = 4", &["weight_bit", "weight_bits"]),
        ("layer = 3", &["simqat.layer", "integer"]),
        ("freeze_bn = -1", &["-1"]),
    ] {
        assert_told(SimQat::from_toml(text), parts);
    }
}

#[test]
fn the_most_specific_pattern_decides() {
    let bits = |bits| LayerOptions { weight_bits: Some(bits), ..Default::default() };
    let simqat = SimQat::default()
        .for_layers("*", bits(7))
        .for_layers("fc*", LayerOptions { activation_bits: Some(6), ..bits(4) })
        .for_layers("fc2", bits(3))
        .for_layers("?c3", LayerOptions { skip: Some(true), ..Default::default() });
    let network = simqat.apply(&lenet5(10, ModelInit::He).build(&Gpu::noop(), 1).unwrap()).unwrap();
    let of = |name: &str, slot| {
        let node = network.nodes().iter().find(|n| n.name == name).unwrap();
        match node.quantizers.get(slot)?.rule {
            QuantizerRule::Range(rule) => Some(rule.bits),
            QuantizerRule::LearnedStep(rule) => Some(rule.bits),
        }
    };
    let weights: Vec<_> = ["conv1", "fc1", "fc2", "fc3"].map(|name| of(name, Slot::Weight)).into();
    assert_eq!(weights, [Some(7), Some(4), Some(3), None]);
    assert_eq!((of("fc3", Slot::Output), of("relu1", Slot::Output)), (None, Some(8)));
}

// Where quantizers sit

/// Which quantizers a node has: inputs, weight, output.
fn slots(network: &Network, name: &str) -> String {
    let node = network.nodes().iter().find(|n| n.name == name).unwrap_or_else(|| panic!("no {name}"));
    let mark = |slot, letter| if node.quantizers.get(slot).is_some() { letter } else { '-' };
    let marks = [(Slot::Input, 'i'), (Slot::SecondInput, 'j'), (Slot::Weight, 'w'), (Slot::Output, 'o')];
    marks.into_iter().map(|(slot, letter)| mark(slot, letter)).collect()
}

#[test]
fn quantizers_sit_where_the_rules_put_them() {
    let network = residual().build(&Gpu::noop(), 1).unwrap();
    let default = SimQat::default().apply(&network).unwrap();
    let golden = SimQat::golden_stick().apply(&network).unwrap();
    for (layer, by_default, in_golden_stick) in [
        // The image comes from nobody who quantizes it.
        ("stem", "i-w-", "i-wo"),
        // Its consumer is no activation.
        ("shortcut", "i-wo", "i-wo"),
        // What it takes is quantized, or is not rounded before the ReLU.
        ("stem_relu", "---o", "---o"),
        ("inner", "--wo", "--wo"),
        // Both of its inputs are on grids; it leaves its output to the ReLU.
        ("sum", "----", "----"),
        // Golden Stick leaves sums alone, so they are on no grid.
        ("sum_relu", "---o", "i--o"),
        ("again", "---o", "----"),
        ("mean", "----", "----"),
        ("flatten", "----", "----"),
        // A mean of values on a grid lies between its points.
        ("fc", "i-wo", "i-wo"),
    ] {
        assert_eq!(slots(&default, layer), by_default, "{layer} by default");
        assert_eq!(slots(&golden, layer), in_golden_stick, "{layer} in Golden Stick");
    }
}

#[test]
fn pooling_and_flattening_hand_the_grid_on() {
    let network = lenet5(10, ModelInit::He).build(&Gpu::noop(), 1).unwrap();
    let quantized = SimQat::default().apply(&network).unwrap();
    let expected =
        [("conv1", "i-w-"), ("relu1", "---o"), ("conv2", "--w-"), ("fc1", "--w-"), ("fc3", "--wo")];
    for (layer, expected) in expected {
        assert_eq!(slots(&quantized, layer), expected, "{layer}");
    }
}

#[test]
fn behind_a_skipped_layer_its_consumers_quantize_their_inputs() {
    let network = residual().build(&Gpu::noop(), 1).unwrap();
    let skip = |pattern: &str| {
        let options = LayerOptions { skip: Some(true), ..Default::default() };
        SimQat::default().for_layers(pattern, options).apply(&network).unwrap()
    };
    let without_stem = skip("stem*");
    assert_eq!(slots(&without_stem, "stem"), "----");
    assert_eq!(
        (slots(&without_stem, "inner"), slots(&without_stem, "again")),
        ("i-wo".into(), "-j-o".into())
    );
    // The ReLU is not quantized, so the convolution before it is not left to it.
    assert_eq!(slots(&skip("stem_relu"), "stem"), "i-wo");
    // A ReLU behind a float layer needs no grid before it.
    assert_eq!(slots(&skip("stem"), "stem_relu"), "---o");
    let without_branch = skip("shortcut");
    assert_eq!(slots(&without_branch, "sum"), "-j--");
    assert!(!skip("*").is_quantized());
    let x = images([2, 2, 6, 6], 1);
    let network = residual().build(&gpu(), 1).unwrap();
    let options = LayerOptions { skip: Some(true), ..Default::default() };
    let skipped = SimQat::default().for_layers("s*", options).apply(&network).unwrap();
    let trained = skipped.train_pass(&x).unwrap().output.tensor().read_f32().unwrap();
    assert!(trained.iter().all(|v| v.is_finite()));
}

#[test]
fn learned_steps_are_unsigned_where_nothing_can_be_negative() {
    let learned = SimQat::default().observer(Observer::LearnedStep, Observer::LearnedStep);
    let signs = |simqat: &SimQat| {
        let network = simqat.apply(&residual().build(&Gpu::noop(), 1).unwrap()).unwrap();
        let of = |name: &str, slot| {
            let node = network.nodes().iter().find(|n| n.name == name).unwrap();
            match node.quantizers.get(slot).unwrap().rule {
                QuantizerRule::LearnedStep(rule) => rule.signed,
                QuantizerRule::Range(_) => panic!("{name} observes"),
            }
        };
        [
            of("stem", Slot::Input),
            of("stem", Slot::Weight),
            of("shortcut", Slot::Output),
            of("sum_relu", Slot::Output),
            of("again", Slot::Output), // the sum of two rectified tensors
            of("fc", Slot::Input),     // their mean
        ]
    };
    assert_eq!(signs(&learned), [true, true, true, false, false, false]);
    assert_eq!(signs(&changed(learned, |o| o.activations.symmetric = true)), [true; 6]);
}

// Joining

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

// Printing

#[test]
fn a_network_of_convolutions_and_normalizations_prints_in_each_form() {
    let network = convbn(10).build(&Gpu::noop(), 1).unwrap();
    insta::assert_snapshot!("convbn_float", network);
    for (name, fold) in [
        ("convbn_without_fold", BnFold::Without),
        ("convbn_one_conv", BnFold::OneConv),
        ("convbn_two_conv", BnFold::TwoConv),
    ] {
        let simqat = changed(SimQat::default().fold(fold).quant_delay(900), |o| o.freeze_bn = 4000);
        insta::assert_snapshot!(name, simqat.apply(&network).unwrap());
    }
    let golden = SimQat::golden_stick();
    insta::assert_snapshot!("convbn_golden_stick", golden.apply(&network).unwrap());
    let learned = SimQat::default().bits(4, 4).observer(Observer::LearnedStep, Observer::LearnedStep);
    insta::assert_snapshot!("convbn_learned_step", learned.apply(&network).unwrap());
}

// Freezing, calibrating, estimating anew

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
