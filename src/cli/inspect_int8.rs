//! `simqat inspect` of an int8 model.

use std::path::Path;

use serde_json::{Value, json};
use simqat::Result;
use simqat::deploy::{Function, Int8Model, Layer};

use super::console::Console;
use super::convert::operation;
use super::table::Table;

pub fn show(path: &Path, model: &Int8Model, console: &Console) -> Result<()> {
    let mut layers = Table::default();
    layers.row([
        "layer",
        "",
        "from",
        "shape",
        "scale",
        "zero point",
        "codes",
        "weights",
        "scales of weights",
    ]);
    for layer in &model.layers {
        layers.row(row(model, layer));
    }
    let weights: usize = model.layers.iter().filter_map(|layer| Some(layer.op.linear()?.weight.len())).sum();
    let mut table = Table::default();
    table.row(["network", &model.name]);
    table.row(["weights", &format!("{weights} numbers")]);
    for (key, value) in model.metadata.iter().filter(|(key, _)| key.as_str() != "recipe") {
        table.row([key, value]);
    }
    console.result(&format!("{}\n\n{}", layers.text(), table.text()))?;
    console.result_json(&json!({
        "network": model.name,
        "model": path,
        "weights": weights,
        "output": model.output().name,
        "layers": model.layers.iter().map(|layer| object(model, layer)).collect::<Vec<_>>(),
    }))
}

fn inputs<'a>(model: &'a Int8Model, layer: &Layer) -> Vec<&'a str> {
    layer.inputs.iter().map(|&id| model.layers[id].name.as_str()).collect()
}

fn row(model: &Int8Model, layer: &Layer) -> Vec<String> {
    let [low, high] = layer.ends();
    let activation = match layer.activation {
        Function::Identity => String::new(),
        activation => format!(" + {activation:?}"),
    };
    let mut cells = vec![
        layer.name.clone(),
        operation(&layer.op) + &activation,
        inputs(model, layer).join(", "),
        format!("{:?}", layer.shape),
        format!("{:.6e}", layer.grid.scale),
        layer.grid.zero_point.to_string(),
        format!("{low} to {high}"),
    ];
    if let Some(linear) = layer.op.linear() {
        let ends = linear.scale.iter().fold([f32::MAX, 0.0], |[low, high], &s| [s.min(low), s.max(high)]);
        cells.push(format!("{} of {} bits", linear.weight.len(), linear.bits));
        cells.push(format!("{:.3e} to {:.3e}", ends[0], ends[1]));
    }
    cells
}

fn object(model: &Int8Model, layer: &Layer) -> Value {
    let [low, high] = layer.ends();
    let mut object = json!({
        "name": layer.name,
        "operation": operation(&layer.op),
        "inputs": inputs(model, layer),
        "shape": layer.shape,
        "scale": layer.grid.scale,
        "zero_point": layer.grid.zero_point,
        "low": low,
        "high": high,
        "activation": layer.activation,
    });
    if let Some(linear) = layer.op.linear() {
        object["weights"] =
            json!({"count": linear.weight.len(), "bits": linear.bits, "scales": linear.scale});
    }
    object
}
