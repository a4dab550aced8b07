//! Float networks as ONNX graphs (opset 13). Parameters keep their names, and a layer's output has the layer's.

use super::builder::{Attribute, Builder, tensor};
use super::operators::{conv_attributes, window_attributes};
use super::proto::{DataType, ModelProto};
use crate::kernel::geometry::{Extents, Padding};
use crate::nn::{BatchNorm2d, Conv2d, Layer, Network, Node};
use crate::ops::Activation;
use crate::{Error, Result};

/// The graph of a float network. [`super::write_float`] also writes it.
///
/// # Errors
/// Where a layer is a host's own, the network has fake quantizers, or the device has failed.
pub fn float_model(network: &Network) -> Result<ModelProto> {
    if let Some(node) = network.nodes().iter().find(|node| !node.quantizers.is_empty()) {
        return Err(Error::Invalid(format!(
            "layer \"{}\" has fake quantizers, which a float ONNX file would lose; convert the network to int8 and export \
             that, or export the network from before SimQat::apply",
            node.name
        )));
    }
    let mut writer = Writer { network, graph: Builder::new(network.name()) };
    for node in network.nodes() {
        writer.layer(node)?;
    }
    let output = &network.nodes()[network.output()];
    if network.output() == 0 {
        return Err(Error::Invalid(format!("{} has no layers to export", network.name())));
    }
    writer.graph.output(&output.name, &output.shape);
    Ok(writer.graph.finish(std::iter::empty()))
}

struct Writer<'a> {
    network: &'a Network,
    graph: Builder,
}

impl Writer<'_> {
    fn layer(&mut self, node: &Node) -> Result<()> {
        let name = node.name.as_str();
        let from: Vec<&Node> = node.inputs.iter().map(|&id| &self.network.nodes()[id]).collect();
        let inputs: Vec<&str> = from.iter().map(|node| node.name.as_str()).collect();
        let graph = &mut self.graph;
        match &node.layer {
            Layer::Input => graph.input(name, &node.shape),
            Layer::Conv2d(conv) => self.conv(node, conv, from[0], name)?,
            Layer::Conv2dBn(layer) => {
                self.conv(node, &layer.conv, from[0], &format!("{name}.exact"))?;
                self.batch_norm(&layer.norm_name, &layer.norm, &format!("{name}.exact"), name)?;
            }
            Layer::BatchNorm2d(norm) => self.batch_norm(name, norm, inputs[0], name)?,
            Layer::Dense(dense) => {
                let mut operands = vec![inputs[0].to_string(), self.parameter(name, "weight")?];
                if dense.bias {
                    operands.push(self.parameter(name, "bias")?);
                }
                let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
                self.graph.node(name, "Gemm", &operands, name, vec![("transB", Attribute::Int(1))]);
            }
            Layer::Activation(activation) => {
                activate(graph, name, *activation, inputs[0], name);
            }
            Layer::MaxPool2d(window) => {
                let attributes = window_attributes(window.kernel, window.stride, window.padding);
                graph.node(name, "MaxPool", &inputs, name, attributes);
            }
            Layer::AvgPool2d { window, .. }
                if window.kernel[..] == from[0].shape[1..] && window.padding == [0; 2] =>
            {
                graph.node(name, "GlobalAveragePool", &inputs, name, Vec::new());
            }
            Layer::AvgPool2d { window, count_padding } => {
                let mut attributes = window_attributes(window.kernel, window.stride, window.padding);
                attributes.push(("count_include_pad", Attribute::Int((*count_padding).into())));
                graph.node(name, "AveragePool", &inputs, name, attributes);
            }
            Layer::Flatten => graph.node(name, "Flatten", &inputs, name, Vec::new()),
            Layer::Add => graph.node(name, "Add", &inputs, name, Vec::new()),
            Layer::Custom(custom) => {
                return Err(Error::Invalid(format!(
                    "layer \"{name}\", {}, is a host's own, and ONNX has no operator for it; export a network of the \
                     library's layers",
                    custom.describe()
                )));
            }
        }
        if !matches!(node.layer, Layer::Input) {
            let is_output = std::ptr::eq(node, &self.network.nodes()[self.network.output()]);
            if !is_output {
                self.graph.describe(name, DataType::Float, &node.shape);
            }
        }
        Ok(())
    }

    fn conv(&mut self, node: &Node, conv: &Conv2d, from: &Node, output: &str) -> Result<()> {
        let name = &node.name;
        let mut operands = vec![from.name.clone(), self.parameter(name, "weight")?];
        if conv.bias {
            operands.push(self.parameter(name, "bias")?);
        }
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let [c, h, w] = [from.shape[0], from.shape[1], from.shape[2]];
        let geometry = &conv.geometry;
        let extents = geometry.extents(&[1, c, h, w].into(), &conv.weight_shape())?;
        let pads = pads(conv, &extents);
        let attributes =
            conv_attributes(conv.kernel, geometry.stride, geometry.dilation, pads, geometry.groups);
        self.graph.node(name, "Conv", &operands, output, attributes);
        Ok(())
    }

    /// By the running statistics.
    fn batch_norm(&mut self, path: &str, norm: &BatchNorm2d, input: &str, output: &str) -> Result<()> {
        let mut operands = vec![input.to_string()];
        for own in ["gamma", "beta", "running_mean", "running_var"] {
            operands.push(self.parameter(path, own)?);
        }
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let epsilon = vec![("epsilon", Attribute::Float(norm.eps))];
        self.graph.node(path, "BatchNormalization", &operands, output, epsilon);
        Ok(())
    }

    /// Writes a parameter as a constant: its name.
    fn parameter(&mut self, owner: &str, own: &str) -> Result<String> {
        let name = format!("{owner}.{own}");
        let parameter = self.network.parameter(&name);
        let parameter = parameter.ok_or_else(|| Error::Invalid(format!("the network has no \"{name}\"")))?;
        let values = parameter.tensor.read_f32()?;
        self.graph.floats(&name, parameter.tensor.shape(), &values);
        Ok(name)
    }
}

/// Rows above, columns left, rows below, columns right.
fn pads(conv: &Conv2d, extents: &Extents) -> [usize; 4] {
    let [above, left] = extents.pad;
    if let Padding::Explicit { bottom, right, .. } = conv.geometry.padding {
        return [above, left, bottom, right];
    }
    // As far as the last place of the kernel reaches beyond the input.
    let behind = |axis: usize| {
        let taps = (conv.kernel[axis] - 1) * conv.geometry.dilation[axis] + 1;
        let reach = (extents.output[axis] - 1) * conv.geometry.stride[axis] + taps;
        reach.saturating_sub(extents.input[2 + axis] + extents.pad[axis])
    };
    [above, left, behind(0), behind(1)]
}

/// An activation, by nodes that begin with `name`.
///
/// HardSwish is an operator from opset 14 on; it is written as x * HardSigmoid(x), which is the same.
fn activate(graph: &mut Builder, name: &str, activation: Activation, input: &str, output: &str) {
    let hard_sigmoid = || vec![("alpha", Attribute::Float(1.0 / 6.0)), ("beta", Attribute::Float(0.5))];
    match activation {
        Activation::Relu => graph.node(name, "Relu", &[input], output, Vec::new()),
        Activation::Relu6 => {
            let [low, high] = ["low", "high"].map(|own| tensor(name, own));
            graph.floats(&low, &[], &[0.0]);
            graph.floats(&high, &[], &[6.0]);
            graph.node(name, "Clip", &[input, &low, &high], output, Vec::new());
        }
        Activation::LeakyRelu(slope) => {
            let alpha = vec![("alpha", Attribute::Float(slope))];
            graph.node(name, "LeakyRelu", &[input], output, alpha);
        }
        Activation::Sigmoid => graph.node(name, "Sigmoid", &[input], output, Vec::new()),
        Activation::Tanh => graph.node(name, "Tanh", &[input], output, Vec::new()),
        Activation::HSigmoid => graph.node(name, "HardSigmoid", &[input], output, hard_sigmoid()),
        Activation::HSwish => {
            let gate = tensor(name, "gate");
            graph.node(&gate, "HardSigmoid", &[input], &tensor(&gate, "value"), hard_sigmoid());
            graph.node(name, "Mul", &[input, &tensor(&gate, "value")], output, Vec::new());
        }
    }
}
