//! `simqat inspect`: looks at a network without a device.

use std::path::PathBuf;

use serde_json::{Value, json};
use simqat::Result;
use simqat::gpu::Gpu;
use simqat::nn::{BnFold, FakeQuantizer, Layer, Network, Node, QuantizerRule, Slot};
use simqat::quant::Finding;
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{Recipe, Variant};

use super::checkpoints::{classes_of, history, variant_of};
use super::console::Console;
use super::overrides::Assignments;
use super::progress::title;
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// A recipe (a file whose name ends with .toml), or a checkpoint
    file: PathBuf,
    /// Show the float network: of a recipe, or of a checkpoint that was quantized
    #[arg(long)]
    float: bool,
    #[command(flatten)]
    assignments: Assignments,
}

pub fn run(args: &Args, console: &Console) -> Result<()> {
    let is_recipe = args.file.extension().is_some_and(|ending| ending == "toml");
    let checkpoint = (!is_recipe).then(|| Checkpoint::read(&args.file)).transpose()?;
    let (recipe, own) = match &checkpoint {
        None => (args.assignments.read(&args.file)?, Variant::SimQat),
        Some(checkpoint) => (args.assignments.recipe_of(checkpoint)?, variant_of(checkpoint)?),
    };
    let variant = if args.float { Variant::Float } else { own };
    // Shapes and names need no driver.
    let gpu = Gpu::noop();
    let classes = classes_of(&recipe, checkpoint.as_ref())?;
    let network = recipe.variant_network(&gpu, classes, variant)?;
    if let Some(checkpoint) = &checkpoint {
        checkpoint.load_into(&network)?;
    }
    let findings = findings(&recipe, &recipe.network(&gpu, classes)?, variant);

    let values: usize = network.parameters().iter().map(|p| p.tensor.count()).sum();
    let mut table = Table::default();
    table.row(["recipe", &recipe.name]);
    if let Some(checkpoint) = &checkpoint {
        table.row(["trained", &format!("{}, {}", title(own), history(checkpoint))]);
    }
    table.row(["trainable", &format!("{} numbers", network.trainable_count())]);
    table.row(["with state", &format!("{values} numbers")]);
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
        "findings": findings,
        "layers": network.nodes().iter().map(|node| layer(&network, node)).collect::<Vec<_>>(),
    }))
}

/// Options without effect; those of SimQAT concern a quantized network alone.
fn findings(recipe: &Recipe, float: &Network, variant: Variant) -> Vec<Finding> {
    match variant {
        Variant::Float => Vec::new(),
        Variant::SimQat => recipe.simqat.lint(float),
    }
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
