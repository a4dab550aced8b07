//! Integer networks as ONNX graphs of QuantizeLinear and DequantizeLinear pairs (opset 13).
//!
//! A layer is written as: its inputs' values, its operator in f32, QuantizeLinear, and DequantizeLinear for its users. ONNX
//! Runtime puts an integer kernel in the place of such a group. Of a layer `conv1` the graph has the tensors `conv1.codes`
//! and `conv1.value`, and the constants `conv1.scale`, `conv1.weight` and so on. A table is looked up by codes.
//!
//! ONNX rounds halves to even, and takes sums to codes by an f32: a code can differ by 1 from this crate's engines where
//! the exact number is about a half.

use super::builder::{Attribute, Builder, tensor};
use super::operators::{conv_attributes, window_attributes};
use super::proto::{DataType, ModelProto};
use crate::Result;
use crate::deploy::Grid;
use crate::deploy::model::{Function, Int8Model, Layer, Linear, Op, Padding, Table};

/// How an integer network is written.
///
/// Activations are codes without sign (the code + 128): for signed ones ONNX Runtime keeps convolutions in f32 on x86.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnnxOptions {
    /// How weights are written.
    pub weights: WeightType,
}

/// How the codes of weights are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightType {
    /// The code + 128 with the zero point 128: exact in ONNX Runtime on every processor.
    #[default]
    Uint8,
    /// The code with the zero point 0, which some other runtimes ask for.
    ///
    /// On x86 processors without VNNI, ONNX Runtime adds pairs of such products in 16 bits, and cuts off what they cannot
    /// hold: where activations and weights of 8 bits are large, codes are far off. Weights within 7 bits are safe.
    Int8,
}

impl WeightType {
    fn data_type(self) -> DataType {
        match self {
            WeightType::Uint8 => DataType::Uint8,
            WeightType::Int8 => DataType::Int8,
        }
    }

    /// The byte that stands for a code.
    fn byte(self, code: i8) -> u8 {
        match self {
            WeightType::Uint8 => unsigned(code),
            WeightType::Int8 => code as u8,
        }
    }
}

/// A code + 128.
fn unsigned(code: i8) -> u8 {
    code as u8 ^ 0x80
}

/// The graph of an integer network. [`super::write_int8`] also checks and writes it.
///
/// # Errors
/// Where it is no network that engines could run ([`Int8Model::check`]).
pub fn int8_model(model: &Int8Model, options: &OnnxOptions) -> Result<ModelProto> {
    model.check()?;
    let mut writer = Writer { model, options, graph: Builder::new(&model.name) };
    for layer in &model.layers {
        writer.layer(layer);
    }
    let output = model.output();
    // The output's values have the name of their layer, as in a float network.
    writer.dequantize(output, &output_name(model));
    writer.graph.output(&output_name(model), &output.shape);
    Ok(writer.graph.finish(model.metadata.iter()))
}

/// A network that is nothing but its input gives it a second name.
fn output_name(model: &Int8Model) -> String {
    let name = &model.output().name;
    if model.output == 0 { tensor(name, "output") } else { name.clone() }
}

struct Writer<'a> {
    model: &'a Int8Model,
    options: &'a OnnxOptions,
    graph: Builder,
}

impl Writer<'_> {
    /// A layer, and for its users its values.
    fn layer(&mut self, layer: &Layer) {
        let name = layer.name.as_str();
        let from: Vec<&Layer> = layer.inputs.iter().map(|&id| &self.model.layers[id]).collect();
        let inputs: Vec<String> = from.iter().map(|layer| tensor(&layer.name, "value")).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let exact = tensor(name, "exact");
        let graph = &mut self.graph;
        let Grid { low, high, .. } = layer.grid;
        match &layer.op {
            Op::Input => {
                graph.input(name, &layer.shape);
                self.quantize(layer, name, [low, high]);
            }
            Op::Conv2d(conv) => {
                let [kh, kw] = conv.kernel;
                let weight = [conv.linear.scale.len(), conv.channels_per_group(), kh, kw];
                let operands = self.linear(layer, &conv.linear, &weight, from[0].grid.scale);
                let operands: Vec<&str> =
                    inputs.iter().copied().chain(operands.iter().map(String::as_str)).collect();
                let Padding { top, left, bottom, right } = conv.padding;
                let pads = [top, left, bottom, right];
                let attributes = conv_attributes(conv.kernel, conv.stride, conv.dilation, pads, conv.groups);
                self.graph.node(name, "Conv", &operands, &exact, attributes);
                self.finish(layer, &exact);
            }
            Op::Dense(linear) => {
                let outputs = linear.scale.len();
                let weight = [outputs, linear.weight.len() / outputs];
                let operands = self.linear(layer, linear, &weight, from[0].grid.scale);
                let operands: Vec<&str> =
                    inputs.iter().copied().chain(operands.iter().map(String::as_str)).collect();
                let transposed = vec![("transB", Attribute::Int(1))];
                self.graph.node(name, "Gemm", &operands, &exact, transposed);
                self.finish(layer, &exact);
            }
            Op::MaxPool2d(window) => {
                graph.node(
                    name,
                    "MaxPool",
                    &inputs,
                    &exact,
                    window_attributes(window.kernel, window.stride, window.padding),
                );
                self.quantize(layer, &exact, [i8::MIN, i8::MAX]);
            }
            Op::Flatten => {
                graph.node(name, "Flatten", &inputs, &exact, Vec::new());
                self.quantize(layer, &exact, [i8::MIN, i8::MAX]);
            }
            Op::AvgPool2d(window) => {
                if window.kernel[..] == from[0].planes()[1..] && window.padding == [0; 2] {
                    graph.node(name, "GlobalAveragePool", &inputs, &exact, Vec::new());
                } else {
                    let mut attributes = window_attributes(window.kernel, window.stride, window.padding);
                    attributes.push(("count_include_pad", Attribute::Int(1)));
                    graph.node(name, "AveragePool", &inputs, &exact, attributes);
                }
                self.finish(layer, &exact);
            }
            Op::Add => {
                graph.node(name, "Add", &inputs, &exact, Vec::new());
                self.finish(layer, &exact);
            }
            Op::Table(table) => self.look_up(layer, table, &from[0].name),
        }
        let users =
            self.model.layers.iter().filter(|user| {
                user.inputs.iter().any(|&input| std::ptr::eq(&self.model.layers[input], layer))
            });
        if users.count() > 0 {
            self.dequantize(layer, &tensor(name, "value"));
        }
    }

    /// Weights and bias with their scales: the names of their values.
    fn linear(&mut self, layer: &Layer, linear: &Linear, shape: &[usize], input_scale: f32) -> Vec<String> {
        let outputs = linear.scale.len();
        let [weight, scale, zero_point, value] =
            ["weight", "weight_scale", "weight_zero_point", "weight_value"]
                .map(|own| tensor(&layer.name, own));
        let ty = self.options.weights;
        let bytes = linear.weight.iter().map(|&code| ty.byte(code)).collect();
        self.graph.bytes(&weight, ty.data_type(), shape, bytes);
        self.graph.floats(&scale, &[outputs], &linear.scale);
        self.graph.bytes(&zero_point, ty.data_type(), &[outputs], vec![ty.byte(0); outputs]);
        let operands = [weight.as_str(), &scale, &zero_point];
        let axis = || vec![("axis", Attribute::Int(0))];
        self.graph.node(&tensor(&weight, "dequantize"), "DequantizeLinear", &operands, &value, axis());
        let mut values = vec![value];
        if linear.bias.iter().any(|&bias| bias != 0) {
            let [bias, scale, zero_point, value] =
                ["bias", "bias_scale", "bias_zero_point", "bias_value"].map(|own| tensor(&layer.name, own));
            let scales: Vec<f32> =
                linear.scale.iter().map(|&weight| bias_scale(input_scale, weight)).collect();
            self.graph.integers(&bias, &[outputs], &linear.bias);
            self.graph.floats(&scale, &[outputs], &scales);
            self.graph.integers(&zero_point, &[outputs], &vec![0; outputs]);
            let operands = [bias.as_str(), &scale, &zero_point];
            self.graph.node(&tensor(&bias, "dequantize"), "DequantizeLinear", &operands, &value, axis());
            values.push(value);
        }
        values
    }

    /// Activation and codes of the values `exact`.
    ///
    /// A ReLU is written where 0 has the lowest code of the type: ONNX Runtime drops it, since QuantizeLinear ends there.
    /// Other ends are cut off from the codes; a Clip before QuantizeLinear would keep the operator in f32.
    fn finish(&mut self, layer: &Layer, exact: &str) {
        if layer.activation == Function::Relu && layer.grid.zero_point == i8::MIN {
            let relu = tensor(&layer.name, "relu");
            self.graph.node(&relu, "Relu", &[exact], &tensor(&relu, "exact"), Vec::new());
            self.quantize(layer, &tensor(&relu, "exact"), layer.ends());
        } else {
            self.quantize(layer, exact, layer.ends());
        }
    }

    /// Codes, between `ends`, of the values `exact`.
    fn quantize(&mut self, layer: &Layer, exact: &str, ends: [i8; 2]) {
        let [codes, rounded] = ["codes", "rounded"].map(|own| tensor(&layer.name, own));
        let clipped = ends != [i8::MIN, i8::MAX];
        let [scale, zero_point] = self.grid(layer);
        let graph = &mut self.graph;
        let output = if clipped { &rounded } else { &codes };
        let quantize = tensor(&layer.name, "quantize");
        graph.node(&quantize, "QuantizeLinear", &[exact, &scale, &zero_point], output, Vec::new());
        if clipped {
            let [clip, low, high] = ["clip", "low", "high"].map(|own| tensor(&layer.name, own));
            for (name, code) in [(&low, ends[0]), (&high, ends[1])] {
                graph.bytes(name, DataType::Uint8, &[], vec![unsigned(code)]);
            }
            graph.node(&clip, "Clip", &[&rounded, &low, &high], &codes, Vec::new());
        }
        graph.describe(&codes, DataType::Uint8, &layer.shape);
    }

    /// Codes by the codes of `before`: a Gather from the table itself, which is exact for every function.
    ///
    /// Relu, Clip and Identity between two quantizers would not do: ONNX Runtime drops them where the quantizer behind says the
    /// same, and then makes one of the two quantizers, with a scale that no layer was trained for.
    fn look_up(&mut self, layer: &Layer, table: &Table, before: &str) {
        let [entries, places, codes] = ["table", "places", "codes"].map(|own| tensor(&layer.name, own));
        let bytes = table.codes.iter().map(|&code| unsigned(code)).collect();
        self.graph.bytes(&entries, DataType::Uint8, &[table.codes.len()], bytes);
        let to_int32 = vec![("to", Attribute::Int(DataType::Int32 as i64))];
        let before = tensor(before, "codes");
        self.graph.node(&tensor(&entries, "cast"), "Cast", &[&before], &places, to_int32);
        self.graph.node(&layer.name, "Gather", &[&entries, &places], &codes, Vec::new());
        self.graph.describe(&codes, DataType::Uint8, &layer.shape);
        self.grid(layer);
    }

    /// The constants of a layer's grid.
    fn grid(&mut self, layer: &Layer) -> [String; 2] {
        let [scale, zero_point] = ["scale", "zero_point"].map(|own| tensor(&layer.name, own));
        self.graph.floats(&scale, &[], &[layer.grid.scale]);
        self.graph.bytes(&zero_point, DataType::Uint8, &[], vec![unsigned(layer.grid.zero_point)]);
        [scale, zero_point]
    }

    /// What the codes stand for, as the tensor `value`.
    fn dequantize(&mut self, layer: &Layer, value: &str) {
        let [codes, scale, zero_point] = ["codes", "scale", "zero_point"].map(|own| tensor(&layer.name, own));
        let name = tensor(value, "dequantize");
        self.graph.node(&name, "DequantizeLinear", &[&codes, &scale, &zero_point], value, Vec::new());
    }
}

/// Scale of a bias: one step is one step of the input times one of the weight. ONNX Runtime holds it against this product.
pub(super) fn bias_scale(input: f32, weight: f32) -> f32 {
    input * weight
}
