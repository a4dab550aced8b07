//! Networks as data: building, printing, fusing, quantizing, and going through files.

mod common;

use std::sync::Arc;

use common::networks::{images, residual, snapshot};
use common::{assert_bits, gpu};
use simqat::autograd::Var;
use simqat::kernel::pool::Window;
use simqat::nn::models::{ModelInit, lenet5};
use simqat::nn::{BatchNorm2d, Conv2d, CustomLayer, Dense, Graph, Layer, Network, NetworkBuilder, Slot};
use simqat::ops;
use simqat::quant::SimQat;
use simqat::tensor::init::Init;
use simqat::tensor::{Shape, Tensor};
use simqat::train::checkpoint::{Checkpoint, save_network};
use simqat::{Error, Result};

fn told<T>(outcome: Result<T>) -> String {
    outcome.err().expect("this must fail").to_string()
}

fn small() -> NetworkBuilder {
    Network::builder("Small", [1, 8, 8])
        .conv2d("conv", Conv2d::new(1, 4, 3))
        .relu("relu")
        .max_pool2d("pool", 2)
        .flatten("flatten")
        .dense("fc", Dense::new(36, 3))
}

// Building

#[test]
fn mistakes_are_named_with_their_layer() {
    let gpu = simqat::gpu::Gpu::noop();
    let start = || Network::builder("Net", [1, 8, 8]).conv2d("conv", Conv2d::new(1, 4, 3));
    let cases: Vec<(NetworkBuilder, &[&str])> = vec![
        (start().conv2d("next", Conv2d::new(3, 4, 3)), &["\"next\"", "4 channels"]),
        (start().conv2d("wide", Conv2d::new(4, 4, 7)), &["\"wide\"", "[1, 4, 6, 6]"]),
        (start().conv2d("grouped", Conv2d::new(4, 6, 3).groups(3)), &["\"grouped\"", "3 groups"]),
        (start().conv2d("still", Conv2d::new(4, 6, 3).stride(0)), &["\"still\""]),
        (start().dense("fc", Dense::new(144, 10)), &["\"fc\"", "144", "[4, 6, 6]", "Flatten"]),
        (start().flatten("flat").dense("fc", Dense::new(143, 10)), &["\"fc\"", "143", "[144]"]),
        (start().flatten("flat").max_pool2d("pool", 2), &["\"pool\"", "[144]"]),
        (start().max_pool2d("pool", 7), &["\"pool\"", "[6, 6]"]),
        (start().relu("conv"), &["\"conv\"", "its own"]),
        (start().relu(""), &["names"]),
        (start().relu("my_quantizer"), &["\"my_quantizer\"", "state of quantizers"]),
        (start().batch_norm2d("bn", BatchNorm2d::new(3)), &["\"bn\"", "3 channels", "[4, 6, 6]"]),
        (start().batch_norm2d("bn", BatchNorm2d::new(4).eps(0.0)), &["\"bn\"", "eps is 0"]),
        (start().batch_norm2d("bn", BatchNorm2d::new(4).momentum(1.5)), &["\"bn\"", "momentum 1.5"]),
        (start().node("far", Layer::Flatten, &[7]), &["\"far\"", "[7]"]),
        (start().node("sum", Layer::Add, &[0, 1]), &["\"sum\"", "[1, 8, 8]", "[4, 6, 6]"]),
        (start().node("sum", Layer::Add, &[1]), &["\"sum\"", "1 inputs"]),
        (start().node("second", Layer::Input, &[]), &["\"second\"", "one input"]),
        // The first mistake is told, not what follows from it.
        (start().dense("first", Dense::new(1, 1)).dense("later", Dense::new(2, 2)), &["\"first\""]),
    ];
    for (builder, parts) in cases {
        let error = told(builder.build(&gpu, 1));
        for part in parts {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
}

#[test]
fn a_graph_that_is_no_network_is_refused() {
    let network = small().build(&simqat::gpu::Gpu::noop(), 1).unwrap();
    let refused = |change: fn(&mut Graph), part: &str| {
        let mut graph = network.graph().clone();
        change(&mut graph);
        let error = told(network.with_graph("Changed", graph));
        assert!(error.contains(part), "{part} is not in: {error}");
    };
    refused(|g| g.nodes.clear(), "0 layers");
    refused(|g| drop(g.nodes.remove(0)), "no network");
    refused(|g| g.output = 6, "output at 6");
    refused(|g| g.nodes[2].inputs = vec![4], "\"relu\", number 2");
    refused(|g| g.nodes[2].inputs = vec![0, 1], "as many as it wants");
    refused(|g| g.nodes[3].layer = Layer::Input, "");
    let copy = network.with_graph("Copy", network.graph().clone()).unwrap();
    assert_eq!(copy.to_string().replace("Copy", "Small"), network.to_string());
}

#[test]
fn a_batch_of_another_shape_is_refused() {
    let network = small().build(&gpu(), 1).unwrap();
    let error = told(network.predict(&images([2, 1, 8, 9], 1)));
    assert!(error.contains("[1, 8, 8]") && error.contains("[2, 1, 8, 9]"), "{error}");
    assert!(network.train_pass(&images([2, 64], 1)).is_err());
}

#[test]
fn parameters_have_the_names_of_their_layers_and_the_bits_of_their_seed() {
    let network = lenet5(10, ModelInit::ModelZoo).build(&gpu(), 7).unwrap();
    let names: Vec<&str> = network.parameters().iter().map(|p| p.name.as_str()).collect();
    let layers = ["conv1.weight", "conv2.weight", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"];
    assert_eq!(names[..6], layers);
    assert_eq!(network.trainable_count(), 61_684);
    let again = lenet5(10, ModelInit::ModelZoo).build(&gpu(), 7).unwrap();
    let other = lenet5(10, ModelInit::ModelZoo).build(&gpu(), 8).unwrap();
    assert_eq!(snapshot(&network), snapshot(&again));
    assert_ne!(snapshot(&network), snapshot(&other));
}

// Printing

#[test]
fn lenet5_prints_as_its_documentation_does() {
    let gpu = simqat::gpu::Gpu::noop();
    let float = lenet5(10, ModelInit::He).build(&gpu, 1).unwrap();
    insta::assert_snapshot!("lenet5_float", float);
    insta::assert_snapshot!("lenet5_default", SimQat::default().quant_delay(900).apply(&float).unwrap());
    insta::assert_snapshot!("lenet5_golden_stick", SimQat::golden_stick().apply(&float).unwrap());
}

#[test]
fn branches_are_printed_with_arrows() {
    let gpu = simqat::gpu::Gpu::noop();
    let network = residual().build(&gpu, 1).unwrap();
    insta::assert_snapshot!("residual_default", SimQat::default().apply(&network).unwrap());
}

// Fusing

/// What the plan fuses gives the bits of layer by layer.
fn assert_fused_like_layers(network: &Network, x: &Tensor) {
    let fused = network.predict(x).unwrap().read_f32().unwrap();
    let (last, layers) = network.activations(x).unwrap().pop().unwrap();
    assert_bits(&format!("{} to {last}", network.name()), &fused, &layers.read_f32().unwrap());
}

fn presets() -> [SimQat; 3] {
    [SimQat::default(), SimQat::golden_stick(), SimQat::default().bits(4, 3)]
}

#[test]
fn fused_layers_give_the_bits_of_single_ones() {
    // Pooling that leaves a column out, and pooling with gaps between its windows.
    let gaps = Window { kernel: [2, 2], stride: [3, 3], padding: [0, 0] };
    let odd = Network::builder("Odd", [1, 9, 9])
        .conv2d("conv", Conv2d::new(1, 4, 3))
        .relu("relu")
        .node("pool", Layer::MaxPool2d(gaps), &[2])
        .flatten("flatten")
        .dense("fc", Dense::new(16, 5))
        .relu("fc_relu");
    for builder in [small(), odd, residual(), lenet5(10, ModelInit::He)] {
        let network = builder.build(&gpu(), 3).unwrap();
        let shape = [&[3][..], &network.input_shape()[..]].concat();
        let x = images(shape, 4);
        assert_fused_like_layers(&network, &x);
        for simqat in presets() {
            let quantized = simqat.apply(&network).unwrap();
            // Ranges of real values, not those that every quantizer starts with.
            quantized.train_pass(&x).unwrap();
            assert_fused_like_layers(&quantized, &x);
        }
    }
}

#[test]
fn a_training_pass_computes_what_evaluation_computes() {
    let network = residual().build(&gpu(), 3).unwrap();
    let x = images([3, 2, 6, 6], 4);
    let trained = network.train_pass(&x).unwrap().output.tensor().read_f32().unwrap();
    assert_bits("float", &trained, &network.predict(&x).unwrap().read_f32().unwrap());
    // The same range again: last-batch observers see the same values.
    let quantized = SimQat::golden_stick().apply(&network).unwrap();
    let trained = quantized.train_pass(&x).unwrap().output.tensor().read_f32().unwrap();
    assert_bits("quantized", &trained, &quantized.predict(&x).unwrap().read_f32().unwrap());
}

#[test]
fn the_range_of_a_rectifier_is_that_of_all_its_values() {
    // The largest value lies in the column that pooling leaves out.
    let network = Network::builder("Net", [1, 1, 3])
        .conv2d("conv", Conv2d::new(1, 1, 1).no_bias().init(Init::Constant(1.0)))
        .relu("relu")
        .node("pool", Layer::MaxPool2d(Window { kernel: [1, 2], stride: [1, 2], padding: [0; 2] }), &[2])
        .flatten("flatten")
        .build(&gpu(), 1)
        .unwrap();
    let quantized = SimQat::default().apply(&network).unwrap();
    quantized.train_pass(&Tensor::from_f32(&gpu(), [1, 1, 1, 3], &[1.0, 2.0, 5.0]).unwrap()).unwrap();
    let range = quantized.range_state(&quantized.nodes()[2], Slot::Output).unwrap();
    // The input was rounded to its own grid first, whose end is 5 but for two roundings.
    let max = range.max.read_f32().unwrap()[0];
    assert!((max - 5.0).abs() < 1e-5, "{max}");
}

// Modes

#[test]
fn evaluation_changes_nothing() {
    let network = SimQat::default().quant_delay(2).apply(&small().build(&gpu(), 1).unwrap()).unwrap();
    network.train_pass(&images([4, 1, 8, 8], 1)).unwrap();
    let before = snapshot(&network);
    // Far outside the range that was observed.
    let far = images([4, 1, 8, 8], 2).read_f32().unwrap().iter().map(|v| v * 100.0).collect::<Vec<_>>();
    let far = Tensor::from_f32(&gpu(), [4, 1, 8, 8], &far).unwrap();
    let first = network.predict(&far).unwrap().read_f32().unwrap();
    network.activations(&far).unwrap();
    assert_bits("again", &network.predict(&far).unwrap().read_f32().unwrap(), &first);
    assert_eq!(snapshot(&network), before);
    network.train_pass(&far).unwrap();
    assert_ne!(snapshot(&network), before, "training does follow");
}

// Files

#[test]
fn float_values_go_into_the_quantized_network_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let [float_file, quantized_file] = ["float", "quantized"].map(|n| folder.path().join(n));
    let float = small().build(&gpu(), 1).unwrap();
    save_network(&float, &float_file).unwrap();

    let quantized = SimQat::default().apply(&small().build(&gpu(), 2).unwrap()).unwrap();
    quantized.train_pass(&images([4, 1, 8, 8], 1)).unwrap();
    let ranges = |n: &Network| -> Vec<_> {
        snapshot(n).into_iter().filter(|(name, _)| name.contains("quantizer")).collect()
    };
    let observed = ranges(&quantized);
    let checkpoint = Checkpoint::read(&float_file).unwrap();
    assert!(!checkpoint.is_quantized() && checkpoint.step().is_none());
    checkpoint.load_into(&quantized).unwrap();
    assert_eq!(ranges(&quantized), observed, "ranges stay as they are");
    let weights = |n: &Network| -> Vec<_> {
        snapshot(n).into_iter().filter(|(name, _)| !name.contains("quantizer")).collect()
    };
    assert_eq!(weights(&quantized), snapshot(&float));

    save_network(&quantized, &quantized_file).unwrap();
    let checkpoint = Checkpoint::read(&quantized_file).unwrap();
    assert!(checkpoint.is_quantized());
    let back = small().build(&gpu(), 3).unwrap();
    checkpoint.load_into(&back).unwrap();
    assert_eq!(snapshot(&back), snapshot(&float));
    // And whole, ranges included.
    let twin = SimQat::default().apply(&small().build(&gpu(), 4).unwrap()).unwrap();
    checkpoint.load_into(&twin).unwrap();
    assert_eq!(snapshot(&twin), snapshot(&quantized));
}

// A layer from outside

/// y = factor * x, with a parameter for the factor.
#[derive(Debug)]
struct Gain;

impl CustomLayer for Gain {
    fn describe(&self) -> String {
        "Gain<start=2>".into()
    }
    fn parameters(&self) -> Vec<(String, Shape, Init)> {
        vec![("factor".into(), [1].into(), Init::Constant(2.0))]
    }
    fn output_shape(&self, inputs: &[Shape]) -> Result<Shape> {
        match inputs {
            [one] => Ok(one.clone()),
            _ => Err(Error::Shape("a gain takes one input".into())),
        }
    }
    fn forward(&self, inputs: &[Var], parameters: &[Var]) -> Result<Var> {
        ops::mul(&inputs[0], &parameters[0])
    }
}

#[test]
fn a_layer_of_the_hosts_own_runs_forward_and_backward() {
    let network = Network::builder("Net", [1, 2, 2])
        .custom("gain", Arc::new(Gain))
        .flatten("flatten")
        .dense("fc", Dense::new(4, 1).no_bias().init(Init::Constant(1.0)))
        .build(&gpu(), 1)
        .unwrap();
    assert!(network.to_string().contains("(gain): Gain<start=2>"), "{network}");
    let x = Tensor::from_f32(&gpu(), [1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(network.predict(&x).unwrap().read_f32().unwrap(), [20.0]);
    let pass = network.train_pass(&x).unwrap();
    let gradients = pass.tape.backward(&pass.output).unwrap();
    let of = |index| gradients.of(pass.leaf(index).unwrap()).unwrap().read_f32().unwrap();
    assert_eq!((of(0), of(1)), (vec![10.0], vec![2.0, 4.0, 6.0, 8.0]));

    let quantized = SimQat::default().apply(&network).unwrap();
    let quantizers = |name: &str| quantized.nodes().iter().find(|n| n.name == name).unwrap().quantizers;
    // Nobody knows on what grid its output would be.
    assert!(quantizers("gain").is_empty() && quantizers("fc").input.is_some());
    quantized.train_pass(&x).unwrap();

    let two = Network::builder("Net", [1, 2, 2]).node("gain", Layer::Custom(Arc::new(Gain)), &[0, 0]);
    assert!(told(two.build(&gpu(), 1)).contains("\"gain\": a gain takes one input"));
}
