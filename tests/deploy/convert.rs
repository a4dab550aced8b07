//! Conversion: what comes out agrees with the simulated network code by code, or says why it cannot.

use simqat::deploy::parity::{Comparison, LayerParity, Parity};
use simqat::deploy::{Conversion, Engine, Function, Int8Model, Op, convert};
use simqat::kernel::geometry::Padding;
use simqat::nn::models::{ModelInit, ResNet, ResNetDepth, convbn, lenet5};
use simqat::nn::{BatchNorm2d, BnFold, Conv2d, Dense, Layer, Network, NetworkBuilder, Slot};
use simqat::ops::Activation;
use simqat::quant::{LayerOptions, Observer, SimQat};
use simqat::tensor::Tensor;

use super::oracle;
use crate::common::gpu;
use crate::common::networks::{images, lived_in, residual};

/// The plain interpreter as an engine.
struct Interpreter(Int8Model);

impl Engine for Interpreter {
    fn model(&self) -> &Int8Model {
        &self.0
    }

    fn run(&mut self, codes: &[i8], output: &mut Vec<i8>) -> simqat::Result<()> {
        *output = self.trace(codes)?.swap_remove(self.0.output);
        Ok(())
    }

    fn trace(&mut self, codes: &[i8]) -> simqat::Result<Vec<Vec<i8>>> {
        let images = self.0.images_in(codes.len())?;
        let mut all = vec![Vec::new(); self.0.layers.len()];
        for image in codes.chunks(codes.len() / images) {
            all.iter_mut().zip(oracle::run(&self.0, image)).for_each(|(all, codes)| all.extend(codes));
        }
        Ok(all)
    }
}

/// Quantized with observers that have seen values like those it will be compared on.
fn quantized(simqat: &SimQat, builder: NetworkBuilder, seed: u64) -> Network {
    let network = simqat.apply(&lived_in(builder, seed)).unwrap();
    let shape = [&[16], &network.input_shape()[..]].concat();
    for batch in 0..2 {
        network.calibrate(&images(&shape[..], seed + u64::from(batch)), batch).unwrap();
    }
    network
}

fn compared(network: &Network, conversion: &Conversion, count: usize) -> Parity {
    let engine = Interpreter(conversion.model.clone());
    let mut comparison =
        Comparison::new(network, conversion, vec![("cpu".into(), Box::new(engine))]).unwrap();
    let shape = [&[count], &network.input_shape()[..]].concat();
    comparison.add(&images(&shape[..], 77), &vec![0; count]).unwrap();
    comparison.found().clone()
}

/// Every layer agrees but for ties.
fn agrees(simqat: &SimQat, builder: NetworkBuilder, count: usize) -> Conversion {
    let network = quantized(simqat, builder, 3);
    let conversion = convert(&network).unwrap();
    let parity = compared(&network, &conversion, count);
    let [codes, differ] = [|l: &LayerParity| l.codes, |l: &LayerParity| l.differ]
        .map(|of| parity.layers.iter().map(of).sum::<u64>());
    eprintln!("{}: {differ} of {codes} codes differ", network.name());
    assert_eq!(parity.images, count);
    for layer in &parity.layers {
        assert!(layer.max_diff <= 1, "{layer:?}");
        // The simulated sum of some hundred products of f32 is good to some 2^-20 of it, and it is at most 2^8 steps large.
        assert!(layer.farthest_from_tie < 1e-3, "{layer:?}");
        // The part of values that lie so near a tie.
        assert!(layer.differ as f64 <= 2.0 + 1e-4 * layer.codes as f64, "{layer:?}");
    }
    conversion
}

#[test]
fn lenet5_agrees_in_every_layer() {
    let conversion = agrees(&SimQat::default(), lenet5(10, ModelInit::He), 8);
    let names: Vec<&str> = conversion.model.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["input", "conv1", "pool1", "conv2", "pool2", "flatten", "fc1", "fc2", "fc3"]);
    assert!(conversion.notes.is_empty(), "{:?}", conversion.notes);
    assert!(conversion.model.layers[1].activation == Function::Relu);
}

#[test]
fn every_fold_agrees() {
    for fold in [BnFold::Without, BnFold::OneConv, BnFold::TwoConv] {
        agrees(&SimQat::default().fold(fold), convbn(10), 2);
    }
}

#[test]
fn learned_steps_and_few_bits_agree() {
    for bits in [2, 4, 7] {
        let learned =
            SimQat::default().bits(bits, bits).observer(Observer::LearnedStep, Observer::LearnedStep);
        let conversion = agrees(&learned, lenet5(10, ModelInit::He), 4);
        let Op::Conv2d(conv) = &conversion.model.layers[1].op else { panic!("a convolution") };
        assert_eq!(conv.linear.bits, bits);
        agrees(&SimQat::default().bits(bits, bits), lenet5(10, ModelInit::He), 4);
    }
}

#[test]
fn residual_networks_agree() {
    agrees(&SimQat::default(), residual(), 8);
    let resnet = ResNet::new(ResNetDepth::D18, 10).image([32; 2]).width(4);
    let conversion = agrees(&SimQat::default(), resnet.builder(), 1);
    let adds = conversion.model.layers.iter().filter(|layer| matches!(layer.op, Op::Add));
    assert!(adds.clone().all(|layer| layer.activation == Function::Relu));
    assert_eq!(adds.count(), 8);
}

/// Rounding in front of activations makes them tables, and inputs of sums have quantizers of their own.
#[test]
fn golden_stick_agrees() {
    for fused in [false, true] {
        let mut simqat = SimQat::golden_stick();
        simqat.enable_fusion = fused;
        simqat.bn_fold = fused;
        agrees(&simqat, lenet5(10, ModelInit::He), 4);
        if fused {
            agrees(&simqat, convbn(10), 1);
        }
        let activations = Network::builder("Activations", [2, 6, 6])
            .conv2d("conv", Conv2d::new(2, 4, 3))
            .activation("hswish", Activation::HSwish)
            .flatten("flatten")
            .dense("fc1", Dense::new(64, 8))
            .activation("tanh", Activation::Tanh)
            .dense("fc2", Dense::new(8, 3))
            .activation("leaky", Activation::LeakyRelu(0.1));
        let conversion = agrees(&simqat, activations, 16);
        assert_eq!(conversion.model.layers.iter().filter(|l| matches!(l.op, Op::Table(_))).count(), 3);
    }
}

#[test]
fn odd_geometry_agrees() {
    let same = Conv2d::new(3, 6, 4).stride(2).padding(Padding::Same);
    let builder = Network::builder("Odd", [3, 11, 9])
        .conv2d("same", same)
        .activation("relu6", Activation::Relu6)
        .conv2d("depthwise", Conv2d::new(6, 6, 3).groups(6).dilation(2).padding(Padding::all(2)))
        .relu("relu")
        .avg_pool2d("mean", 2)
        .flatten("flatten")
        .dense("fc", Dense::new(36, 4));
    agrees(&SimQat::default(), builder, 8);
}

/// The input goes to one layer as it is and to another flattened, and both round it to the same grid.
#[test]
fn consumers_with_one_grid_share_codes() {
    let conv = Layer::Conv2d(Conv2d::new(2, 3, 4));
    let builder = Network::builder("Shared", [2, 4, 4])
        .node("flat", Layer::Flatten, &[0])
        .node("conv", conv, &[0])
        .node("fc", Layer::Dense(Dense::new(32, 3)), &[1])
        .node("flat_conv", Layer::Flatten, &[2])
        .node("sum", Layer::Add, &[3, 4]);
    let conversion = agrees(&SimQat::default(), builder, 8);
    let names: Vec<&str> = conversion.model.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["input", "conv", "flat", "fc", "flat_conv", "sum"]);
}

/// With equal grids, a layer's codes in front of its activation and those behind it are still two; three roundings of one
/// layer have three names.
#[test]
fn what_is_rounded_differently_is_not_shared() {
    let learned = SimQat::default().observer(Observer::LearnedStep, Observer::LearnedStep);
    let builder = Network::builder("Rounded", [2, 4, 4])
        .conv2d("conv", Conv2d::new(2, 4, 3))
        .relu("relu")
        .node("sum", Layer::Add, &[1, 2])
        .node("twice", Layer::Add, &[1, 1])
        .node("all", Layer::Add, &[3, 4]);
    let placed = quantized(&learned, builder, 4);
    let signed = placed.nodes()[1].quantizers.output;
    let network = placed
        .with_quantizers("Rounded", |id, node| {
            let mut quantizers = node.quantizers;
            match id {
                1 | 2 => quantizers.output = None,
                3 | 4 => {
                    (quantizers.input, quantizers.second_input) = (signed, signed);
                }
                _ => {}
            }
            quantizers
        })
        .unwrap();
    let step = |path: &str, value: f32| {
        let parameter = network.parameter(&format!("{path}.scale")).unwrap();
        parameter.tensor.write_f32(&[value]).unwrap();
    };
    step("sum.input_quantizer", 0.02);
    step("sum.second_input_quantizer", 0.02);
    step("twice.input_quantizer", 0.03);
    step("twice.second_input_quantizer", 0.04);
    let conversion = convert(&network).unwrap();
    let parity = compared(&network, &conversion, 4);
    for layer in &parity.layers {
        assert!(layer.max_diff <= 1 && layer.farthest_from_tie < 1e-3, "{layer:?}");
    }
    let names: Vec<&str> = conversion.model.layers.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["input", "conv", "conv@sum", "sum", "conv@twice", "conv@twice.2", "twice", "all"]);
}

/// A channel whose weights are nothing beside its bias, and one that a scale of zero has switched off.
#[test]
fn dead_channels_keep_their_bias() {
    let network = quantized(&SimQat::default(), convbn(10), 5);
    for (name, factor) in [
        ("bn1.gamma", 0.0),
        ("bn2.gamma", 0.0),
        ("bn2.beta", 1e-36),
        ("bn2.running_mean", 0.0),
        ("conv3.weight", 1e-30),
    ] {
        let tensor = &network.parameter(name).unwrap().tensor;
        let mut values = tensor.read_f32().unwrap();
        let part = values.len() / network.parameter(name).unwrap().tensor.shape()[0];
        values[..part].iter_mut().for_each(|value| *value *= factor);
        tensor.write_f32(&values).unwrap();
    }
    network.observe_folded_weights().unwrap();
    let conversion = convert(&network).unwrap();
    let parity = compared(&network, &conversion, 2);
    assert!(parity.layers.iter().all(|l| l.max_diff <= 1 && l.farthest_from_tie < 1e-3), "{parity:?}");
}

fn refused(simqat: &SimQat, builder: NetworkBuilder) -> String {
    let network = quantized(simqat, builder, 1);
    convert(&network).err().expect("it has no integer form").to_string()
}

#[test]
fn what_cannot_be_converted_is_named_with_what_to_do() {
    let float = lenet5(10, ModelInit::He).build(&gpu(), 1).unwrap();
    let message = convert(&float).err().unwrap().to_string();
    assert!(message.contains("simqat calibrate"), "{message}");

    let skip = LayerOptions { skip: Some(true), ..Default::default() };
    let message = refused(&SimQat::default().for_layers("fc1", skip), lenet5(10, ModelInit::He));
    assert!(message.contains("\"fc1\"") && message.contains("skip"), "{message}");

    let apart = SimQat { enable_fusion: false, ..SimQat::default() };
    let message = refused(&apart, convbn(10));
    assert!(message.contains("\"bn1\"") && message.contains("enable_fusion"), "{message}");

    let asymmetric = SimQat::default().weights(|w| w.symmetric = false);
    let shifted =
        || Network::builder("Shifted", [1, 4, 4]).conv2d("conv", Conv2d::new(1, 2, 4)).flatten("flatten");
    let network = asymmetric.apply(&lived_in(shifted(), 1)).unwrap();
    let positive = Tensor::full(&gpu(), [2, 1, 4, 4], 0.5).unwrap();
    network.parameter("conv.weight").unwrap().tensor.write_f32(&positive.read_f32().unwrap()).unwrap();
    network.calibrate(&images([4, 1, 4, 4], 1), 0).unwrap();
    let message = convert(&network).err().unwrap().to_string();
    assert!(message.contains("\"conv\"") && message.contains("symmetric"), "{message}");

    let hidden = Network::builder("Hidden", [1, 4, 4])
        .conv2d("conv", Conv2d::new(1, 2, 3))
        .activation("sigmoid", Activation::Sigmoid)
        .flatten("flatten")
        .dense("fc", Dense::new(8, 2));
    let message = refused(&SimQat::default(), hidden);
    assert!(message.contains("\"sigmoid\"") && message.contains("golden_stick"), "{message}");

    let wide = Network::builder("Wide", [3, 150, 150]).flatten("flatten").dense("fc", Dense::new(67_500, 2));
    let message = refused(&SimQat::default(), wide);
    assert!(message.contains("\"fc\"") && message.contains("67500 products"), "{message}");

    let learned = SimQat::default().observer(Observer::LearnedStep, Observer::LearnedStep);
    let network = learned.apply(&lived_in(lenet5(10, ModelInit::He), 1)).unwrap();
    let message = convert(&network).err().unwrap().to_string();
    assert!(message.contains("never set") && message.contains("input_quantizer"), "{message}");

    let normalized = Network::builder("Output", [1, 4, 4])
        .conv2d("conv", Conv2d::new(1, 2, 4))
        .node("sum", Layer::Add, &[1, 1])
        .batch_norm2d("norm", BatchNorm2d::new(2));
    assert!(refused(&SimQat::default(), normalized).contains("\"norm\""));
}

#[test]
fn simqat_converts_too() {
    let simqat = SimQat::default();
    let network = quantized(&simqat, lenet5(10, ModelInit::He), 2);
    let model = simqat.convert(&network).unwrap();
    assert_eq!(model, convert(&network).unwrap().model);
    // The input's codes are those of the quantizer in front of the first layer.
    let steps = network.quantizer_steps(&network.nodes()[1], Slot::Input).unwrap().unwrap();
    assert_eq!(model.input().grid.scale, steps[0].step);
}
