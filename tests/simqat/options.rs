//! What may be asked for, and what is refused.

use super::*;

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
