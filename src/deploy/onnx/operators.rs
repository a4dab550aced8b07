//! How layers are said in ONNX's operators, alike for integer and float networks.

use super::builder::{Attribute, Builder, tensor};
use crate::deploy::model::Function;

/// Options by name.
pub type Attributes = Vec<(&'static str, Attribute)>;

/// Options of a Conv; [y, x] each, and pads above, left, below, right.
pub fn conv_attributes(
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    pads: [usize; 4],
    groups: usize,
) -> Attributes {
    vec![
        ("kernel_shape", Attribute::extents(&kernel)),
        ("strides", Attribute::extents(&stride)),
        ("dilations", Attribute::extents(&dilation)),
        ("pads", Attribute::extents(&pads)),
        ("group", Attribute::Int(groups as i64)),
    ]
}

/// Options of MaxPool and AveragePool; [y, x] each. Windows that do not fit are left out, as everywhere here.
pub fn window_attributes(kernel: [usize; 2], stride: [usize; 2], [y, x]: [usize; 2]) -> Attributes {
    vec![
        ("kernel_shape", Attribute::extents(&kernel)),
        ("strides", Attribute::extents(&stride)),
        ("pads", Attribute::extents(&[y, x, y, x])),
    ]
}

/// A function of each number of `input`, by nodes that begin with `name`.
///
/// HardSwish is an operator from opset 14 on; it is written as x * HardSigmoid(x), which is the same.
pub fn function(graph: &mut Builder, name: &str, function: Function, input: &str, output: &str) {
    let hard_sigmoid = || vec![("alpha", Attribute::Float(1.0 / 6.0)), ("beta", Attribute::Float(0.5))];
    match function {
        Function::Identity => graph.node(name, "Identity", &[input], output, Vec::new()),
        Function::Relu => graph.node(name, "Relu", &[input], output, Vec::new()),
        Function::Relu6 => {
            let [low, high] = ["low", "high"].map(|own| tensor(name, own));
            graph.floats(&low, &[], &[0.0]);
            graph.floats(&high, &[], &[6.0]);
            graph.node(name, "Clip", &[input, &low, &high], output, Vec::new());
        }
        Function::LeakyRelu(slope) => {
            let alpha = vec![("alpha", Attribute::Float(slope))];
            graph.node(name, "LeakyRelu", &[input], output, alpha);
        }
        Function::Sigmoid => graph.node(name, "Sigmoid", &[input], output, Vec::new()),
        Function::HSigmoid => graph.node(name, "HardSigmoid", &[input], output, hard_sigmoid()),
        Function::HSwish => {
            let gate = tensor(name, "gate");
            graph.node(&gate, "HardSigmoid", &[input], &tensor(&gate, "value"), hard_sigmoid());
            graph.node(name, "Mul", &[input, &tensor(&gate, "value")], output, Vec::new());
        }
        Function::Tanh => graph.node(name, "Tanh", &[input], output, Vec::new()),
    }
}
