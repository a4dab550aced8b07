//! Options without effect are named with the reason, and options with an effect are not.

mod common;

use common::networks::residual;
use simqat::gpu::Gpu;
use simqat::kernel::geometry::Padding;
use simqat::nn::models::{ModelInit, convbn, lenet5};
use simqat::nn::{BatchNorm2d, Conv2d, Layer, Network, NetworkBuilder};
use simqat::quant::{Finding, Length, SimQat};
use simqat::train::{Recipe, Variant};

fn built(builder: NetworkBuilder) -> Network {
    builder.build(&Gpu::noop(), 1).unwrap()
}

fn plain() -> Network {
    built(lenet5(10, ModelInit::He))
}

fn normed() -> Network {
    built(convbn(10))
}

/// A normalization that no convolution can be joined with: the sum takes the convolution's output, too.
fn unjoined() -> Network {
    let conv = Layer::Conv2d(Conv2d::new(2, 2, 3).padding(Padding::Same));
    built(
        Network::builder("Unjoined", [2, 6, 6])
            .node("conv", conv, &[0])
            .batch_norm2d("bn", BatchNorm2d::new(2))
            .node("sum", Layer::Add, &[1, 2])
            .relu("relu"),
    )
}

fn simqat(toml: &str) -> SimQat {
    SimQat::from_toml(toml).unwrap_or_else(|e| panic!("{toml}: {e}"))
}

/// Fails unless the findings are these: each an option with its value, and a part of the reason.
#[track_caller]
fn assert_found(what: &str, findings: &[Finding], expected: &[(&str, &str)]) {
    let options: Vec<&str> = findings.iter().map(|f| f.option.as_str()).collect();
    let named: Vec<&str> = expected.iter().map(|(option, _)| *option).collect();
    assert_eq!(options, named, "{what}: {findings:#?}");
    for (finding, (_, part)) in findings.iter().zip(expected) {
        assert!(finding.reason.contains(part), "{what}: {part:?} is not in: {finding}");
    }
}

#[track_caller]
fn assert_told(network: &Network, toml: &str, expected: &[(&str, &str)]) {
    assert_found(toml, &simqat(toml).lint(network), expected);
}

#[test]
fn a_finding_is_a_sentence() {
    let findings = simqat("enable_fusion = false").lint(&normed());
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["simqat.bn_fold = true has no effect: enable_fusion is false; set it to true"]);
}

#[test]
fn options_with_an_effect_are_not_named() {
    let golden = |options: &str| format!("style = \"golden_stick\"\n{options}");
    let everywhere = [
        "",
        "[activations]\nquant_delay = 900\n[weights]\nquant_delay = 900",
        "freeze_observers = 9",
        "[activations]\nbits = 4\nsymmetric = true\nnarrow_range = true\nobserver = \"learned_step\"",
        "[weights]\nbits = 4\nsymmetric = false\nnarrow_range = false\nper_channel = false\nobserver = \"moving_average\"",
        // What is for all, said again for some.
        "[layer.\"*\"]\nweight_bits = 8\nskip = false",
        "[layer.conv1]\nskip = true",
    ];
    for network in [plain(), normed()] {
        for options in everywhere {
            assert_told(&network, options, &[]);
            assert_told(&network, &golden(options), &[]);
        }
        // The one layer that is not skipped goes by it.
        assert_told(
            &network,
            "[layer]\n\"*\" = { skip = true, weight_bits = 4 }\nfc1 = { skip = false }",
            &[],
        );
        // The one layer whose weights observe a range goes by it.
        let one_observes = "[weights]\nobserver = \"learned_step\"\nsymmetric = false\n[layer.fc1]\n\
                            weight_observer = \"last_batch\"";
        assert_told(&network, one_observes, &[]);
        assert_told(&network, "[layer.relu1]\nactivation_bits = 4", &[]);
    }
    for form in
        ["bn_fold = false", "bn_fold = true\none_conv_fold = true", "bn_fold = true\none_conv_fold = false"]
    {
        assert_told(&normed(), form, &[]);
        assert_told(&normed(), &format!("{form}\nfreeze_bn = 9"), &[]);
        assert_told(&normed(), &golden(&format!("enable_fusion = true\n{form}")), &[]);
    }
    assert_told(&normed(), "enable_fusion = false\nbn_fold = false\nfreeze_bn = 9", &[]);
    let two_conv = "enable_fusion = true\nbn_fold = true\none_conv_fold = false\nfreeze_bn = 9";
    assert_told(&normed(), &golden(two_conv), &[]);
    assert_told(
        &built(residual()),
        "[layer]\nsum = { activation_bits = 4 }\nshortcut = { skip = true }",
        &[],
    );
}

#[test]
fn options_of_fusion_and_normalizations_without_effect_are_named() {
    let golden = |network: &Network, options: &str, expected: &[(&str, &str)]| {
        assert_told(network, &format!("style = \"golden_stick\"\n{options}"), expected);
    };
    let off = "enable_fusion is false; set it to true";
    let no_pair = "no Conv2d whose only consumer is a BatchNorm2d";
    golden(&normed(), "bn_fold = true", &[("simqat.bn_fold = true", off)]);
    // Also where the preset says bn_fold = true.
    assert_told(&normed(), "enable_fusion = false", &[("simqat.bn_fold = true", off)]);
    let both = "enable_fusion is false; set it and bn_fold to true";
    golden(&normed(), "one_conv_fold = false", &[("simqat.one_conv_fold = false", both)]);
    let bn_fold = "bn_fold is false; set it to true";
    golden(
        &normed(),
        "enable_fusion = true\none_conv_fold = false",
        &[("simqat.one_conv_fold = false", bn_fold)],
    );
    golden(&plain(), "enable_fusion = true", &[("simqat.enable_fusion = true", no_pair)]);
    assert_told(&plain(), "one_conv_fold = true", &[("simqat.one_conv_fold = true", no_pair)]);
    assert_told(&plain(), "freeze_bn = 9", &[("simqat.freeze_bn = 9", "no BatchNorm2d")]);
    let one_conv = "enable_fusion = true\nbn_fold = true\nfreeze_bn = 9";
    golden(&normed(), one_conv, &[("simqat.freeze_bn = 9", "set enable_fusion and bn_fold to true")]);
    // In the form of two convolutions, and no convolution was joined.
    golden(
        &unjoined(),
        "enable_fusion = true\nbn_fold = true\none_conv_fold = false\nfreeze_bn = 9",
        &[
            ("simqat.bn_fold = true", no_pair),
            ("simqat.enable_fusion = true", no_pair),
            ("simqat.freeze_bn = 9", "fold alone, and there is none; set style to \"deploy\""),
            ("simqat.one_conv_fold = false", no_pair),
        ],
    );
    assert_told(&unjoined(), "freeze_bn = 9", &[]);
}

#[test]
fn options_of_quantizers_without_effect_are_named() {
    let learned = |kind: &str| format!("[{kind}]\nobserver = \"learned_step\"\n");
    let both = learned("activations") + &learned("weights");
    let frozen = ("simqat.freeze_observers = 9", "learns its step");
    assert_told(&plain(), &format!("freeze_observers = 9\n{both}"), &[frozen]);
    // By patterns: poolings and the input are not asked.
    let learn = "{ weight_observer = \"learned_step\", activation_observer = \"learned_step\" }";
    let by_pattern = format!(
        "freeze_observers = 9\n[layer]\n\"conv*\" = {learn}\n\"fc*\" = {learn}\n\"relu*\" = {{ activation_observer = \
         \"learned_step\" }}"
    );
    assert_told(&plain(), &by_pattern, &[frozen]);
    let weights = learned("weights") + "symmetric = false";
    assert_told(&plain(), &weights, &[("simqat.weights.symmetric = false", "always symmetric")]);
    let overridden = "[weights]\nbits = 4\n[layer.\"*\"]\nweight_bits = 5";
    assert_told(&plain(), overridden, &[("simqat.weights.bits = 4", "simqat.layer say otherwise")]);
    // All activations are learned, and those that can be negative have a lowest code.
    assert_told(&plain(), &(learned("activations") + "narrow_range = true"), &[]);
}

#[test]
fn options_of_layers_without_effect_are_named() {
    let told = |layer: &str, expected: &[(&str, &str)]| {
        assert_told(&plain(), &format!("[layer]\n{layer}"), expected);
    };
    // Its input is on a grid already, and its output is the ReLU's to quantize.
    let bits = "simqat.layer.\"conv2\".activation_bits = 4";
    told("conv2 = { activation_bits = 4 }", &[(bits, "leaves its own to relu2; set it for relu2")]);
    let nowhere = "quantized in no case";
    for layer in ["pool*", "input", "flatten"] {
        let own = |option: &str| format!("simqat.layer.\"{layer}\".{option}");
        let (activations, skip, weights) =
            (own("activation_bits = 4"), own("skip = true"), own("weight_bits = 4"));
        let expected: &[(&str, &str)] =
            &[(&activations, "no such quantizers"), (&skip, nowhere), (&weights, "have no weights")];
        told(&format!("\"{layer}\" = {{ skip = true, activation_bits = 4, weight_bits = 4 }}"), expected);
        told(&format!("\"{layer}\" = {{ skip = true }}"), &expected[1..2]);
    }
    let own = |key: &str| format!("simqat.layer.\"fc1\".{key}");
    told(
        "fc1 = { weight_observer = \"learned_step\", weight_symmetric = false }",
        &[(&own("weight_symmetric = false"), "learned step of weights is always symmetric")],
    );
    let skipped = "skip = true leaves the layer without";
    told("fc1 = { skip = true, weight_bits = 4 }", &[(&own("weight_bits = 4"), skipped)]);
    // Without the skip it would have none either.
    told("fc1 = { skip = true, activation_bits = 4 }", &[(&own("activation_bits = 4"), "set it for relu3")]);
    told("fc1 = {}", &[("simqat.layer.\"fc1\" = {}", "says nothing")]);
    told("\"relu*\" = { weight_bits = 4 }", &[("simqat.layer.\"relu*\".weight_bits = 4", "no weights")]);
    told(
        "\"relu*\" = { activation_observer = \"learned_step\", activation_narrow_range = true }",
        &[("simqat.layer.\"relu*\".activation_narrow_range = true", "cannot be negative")],
    );
    told(
        "\"fc*\" = { weight_bits = 4 }\nfc1 = { weight_bits = 5 }\nfc2 = { weight_bits = 5 }\nfc3 = { weight_bits = 5 }",
        &[("simqat.layer.\"fc*\".weight_bits = 4", "simqat.layer say otherwise")],
    );
    // Both of its inputs are on grids, and its output is the ReLU's.
    let sum = [
        ("simqat.layer.\"sum\".activation_bits = 4", "leaves its own to sum_relu"),
        ("simqat.layer.\"sum\".skip = true", nowhere),
    ];
    assert_told(&built(residual()), "[layer.sum]\nskip = true\nactivation_bits = 4", &sum);
    told("nowhere = { skip = true }", &[("simqat.layer.\"nowhere\".skip = true", "matches no layer")]);
}

#[test]
fn nothing_left_to_be_quantized_is_one_finding() {
    let skipped = [("simqat", "no layer is left to be quantized: every one is skipped")];
    assert_told(&plain(), "[layer]\n\"*\" = { skip = true }", &skipped);
    let by_kind = "[weights]\nbits = 4\n[layer]\n\"conv*\" = { skip = true }\n\"relu*\" = { skip = true }\n\
                   \"fc*\" = { skip = true, weight_bits = 4 }";
    assert_told(&plain(), by_kind, &skipped);
    let nothing = built(Network::builder("Nothing", [2, 6, 6]).avg_pool2d("mean", 3));
    assert_told(&nothing, "[weights]\nbits = 4", &[("simqat", "no layer that can be quantized")]);
}

#[test]
fn options_that_a_training_is_too_short_for_are_named() {
    let assert_told_for = |steps: usize, toml: &str, expected: &[(&str, &str)]| {
        assert_found(
            &format!("{toml} for {steps} steps"),
            &simqat(toml).lint_for(&normed(), Length { steps, accumulate: 1 }),
            expected,
        );
    };
    let freezing = "freeze_bn = 100\nfreeze_observers = 100";
    let short = "the training has 100 steps; make it smaller";
    assert_told_for(101, freezing, &[]);
    assert_told_for(
        100,
        freezing,
        &[("simqat.freeze_bn = 100", short), ("simqat.freeze_observers = 100", short)],
    );
    // Never is no request.
    assert_told_for(10, "freeze_bn = 10000000", &[]);
    let delays = "[activations]\nquant_delay = 90\n[weights]\nquant_delay = 100\n[layer.fc1]\nweight_quant_delay = 300\n\
                  [layer.\"bn*\"]\nweight_quant_delay = 300";
    let lost = ("simqat.layer.\"bn*\".weight_quant_delay = 300", "matches no layer");
    let float = "the training has 100 steps and would be in float to its end; make it smaller";
    assert_told_for(301, delays, &[lost]);
    assert_told_for(
        100,
        delays,
        &[
            lost,
            ("simqat.layer.\"fc1\".weight_quant_delay = 300", float),
            ("simqat.weights.quant_delay = 100", float),
        ],
    );
    // Delays and freezing count batches, of which a step may have several.
    let length = Length { steps: 25, accumulate: 4 };
    let short = "the training has 100 batches (25 steps of 4); make it smaller";
    for (toml, expected) in [
        ("freeze_bn = 99", &[][..]),
        ("freeze_bn = 100", &[("simqat.freeze_bn = 100", short)]),
        (
            "[weights]\nquant_delay = 100",
            &[("simqat.weights.quant_delay = 100", "100 batches (25 steps of 4) and would be in float")],
        ),
    ] {
        assert_found(toml, &simqat(toml).lint_for(&normed(), length), expected);
    }
    // A delay that nobody goes by is told as that.
    let overridden = "[weights]\nquant_delay = 300\n[layer.\"*\"]\nweight_quant_delay = 3";
    assert_told_for(100, overridden, &[("simqat.weights.quant_delay = 300", "say otherwise")]);
}

#[test]
fn estimating_statistics_anew_in_vain_is_named() {
    let told = |text: &str, variant, steps, expected: &[(&str, &str)]| {
        let recipe =
            Recipe::parse(&format!("train.reestimate_batches = 3\nmodel.init = \"he\"\n{text}")).unwrap();
        let findings = recipe.lint_for(variant, 10, steps).unwrap();
        assert_found(text, &findings, expected);
    };
    let option = "train.reestimate_batches = 3";
    for variant in [Variant::Float, Variant::SimQat] {
        told("", variant, 5000, &[(option, "the network has no BatchNorm2d")]);
        told("model.name = \"convbn\"", variant, 5000, &[]);
    }
    let frozen = "model.name = \"convbn\"\nsimqat.freeze_bn = 4000";
    told(frozen, Variant::SimQat, 5000, &[(option, "is frozen when the training's 5000 steps are done")]);
    told(frozen, Variant::SimQat, 3000, &[("simqat.freeze_bn = 4000", "the training has 3000 steps")]);
    told(frozen, Variant::Float, 5000, &[]);
    let accumulated = "train.accumulate = 4\nmodel.name = \"convbn\"\nsimqat.freeze_bn = 4000";
    let batches = "is frozen when the training's 4400 batches (1100 steps of 4) are done";
    told(accumulated, Variant::SimQat, 1100, &[(option, batches)]);
}
