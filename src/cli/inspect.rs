//! `simqat inspect`: looks at a network without a device.

use std::path::PathBuf;

use serde_json::{Value, json};
use simqat::Result;
use simqat::data::DataOptions;
use simqat::gpu::Gpu;
use simqat::nn::{BnFold, FakeQuantizer, Layer, Network, Node, QuantizerRule, Slot};
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{StepMemory, Variant};

use super::checkpoints::{classes_of, history, variant_of};
use super::console::Console;
use super::deployed::Saved;
use super::inspect_int8;
use super::overrides::Assignments;
use super::progress::title;
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// A recipe (a file whose name ends with .toml), a checkpoint, or an int8 model
    file: PathBuf,
    /// Show the float network: of a recipe, or of a checkpoint that was quantized
    #[arg(long)]
    float: bool,
    /// Tell N classes apart [default: as many as the checkpoint or the recipe's data set has]
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Look for the classes of a folder of pictures in DIR, which has a folder per data set in it [env: SIMQAT_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    assignments: Assignments,
}

pub fn run(args: &Args, console: &Console) -> Result<()> {
    let is_recipe = args.file.extension().is_some_and(|ending| ending == "toml");
    let checkpoint = match is_recipe {
        true => None,
        false => match Saved::read(&args.file)? {
            Saved::Checkpoint(checkpoint) => Some(checkpoint),
            Saved::Int8(model) => return inspect_int8::show(&args.file, &model, console),
        },
    };
    let (recipe, own) = match &checkpoint {
        None => (args.assignments.read(&args.file)?, Variant::SimQat),
        Some(checkpoint) => (args.assignments.recipe_of(checkpoint)?, variant_of(checkpoint)?),
    };
    let variant = if args.float { Variant::Float } else { own };
    // Shapes and names need no driver.
    let gpu = Gpu::noop();
    let options = DataOptions::new(args.data_dir.clone());
    let classes = classes_of(&recipe, checkpoint.as_ref(), args.classes, &options)?;
    let float = recipe.blank_network(&gpu, classes, Variant::Float)?;
    // Options of SimQAT concern a quantized network alone.
    let (network, findings) = match variant {
        Variant::Float => (float, Vec::new()),
        Variant::SimQat => (recipe.simqat.apply(&float)?, recipe.simqat.lint(&float)),
    };
    if let Some(checkpoint) = &checkpoint {
        checkpoint.load_into(&network)?;
    }
    let (batch, memory) = (recipe.data.batch, StepMemory::of(&network, recipe.train.accumulate));

    let values: usize = network.parameters().iter().map(|p| p.tensor.count()).sum();
    let mut table = Table::default();
    table.row(["recipe", &recipe.name]);
    if let Some(checkpoint) = &checkpoint {
        table.row(["trained", &format!("{}, {}", title(own), history(checkpoint))]);
    }
    table.row(["trainable", &format!("{} numbers", network.trainable_count())]);
    table.row(["with state", &format!("{values} numbers")]);
    table.row(["a step takes", &memory.as_ref().map_or_else(ToString::to_string, |m| in_words(m, batch))]);
    let mut text = format!("{network}\n\n{}", table.text());
    for finding in &findings {
        text += &format!("\n{finding}");
    }
    console.result(&text)?;
    let findings: Vec<Value> =
        findings.iter().map(|f| json!({"option": f.option, "reason": f.reason})).collect();
    console.result_json(&json!({
        "network": network.name(),
        "recipe": recipe.name,
        "variant": variant.name(),
        "step": checkpoint.as_ref().and_then(Checkpoint::step),
        "parameters": values,
        "trainable": network.trainable_count(),
        "step_memory": memory.ok().map(|m| json!({
            "batch": batch,
            "bytes": m.at(batch),
            "fixed_bytes": m.at(0),
            "image_bytes": m.image,
        })),
        "findings": findings,
        "layers": network.nodes().iter().map(|node| layer(&network, node)).collect::<Vec<_>>(),
    }))
}

/// What a step takes, to two figures: another adapter takes a little more or less.
fn in_words(memory: &StepMemory, batch: usize) -> String {
    let [all, fixed, image] = [memory.at(batch), memory.at(0), memory.image].map(bytes);
    format!("about {all} of GPU memory at batch {batch} ({fixed}, and {image} for each image)")
}

fn bytes(count: u64) -> String {
    let mut count = count as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        // From here on it would be a number of four figures.
        if count < 999.5 {
            break;
        }
        (count, unit) = (count / 1024.0, larger);
    }
    let decimals = if count >= 9.95 {
        0
    } else if count >= 0.995 {
        1
    } else {
        2
    };
    format!("{count:.decimals$} {unit}")
}

fn layer(network: &Network, node: &Node) -> Value {
    let inputs: Vec<&str> = node.inputs.iter().map(|&id| network.nodes()[id].name.as_str()).collect();
    let parameters: Vec<Value> = node
        .layer
        .parameters(&node.name)
        .iter()
        .map(|p| json!({"name": p.name, "shape": p.shape[..], "trainable": p.trainable}))
        .collect();
    let quantizers: serde_json::Map<String, Value> = Slot::ALL
        .into_iter()
        .filter_map(|slot| Some((slot.name().to_string(), quantizer(node.quantizers.get(slot)?))))
        .collect();
    let mut object = json!({
        "name": node.name,
        "class": class(&node.layer),
        "inputs": inputs,
        "shape": node.shape[..],
        "parameters": parameters,
        "quantizers": quantizers,
    });
    if let Layer::Conv2dBn(layer) = &node.layer {
        object["fold"] = fold_name(layer.fold).into();
    }
    object
}

fn class(layer: &Layer) -> String {
    match layer {
        Layer::Input => "Input".into(),
        Layer::Conv2d(_) => "Conv2d".into(),
        Layer::Dense(_) => "Dense".into(),
        Layer::BatchNorm2d(_) => "BatchNorm2d".into(),
        Layer::Conv2dBn(_) => "Conv2dBn".into(),
        Layer::Activation(kind) => before_bracket(&kind.to_string()),
        Layer::MaxPool2d(_) => "MaxPool2d".into(),
        Layer::AvgPool2d { .. } => "AvgPool2d".into(),
        Layer::Flatten => "Flatten".into(),
        Layer::Add => "Add".into(),
        Layer::Custom(custom) => before_bracket(&custom.describe()),
    }
}

fn before_bracket(text: &str) -> String {
    text.split('<').next().unwrap_or_default().into()
}

/// The word for a form of the fold in JSON.
pub fn fold_name(fold: BnFold) -> &'static str {
    match fold {
        BnFold::Without => "none",
        BnFold::OneConv => "one_conv",
        BnFold::TwoConv => "two_conv",
    }
}

fn quantizer(quantizer: &FakeQuantizer) -> Value {
    let (observer, bits, narrow_range, delay) = match &quantizer.rule {
        QuantizerRule::Range(rule) => (json!(rule.observer), rule.bits, rule.narrow_range, rule.delay),
        QuantizerRule::LearnedStep(rule) => (json!("learned_step"), rule.bits, rule.narrow_range, rule.delay),
    };
    let mut object = json!({
        "observer": observer,
        "bits": bits,
        "narrow_range": narrow_range,
        "quant_delay": delay,
        "per_channel": quantizer.per_channel,
        "grids": quantizer.channels,
    });
    match &quantizer.rule {
        QuantizerRule::Range(rule) => object["symmetric"] = rule.symmetric.into(),
        QuantizerRule::LearnedStep(rule) => object["signed"] = rule.signed.into(),
    }
    object
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_have_two_or_three_figures() {
        let said = [0, 10, 1024, 1 << 20, 999 << 10, 1000 << 10, (3 << 30) + (1 << 27), 64 << 30].map(bytes);
        let expected =
            ["0.00 KiB", "0.01 KiB", "1.0 KiB", "1.0 MiB", "999 KiB", "0.98 MiB", "3.1 GiB", "64 GiB"];
        assert_eq!(said, expected);
    }
}
