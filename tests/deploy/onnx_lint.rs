//! The rules for ONNX files, each with a graph that breaks it and no other.

use simqat::deploy::onnx::proto::{
    AttributeProto, DataType, GraphProto, ModelProto, NodeProto, TensorProto, TypeValue,
};
use simqat::deploy::onnx::{OnnxOptions, WeightType, int8_model, lint, write_int8};

use super::models::{lenet5, mixed};

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn node<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut NodeProto {
    graph(model).node.iter_mut().find(|node| node.name() == name).unwrap()
}

fn constant<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut TensorProto {
    graph(model).initializer.iter_mut().find(|constant| constant.name() == name).unwrap()
}

fn bytes(constant: &mut TensorProto) -> &mut Vec<u8> {
    constant.raw_data.as_mut().unwrap()
}

fn attribute<'a>(node: &'a mut NodeProto, name: &str) -> &'a mut AttributeProto {
    node.attribute.iter_mut().find(|attribute| attribute.name() == name).unwrap()
}

/// Whole before `damage`, and refused behind it for the rule, at the layer.
#[track_caller]
fn refused(rule: &str, layer: &str, damage: impl FnOnce(&mut ModelProto)) {
    let mut model = int8_model(&mixed(3), &OnnxOptions { weights: WeightType::Int8 }).unwrap();
    lint(&model).unwrap();
    damage(&mut model);
    let message = lint(&model).unwrap_err().to_string();
    assert!(message.contains(&format!("ONNX rule {rule}:")), "{message}");
    assert!(message.contains(&format!("\"{layer}\"")), "{message}");
}

#[test]
fn written_graphs_pass() {
    for weights in [WeightType::Uint8, WeightType::Int8] {
        for model in [lenet5(1), mixed(2)] {
            lint(&int8_model(&model, &OnnxOptions { weights }).unwrap()).unwrap();
        }
    }
}

#[test]
fn names_are_single_and_known() {
    refused("names", "layer1.weight", |model| {
        constant(model, "layer2.weight").name = Some("layer1.weight".into());
    });
    refused("names", "layer5", |model| node(model, "layer5").input[1] = "nowhere".into());
    refused("names", "nowhere", |model| graph(model).output[0].name = Some("nowhere".into()));
    // Two layers of one name.
    let mut model = lenet5(1);
    model.layers[3].name = "layer1".into();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let message = write_int8(&model, &OnnxOptions::default(), &path).unwrap_err().to_string();
    assert!(message.contains("\"layer1\"") && message.contains("rename"), "{message}");
    assert!(!path.exists());
}

#[test]
fn versions_and_ends() {
    refused("opset", "the network", |model| model.opset_import[0].version = Some(12));
    refused("float_ends", "layer11", |model| {
        let value = graph(model).output[0].r#type.as_mut().unwrap().value.as_mut().unwrap();
        let TypeValue::TensorType(tensor) = value;
        tensor.elem_type = Some(DataType::Uint8 as i32);
    });
}

#[test]
fn scales_are_distances() {
    for scale in [0.0f32, -1.0, f32::NAN] {
        refused("scales_are_distances", "layer1.weight.dequantize", |model| {
            bytes(constant(model, "layer1.weight_scale"))[4..8].copy_from_slice(&scale.to_le_bytes());
        });
    }
}

#[test]
fn inputs_and_outputs_go_through_quantizers() {
    refused("inputs_are_dequantized", "layer1", |model| {
        node(model, "layer1").input[2] = "layer1.bias_scale".into();
    });
    refused("inputs_are_dequantized", "layer5", |model| node(model, "layer5").input[1] = "input".into());
    // A second user of what a convolution computes.
    refused("outputs_are_quantized_once", "layer1", |model| {
        let mut second = node(model, "layer1.quantize").clone();
        second.output[0] = "second".into();
        let behind = graph(model).node.iter().position(|node| node.name() == "layer1.quantize").unwrap();
        graph(model).node.insert(behind + 1, second);
    });
}

#[test]
fn no_quantizer_stands_before_a_relu() {
    refused("no_quantizer_before_relu", "layer3", |model| {
        // layer3 has no activation, so its values go to the addition; now a Relu takes them first.
        let mut relu = node(model, "layer6").clone();
        relu.op_type = Some("Relu".into());
        relu.name = Some("late".into());
        relu.attribute.clear();
        relu.input = vec!["layer3.value".into()];
        relu.output = vec!["late.exact".into()];
        let mut quantize = node(model, "layer3.quantize").clone();
        quantize.input[0] = "late.exact".into();
        quantize.output[0] = "late.codes".into();
        let mut dequantize = node(model, "layer3.value.dequantize").clone();
        dequantize.input[0] = "late.codes".into();
        dequantize.output[0] = "late.value".into();
        let add = node(model, "layer5");
        let input = add.input.iter_mut().find(|input| *input == "layer3.value").unwrap();
        *input = "late.value".into();
        let behind = graph(model).node.iter().position(|node| node.name() == "layer5").unwrap();
        for (place, node) in [relu, quantize, dequantize].into_iter().enumerate() {
            graph(model).node.insert(behind + place, node);
        }
    });
}

#[test]
fn weights_and_bias() {
    let axis = |model: &mut ModelProto, name: &str| {
        attribute(node(model, name), "axis").i = Some(1);
    };
    refused("weights_go_by_output", "layer2", |model| axis(model, "layer2.weight.dequantize"));
    refused("weights_go_by_output", "layer2", |model| {
        bytes(constant(model, "layer2.weight_zero_point"))[1] = 1
    });
    refused("weights_go_by_output", "layer2", |model| {
        bytes(constant(model, "layer2.weight_scale")).truncate(4);
    });
    refused("weights_go_by_output", "layer2", |model| {
        constant(model, "layer2.weight").data_type = Some(DataType::Float as i32);
    });
    refused("bias_goes_by_products", "layer2", |model| axis(model, "layer2.bias.dequantize"));
    refused("bias_goes_by_products", "layer2", |model| {
        bytes(constant(model, "layer2.bias_scale"))[0] ^= 1;
    });
    refused("bias_goes_by_products", "layer2", |model| {
        bytes(constant(model, "layer2.bias_zero_point"))[0] = 1;
    });
    refused("bias_goes_by_products", "layer2", |model| {
        constant(model, "layer2.bias").data_type = Some(DataType::Float as i32);
    });
}

#[test]
fn movers_keep_their_grid() {
    for layer in ["layer6", "layer10"] {
        refused("movers_keep_their_grid", layer, |model| {
            bytes(constant(model, &format!("{layer}.zero_point")))[0] ^= 1;
        });
    }
}

#[test]
fn a_gemm_is_plain() {
    refused("gemm_is_plain", "layer11", |model| {
        attribute(node(model, "layer11"), "transB").i = Some(0);
    });
    refused("gemm_is_plain", "layer11", |model| {
        let beta = AttributeProto { name: Some("beta".into()), f: Some(0.5), ..Default::default() };
        node(model, "layer11").attribute.push(beta);
    });
}
