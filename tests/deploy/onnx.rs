//! ONNX files: what ONNX Runtime computes from them, and with which operators.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use simqat::autograd::Var;
use simqat::deploy::onnx::{OnnxOptions, WeightType, write_float, write_int8};
use simqat::deploy::{Function, Grid, Int8Model, Op, Table, convert};
use simqat::kernel::geometry::Padding;
use simqat::kernel::pool::Window;
use simqat::nn::models::{ModelInit, lenet5 as float_lenet5};
use simqat::nn::{BatchNorm2d, Conv2d, CustomLayer, Dense, Layer, Network};
use simqat::ops::Activation;
use simqat::quant::SimQat;
use simqat::tensor::Shape;
use simqat::tensor::Tensor;
use simqat::tensor::init::Init;

use super::common::networks::{images, lived_in};
use super::common::{assert_close, gpu};
use super::models::{Builder, ConvShape, Random, lenet5, mixed};
use super::oracle;

/// The Python of an environment with ONNX Runtime, which script/test makes.
pub fn python() -> OsString {
    std::env::var_os("SIMQAT_ONNX_PYTHON").expect("SIMQAT_ONNX_PYTHON must name a Python with onnxruntime")
}

/// What ONNX Runtime gave.
struct Ran {
    /// The tensors that were asked for, as bytes.
    tensors: Vec<Vec<u8>>,
    /// How often each operator is in the optimized graph.
    operators: BTreeMap<String, usize>,
}

impl Ran {
    fn count(&self, operator: &str) -> usize {
        self.operators.get(operator).copied().unwrap_or(0)
    }
}

/// Checks a file and runs it on a batch; without names of tensors, for its output.
fn run(python: &OsString, model: &Path, values: &[f32], tensors: &[String]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.f32");
    std::fs::write(&input, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/script/onnx_check.py"))
        .args([model, &input, folder.path()])
        .args(tensors)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut operators = BTreeMap::new();
    for operator in said["operators"].as_array().unwrap() {
        *operators.entry(operator[0].as_str().unwrap().to_string()).or_default() += 1;
    }
    let read = |index| std::fs::read(folder.path().join(format!("{index}.bin"))).unwrap();
    Ran { tensors: (0..tensors.len().max(1)).map(read).collect(), operators }
}

/// Holds the codes of every layer over random images against the oracle's.
fn compare(what: &str, model: &Int8Model, weights: WeightType) -> Ran {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    write_int8(model, &OnnxOptions { weights }, &path).unwrap();
    let image: usize = model.input().shape.iter().product();
    let codes = Random::new(77).codes(image * 8, 8);
    let values: Vec<f32> = codes.iter().map(|&code| model.input().grid.value(code)).collect();
    let tensors: Vec<String> = model.layers.iter().map(|layer| format!("{}.codes", layer.name)).collect();
    let ran = run(&python, &path, &values, &tensors);
    let expected: Vec<_> = codes.chunks(image).map(|codes| oracle::run(model, codes)).collect();
    let (mut all, mut differ) = (0, 0);
    for (id, layer) in model.layers.iter().enumerate() {
        let expected: Vec<i8> = expected.iter().flat_map(|layers| layers[id].clone()).collect();
        let actual: Vec<i8> = ran.tensors[id].iter().map(|&byte| (byte ^ 0x80) as i8).collect();
        assert_eq!(actual.len(), expected.len(), "{}", layer.name);
        let apart = |(a, e): (&i8, &i8)| (i32::from(*a) - i32::from(*e)).abs();
        let apart: Vec<i32> = actual.iter().zip(&expected).map(apart).collect();
        // A tie, rounded up here and to the even code there, or an f32 beside it.
        assert!(apart.iter().all(|&apart| apart <= 1), "{what}, {}: {:?}", layer.name, apart.iter().max());
        all += apart.len();
        differ += apart.iter().filter(|&&apart| apart > 0).count();
    }
    println!("{what}: {differ} of {all} codes differ from ONNX Runtime's, by 1");
    // An f32 factor moves a code of at most 255 steps by 2^-15 of a step: a few in 100 000 pass a half, and what they
    // change in the layers behind them.
    assert!(differ * 1000 <= all, "{what}");
    ran
}

/// Every layer with weights is an integer operator, and no float one is left.
fn assert_integer(ran: &Ran, model: &Int8Model) {
    let layers = |wanted: fn(&Op) -> bool| model.layers.iter().filter(|layer| wanted(&layer.op)).count();
    assert_eq!(ran.count("QLinearConv"), layers(|op| matches!(op, Op::Conv2d(_))), "{:?}", ran.operators);
    assert_eq!(ran.count("QGemm"), layers(|op| matches!(op, Op::Dense(_))), "{:?}", ran.operators);
    assert_eq!(ran.count("QLinearAdd"), layers(|op| matches!(op, Op::Add)), "{:?}", ran.operators);
    for float in
        ["Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "Add", "AveragePool", "GlobalAveragePool"]
    {
        assert_eq!(ran.count(float), 0, "{:?}", ran.operators);
    }
}

#[test]
#[ignore = "wants ONNX Runtime in the Python that SIMQAT_ONNX_PYTHON names"]
fn onnx_runtime_computes_the_same_codes_in_integers() {
    for seed in [5, 6] {
        for (what, model) in [("LeNet5", lenet5(seed)), ("all layers", mixed(seed))] {
            let ran = compare(what, &model, WeightType::Uint8);
            assert_integer(&ran, &model);
        }
    }
}

#[test]
#[ignore = "wants ONNX Runtime in the Python that SIMQAT_ONNX_PYTHON names"]
fn signed_weights_within_7_bits_are_exact_too() {
    for (what, mut model) in [("LeNet5", lenet5(7)), ("all layers", mixed(8))] {
        for layer in &mut model.layers {
            if let Op::Conv2d(simqat::deploy::Conv2d { linear, .. }) | Op::Dense(linear) = &mut layer.op {
                linear.weight.iter_mut().for_each(|weight| *weight /= 2);
            }
        }
        let ran = compare(what, &model, WeightType::Int8);
        assert_integer(&ran, &model);
    }
}

#[test]
#[ignore = "wants ONNX Runtime in the Python that SIMQAT_ONNX_PYTHON names"]
fn a_relu_that_ends_at_the_lowest_code_takes_no_operator() {
    let mut model = lenet5(9);
    for id in 1..model.layers.len() {
        let before = model.layers[model.layers[id].inputs[0]].grid;
        let layer = &mut model.layers[id];
        match layer.op {
            Op::MaxPool2d(_) | Op::Flatten => layer.grid = before,
            _ if layer.activation == Function::Relu => layer.grid.zero_point = i8::MIN,
            _ => {}
        }
    }
    model.check().unwrap();
    let ran = compare("ReLU", &model, WeightType::Uint8);
    assert_integer(&ran, &model);
    assert_eq!((ran.count("Relu"), ran.count("Clip")), (0, 0), "{:?}", ran.operators);
}

#[test]
#[ignore = "wants ONNX Runtime in the Python that SIMQAT_ONNX_PYTHON names"]
fn functions_and_narrow_grids_agree() {
    let mut b = Builder::new(11, &[2, 12, 12]);
    let x = b.conv(0, 3, ConvShape::square(3));
    for function in [
        Function::Identity,
        Function::Relu,
        Function::Relu6,
        Function::LeakyRelu(0.125),
        Function::Sigmoid,
        Function::HSigmoid,
        Function::HSwish,
        Function::Tanh,
    ] {
        b.table(x, function);
    }
    let padded = simqat::deploy::Window { kernel: [3, 2], stride: [2, 1], padding: [1, 1] };
    b.avg_pool(x, padded);
    let mut model = b.finish().unwrap();
    // 4 bits.
    let last = model.layers.last_mut().unwrap();
    last.grid = Grid { scale: last.grid.scale * 20.0, zero_point: -3, low: -8, high: 7 };
    let ran = compare("functions", &model, WeightType::Uint8);
    assert_eq!(ran.count("QLinearConv"), 1, "{:?}", ran.operators);
}

#[test]
#[ignore = "wants ONNX Runtime in the Python that SIMQAT_ONNX_PYTHON names"]
fn tables_behind_their_only_source_keep_both_roundings() {
    for function in [Function::Identity, Function::Relu, Function::Relu6] {
        let mut b = Builder::new(13, &[2, 9, 9]);
        let x = b.conv(0, 3, ConvShape::square(3));
        let y = b.table(x, function);
        b.conv(y, 4, ConvShape::square(3));
        let mut model = b.finish().unwrap();
        // A grid that begins at 0 and is wider than the one before: what an optimizer of graphs takes for no operator at all.
        let before = model.layers[x].grid;
        let grid = Grid { scale: before.scale * 1.37, zero_point: -128, low: -128, high: 127 };
        (model.layers[y].grid, model.layers[y].op) = (grid, Op::Table(Table::new(function, &before, &grid)));
        let ran = compare(&format!("{function:?}"), &model, WeightType::Uint8);
        assert_integer(&ran, &model);
        assert_eq!(ran.count("Gather"), 1, "{:?}", ran.operators);
    }
}

#[test]
#[ignore = "wants ONNX Runtime in the Python that SIMQAT_ONNX_PYTHON names"]
fn quantizers_behind_every_layer_agree() {
    // Style golden_stick: of a convolution and its ReLU, each has a quantizer.
    let float = lived_in(float_lenet5(10, ModelInit::He), 5);
    let network = SimQat::golden_stick().apply(&float).unwrap();
    network.calibrate(&images([16, 1, 32, 32], 6), 0).unwrap();
    let model = convert(&network).unwrap().model;
    let tables = model.layers.iter().filter(|layer| matches!(layer.op, Op::Table(_))).count();
    assert!(tables >= 4, "{tables}");
    let ran = compare("golden_stick", &model, WeightType::Uint8);
    assert_integer(&ran, &model);
}

#[test]
#[ignore = "wants ONNX Runtime in the Python that SIMQAT_ONNX_PYTHON names"]
fn float_networks_predict_the_same() {
    let gpu = gpu();
    let window =
        |kernel, stride, padding| Window { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2] };
    let same = |channels: usize, kernel: usize| Conv2d::new(channels, 8, kernel).padding(Padding::Same);
    let mut b = Network::builder("floats", [3, 13, 17])
        .conv2d("conv1", same(3, 4).stride(2))
        .batch_norm2d("bn1", BatchNorm2d::new(8).eps(1e-3))
        .relu("relu1");
    let stem = b.last();
    b = b.conv2d("conv2", same(8, 3).dilation(2).groups(4).no_bias());
    let branch = b.last();
    b = b.add("sum", [stem, branch]);
    for (name, activation) in [
        ("relu6", Activation::Relu6),
        ("leaky", Activation::LeakyRelu(0.1)),
        ("sigmoid", Activation::Sigmoid),
        ("tanh", Activation::Tanh),
        ("hsigmoid", Activation::HSigmoid),
        ("hswish", Activation::HSwish),
    ] {
        b = b.activation(name, activation);
    }
    let uneven = Padding::Explicit { top: 2, bottom: 0, left: 1, right: 3 };
    let network =
        b.max_pool2d_with("max", window(3, 2, 1)).conv2d("conv3", Conv2d::new(8, 6, 3).padding(uneven));
    let before = network.last();
    let network = network
        .node("with_padding", Layer::AvgPool2d { window: window(3, 1, 1), count_padding: true }, &[before])
        .node("without", Layer::AvgPool2d { window: window(3, 2, 1), count_padding: false }, &[before + 1])
        .global_avg_pool2d("mean")
        .flatten("flatten")
        .dense("fc", Dense::new(6, 5))
        .build(&gpu, 3)
        .unwrap();
    let mut random = Random::new(4);
    // Statistics and shifts other than 0 and 1.
    for parameter in
        network.parameters().iter().filter(|p| p.name.starts_with("bn1.") && !p.name.ends_with("steps"))
    {
        let values: Vec<f32> = (0..8).map(|_| 0.5 + random.unit() as f32).collect();
        parameter.tensor.write_f32(&values).unwrap();
    }
    let values: Vec<f32> = (0..2 * 3 * 13 * 17).map(|_| random.unit() as f32 * 4.0 - 2.0).collect();
    let x = Tensor::from_f32(&gpu, [2, 3, 13, 17], &values).unwrap();
    let expected = network.predict(&x).unwrap().read_f32().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("float.onnx");
    write_float(&network, &path).unwrap();
    let ran = run(&python(), &path, &values, &[]);
    let floats = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
    let actual: Vec<f32> = ran.tensors[0].chunks(4).map(floats).collect();
    // Two orders of summation over less than 200 products.
    assert_close("ONNX Runtime", &actual, &expected, 1e-4, 1e-5);
}

#[derive(Debug)]
struct Own;

impl CustomLayer for Own {
    fn describe(&self) -> String {
        "Own<>".into()
    }
    fn parameters(&self) -> Vec<(String, Shape, Init)> {
        Vec::new()
    }
    fn output_shape(&self, inputs: &[Shape]) -> simqat::Result<Shape> {
        Ok(inputs[0].clone())
    }
    fn forward(&self, inputs: &[Var], _: &[Var]) -> simqat::Result<Var> {
        Ok(inputs[0].clone())
    }
}

#[test]
fn what_onnx_cannot_say_is_refused_by_name() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("float.onnx");
    let network = Network::builder("own", [4]).dense("fc", Dense::new(4, 4));
    let custom = network.custom("mine", Arc::new(Own)).build(&gpu, 1).unwrap();
    let message = write_float(&custom, &path).unwrap_err().to_string();
    assert!(message.contains("\"mine\"") && message.contains("Own<>"), "{message}");
    let float = Network::builder("net", [4]).dense("fc", Dense::new(4, 4)).build(&gpu, 1).unwrap();
    let quantized = SimQat::default().apply(&float).unwrap();
    let message = write_float(&quantized, &path).unwrap_err().to_string();
    assert!(message.contains("fake quantizers"), "{message}");
    assert!(!path.exists());
}
