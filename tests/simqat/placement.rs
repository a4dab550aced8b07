//! Where quantizers sit.

use super::*;

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
