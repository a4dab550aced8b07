//! What ONNX Runtime asks of a graph before it puts integer kernels into it, looked at before a file is written: each rule is
//! a function. Where a rule does not hold the file would still run, but in f32, and nobody would be told.

use std::collections::HashMap;

use super::builder::OPSET;
use super::proto::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, TensorProto, TypeValue, ValueInfoProto,
};
use super::qdq::bias_scale;
use crate::{Error, Result};

/// Fails at the first rule that a graph of quantized layers breaks, with the layer and the rule.
///
/// # Errors
/// See above.
pub fn lint(model: &ModelProto) -> Result<()> {
    names(model)?;
    opset(model)?;
    let graph = Linted::of(model)?;
    float_ends(&graph)?;
    for node in &graph.graph.node {
        scales_are_distances(&graph, node)?;
        inputs_are_dequantized(&graph, node)?;
        outputs_are_quantized_once(&graph, node)?;
        no_quantizer_before_relu(&graph, node)?;
        weights_go_by_output(&graph, node)?;
        bias_goes_by_products(&graph, node)?;
        movers_keep_their_grid(&graph, node)?;
        gemm_is_plain(node)?;
    }
    Ok(())
}

/// Operators with weights.
const LINEAR: [&str; 2] = ["Conv", "Gemm"];
/// Operators that compute with codes as numbers.
const COMPUTING: [&str; 5] = ["Conv", "Gemm", "Add", "AveragePool", "GlobalAveragePool"];
/// Operators that only move codes.
const MOVING: [&str; 2] = ["MaxPool", "Flatten"];

/// Names: every tensor has one source, before its users.
///
/// # Errors
/// Where that does not hold.
pub fn names(model: &ModelProto) -> Result<()> {
    let graph = graph_of(model)?;
    let mut sources: HashMap<&str, &str> = HashMap::new();
    let given = graph.input.iter().map(ValueInfoProto::name).map(|name| (name, "the network's input"));
    let constants = graph.initializer.iter().map(|constant| (constant.name(), "a constant"));
    for (tensor, source) in given.chain(constants) {
        if sources.insert(tensor, source).is_some() {
            return Err(broken(
                source,
                "names",
                &format!("two tensors are named \"{tensor}\"; rename a layer"),
            ));
        }
    }
    for node in &graph.node {
        let unknown = node.input.iter().find(|input| !sources.contains_key(input.as_str()));
        if let Some(input) = unknown {
            return Err(broken(node.name(), "names", &format!("nothing before it makes \"{input}\"")));
        }
        for output in &node.output {
            if sources.insert(output, node.name()).is_some() {
                let message = format!("two tensors are named \"{output}\"; rename a layer");
                return Err(broken(node.name(), "names", &message));
            }
        }
    }
    match graph.output.iter().find(|output| !sources.contains_key(output.name())) {
        Some(output) => Err(broken(output.name(), "names", "nothing makes this output of the network")),
        None => Ok(()),
    }
}

/// Quantization for each channel came with opset 13.
fn opset(model: &ModelProto) -> Result<()> {
    let version =
        model.opset_import.iter().find(|set| set.domain().is_empty()).map_or(0, |set| set.version());
    if version < OPSET {
        let message = format!("the operators are of version {version}, and need to be of {OPSET}");
        return Err(broken("the network", "opset", &message));
    }
    Ok(())
}

/// The network takes and gives f32.
fn float_ends(graph: &Linted) -> Result<()> {
    let is_float = |value: &&ValueInfoProto| {
        let TypeValue::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
        Some(tensor.elem_type() == DataType::Float)
    };
    let mut ends = graph.graph.input.iter().chain(&graph.graph.output);
    match ends.find(|end| is_float(end) != Some(true)) {
        Some(end) => Err(broken(end.name(), "float_ends", "the network's inputs and outputs are f32")),
        None => Ok(()),
    }
}

/// Scales are positive, finite numbers.
fn scales_are_distances(graph: &Linted, node: &NodeProto) -> Result<()> {
    if !matches!(node.op_type(), "QuantizeLinear" | "DequantizeLinear") {
        return Ok(());
    }
    let scales = graph.floats(node.input.get(1));
    match scales.iter().find(|scale| !(scale.is_normal() && **scale > 0.0)) {
        Some(scale) => Err(broken(node.name(), "scales_are_distances", &format!("a scale is {scale}"))),
        None if scales.is_empty() => {
            Err(broken(node.name(), "scales_are_distances", "its scale is not a constant of f32"))
        }
        None => Ok(()),
    }
}

/// Every input of an operator that computes, an int32 bias included, comes through a DequantizeLinear.
fn inputs_are_dequantized(graph: &Linted, node: &NodeProto) -> Result<()> {
    if !COMPUTING.contains(&node.op_type()) {
        return Ok(());
    }
    for input in &node.input {
        if graph.source(input).map(NodeProto::op_type) != Some("DequantizeLinear") {
            let message = format!("its input \"{input}\" does not come from a DequantizeLinear");
            return Err(broken(node.name(), "inputs_are_dequantized", &message));
        }
    }
    Ok(())
}

/// What an operator computes goes, through a ReLU at most, to one QuantizeLinear and nowhere else.
fn outputs_are_quantized_once(graph: &Linted, node: &NodeProto) -> Result<()> {
    if !COMPUTING.contains(&node.op_type()) {
        return Ok(());
    }
    if graph.quantizer_behind(node).is_none() {
        let message =
            "its output must go to one QuantizeLinear, or one Relu and then that, and to nothing else";
        return Err(broken(node.name(), "outputs_are_quantized_once", message));
    }
    Ok(())
}

/// No quantizer stands between an operator with weights and the ReLU that alone takes its output.
fn no_quantizer_before_relu(graph: &Linted, node: &NodeProto) -> Result<()> {
    if node.op_type() != "Relu" {
        return Ok(());
    }
    // Up through DequantizeLinear and QuantizeLinear.
    let above = |node: &NodeProto, operator: &str| {
        node.input
            .first()
            .and_then(|input| graph.source(input))
            .filter(|source| source.op_type() == operator)
            .filter(|source| source.output.iter().all(|output| graph.users(output).len() == 1))
    };
    let quantizer = above(node, "DequantizeLinear").and_then(|values| above(values, "QuantizeLinear"));
    let linear = quantizer.and_then(|codes| graph.source(codes.input.first()?));
    match linear.filter(|linear| LINEAR.contains(&linear.op_type())) {
        Some(linear) => Err(broken(
            linear.name(),
            "no_quantizer_before_relu",
            &format!(
                "a quantizer stands between it and the Relu \"{}\", which alone takes its output",
                node.name()
            ),
        )),
        None => Ok(()),
    }
}

/// Weights are 8 bits with a scale for each output, along axis 0, and the same zero point for all.
fn weights_go_by_output(graph: &Linted, node: &NodeProto) -> Result<()> {
    let broken = |message: &str| Err(broken(node.name(), "weights_go_by_output", message));
    if !LINEAR.contains(&node.op_type()) {
        return Ok(());
    }
    let Some((values, weight)) = graph.constant_behind(node, 1) else {
        return broken("its weights are not a constant");
    };
    let neutral = match weight.data_type() {
        DataType::Int8 => 0,
        DataType::Uint8 => 128,
        _ => return broken("its weights are not 8 bits wide"),
    };
    if attribute(values, "axis").and_then(|axis| axis.i) != Some(0) {
        return broken("its weights' scales do not go along axis 0");
    }
    let outputs = weight.dims.first().copied().unwrap_or(0) as usize;
    if graph.floats(values.input.get(1)).len() != outputs {
        return broken(&format!("its weights need {outputs} scales, one for each output"));
    }
    let zero_points = graph.bytes(values.input.get(2));
    if zero_points.len() != outputs || zero_points.iter().any(|&zero_point| zero_point != neutral) {
        return broken(&format!("its weights' zero points must all be {neutral}"));
    }
    Ok(())
}

/// A bias is int32, along axis 0, its scales the input's times the weights', its zero point 0.
fn bias_goes_by_products(graph: &Linted, node: &NodeProto) -> Result<()> {
    let broken = |message: &str| Err(broken(node.name(), "bias_goes_by_products", message));
    if !LINEAR.contains(&node.op_type()) || node.input.len() < 3 {
        return Ok(());
    }
    let Some((values, bias)) = graph.constant_behind(node, 2) else {
        return broken("its bias is not a constant");
    };
    if bias.data_type() != DataType::Int32 || attribute(values, "axis").and_then(|axis| axis.i) != Some(0) {
        return broken("its bias must be int32 with scales along axis 0");
    }
    let scale_of = |index: usize| {
        let values = graph.source(&node.input[index]);
        values.map(|values| graph.floats(values.input.get(1))).unwrap_or_default()
    };
    let input = scale_of(0).first().copied().unwrap_or(f32::NAN);
    let products: Vec<f32> = scale_of(1).into_iter().map(|weight| bias_scale(input, weight)).collect();
    if graph.floats(values.input.get(1)) != products {
        return broken("its bias's scales must be the input's scale times the weights' scales");
    }
    if graph.bytes(values.input.get(2)).iter().any(|&byte| byte != 0) {
        return broken("its bias's zero points must be 0");
    }
    Ok(())
}

/// What only moves codes has one grid before and behind it.
fn movers_keep_their_grid(graph: &Linted, node: &NodeProto) -> Result<()> {
    let broken = |message: &str| Err(broken(node.name(), "movers_keep_their_grid", message));
    if !MOVING.contains(&node.op_type()) {
        return Ok(());
    }
    let before = node.input.first().and_then(|input| graph.source(input));
    let (Some(before), Some(behind)) = (before, graph.quantizer_behind(node)) else {
        return broken("it must stand between a DequantizeLinear and a QuantizeLinear");
    };
    let grid = |node: &NodeProto| (graph.floats(node.input.get(1)), graph.bytes(node.input.get(2)).to_vec());
    if before.op_type() != "DequantizeLinear" || grid(before) != grid(behind) {
        return broken("scale and zero point before it and behind it must be the same");
    }
    Ok(())
}

/// A Gemm is x w^T + bias.
fn gemm_is_plain(node: &NodeProto) -> Result<()> {
    if node.op_type() != "Gemm" {
        return Ok(());
    }
    let float = |name| attribute(node, name).map_or(1.0, AttributeProto::f);
    let transposed = |name| attribute(node, name).map_or(0, AttributeProto::i) != 0;
    if float("alpha") != 1.0 || float("beta") != 1.0 || transposed("transA") || !transposed("transB") {
        let message = "alpha and beta must be 1, transA 0 and transB 1";
        return Err(broken(node.name(), "gemm_is_plain", message));
    }
    Ok(())
}

fn broken(layer: &str, rule: &str, message: &str) -> Error {
    Error::Invalid(format!("layer \"{layer}\", ONNX rule {rule}: {message}"))
}

fn graph_of(model: &ModelProto) -> Result<&GraphProto> {
    model.graph.as_ref().ok_or_else(|| broken("the network", "names", "there is no graph"))
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name() == name)
}

/// A graph with its tensors found by name.
struct Linted<'a> {
    graph: &'a GraphProto,
    sources: HashMap<&'a str, &'a NodeProto>,
    users: HashMap<&'a str, Vec<&'a NodeProto>>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Linted<'a> {
    fn of(model: &'a ModelProto) -> Result<Linted<'a>> {
        let graph = graph_of(model)?;
        let mut linted = Linted {
            graph,
            sources: HashMap::new(),
            users: HashMap::new(),
            constants: graph.initializer.iter().map(|constant| (constant.name(), constant)).collect(),
        };
        for node in &graph.node {
            for output in &node.output {
                linted.sources.insert(output, node);
            }
            for input in &node.input {
                linted.users.entry(input).or_default().push(node);
            }
        }
        Ok(linted)
    }

    fn source(&self, tensor: &str) -> Option<&'a NodeProto> {
        self.sources.get(tensor).copied()
    }

    fn users(&self, tensor: &str) -> &[&'a NodeProto] {
        self.users.get(tensor).map_or(&[], Vec::as_slice)
    }

    /// The node that alone takes another's output.
    fn only_user(&self, node: &NodeProto) -> Option<&'a NodeProto> {
        let [output] = node.output.as_slice() else { return None };
        if self.graph.output.iter().any(|end| end.name() == output) {
            return None;
        }
        match self.users(output) {
            [user] => Some(user),
            _ => None,
        }
    }

    /// The QuantizeLinear that alone takes a node's output, through a Relu at most.
    fn quantizer_behind(&self, node: &NodeProto) -> Option<&'a NodeProto> {
        let user = self.only_user(node)?;
        let last = if user.op_type() == "Relu" { self.only_user(user)? } else { user };
        (last.op_type() == "QuantizeLinear").then_some(last)
    }

    /// The DequantizeLinear before input `index`, and the constant that it takes.
    fn constant_behind(&self, node: &NodeProto, index: usize) -> Option<(&'a NodeProto, &'a TensorProto)> {
        let values = self.source(node.input.get(index)?)?;
        let constant = self.constants.get(values.input.first()?.as_str())?;
        Some((values, constant))
    }

    /// The numbers of a constant of f32; none where it is no such.
    fn floats(&self, name: Option<&String>) -> Vec<f32> {
        let constant = name.and_then(|name| self.constants.get(name.as_str()));
        let Some(constant) = constant.filter(|constant| constant.data_type() == DataType::Float) else {
            return Vec::new();
        };
        let bytes = constant.raw_data().chunks_exact(4);
        bytes.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    /// The bytes of a constant; none where it is no constant.
    fn bytes(&self, name: Option<&String>) -> &'a [u8] {
        let constant = name.and_then(|name| self.constants.get(name.as_str()));
        constant.map_or(&[], |constant| constant.raw_data())
    }
}
