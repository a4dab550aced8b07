//! `simqat import` and `simqat export`: weights from and for PyTorch. No device is needed.

use std::path::PathBuf;

use serde_json::json;
use simqat::data::{DataOptions, KnownSet};
use simqat::deploy::onnx::write_float;
use simqat::gpu::Gpu;
use simqat::nn::{Layer, Network};
use simqat::train::checkpoint::{Checkpoint, save_network_with};
use simqat::train::weights::{self, StateDict};
use simqat::train::{Recipe, Variant};
use simqat::{Error, Result};

use super::checkpoints::{classes_of, history, recipe_of, variant_of};
use super::console::Console;
use super::deployed::known_names;
use super::outputs;
use super::overrides::Assignments;
use super::progress::title;
use super::table::Table;

/// A state dict becomes a checkpoint that `simqat eval`, `calibrate` and `train --from` take
///
/// A file of weights does not say what BatchNorm adds to the variance: with torchvision's, the recipe needs `--set
/// model.resnet.bn_eps=1e-5`.
#[derive(clap::Args)]
pub struct ImportArgs {
    /// A safetensors file with the names of a state dict, such as torchvision's resnet50
    weights: PathBuf,
    /// The recipe that says which network it is
    recipe: PathBuf,
    /// Write the checkpoint to FILE
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Leave tensors whose names match PATTERN at their initial values, such as 'fc.*' for other classes; may be given
    /// several times
    #[arg(long, value_name = "PATTERN")]
    skip: Vec<String>,
    /// Tell N classes apart [default: as many as the recipe's data set has, or else as the file's last layer]
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    #[command(flatten)]
    assignments: Assignments,
}

pub fn import(args: &ImportArgs, console: &Console) -> Result<()> {
    outputs::check(&args.weights, &[("--out", Some(&args.out))])?;
    let recipe = args.assignments.read(&args.recipe)?;
    let file = StateDict::read(&args.weights)?;
    let classes = match args.classes {
        Some(0) => return Err(Error::Invalid("--classes 0: a network tells at least one class".into())),
        Some(classes) => classes,
        None => match recipe.data.name.parse::<KnownSet>() {
            Ok(set) => set.classes(),
            Err(_) => classes_in(&recipe, &file)?,
        },
    };
    // Initial values matter where some stay.
    let network = match args.skip.is_empty() {
        true => recipe.blank_network(&Gpu::noop(), classes, Variant::Float)?,
        false => recipe.network(&Gpu::noop(), classes)?,
    };
    let done = file.load_into(&network, &args.skip)?;
    let name = args.weights.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut metadata = vec![
        ("variant".to_string(), Variant::Float.name().to_string()),
        ("recipe".to_string(), recipe.to_toml()?),
        ("classes".to_string(), classes.to_string()),
        ("imported".to_string(), name),
    ];
    if let Some(names) = known_names(&recipe, classes) {
        metadata.push(("class_names".to_string(), json!(names).to_string()));
    }
    save_network_with(&network, &args.out, &metadata)?;

    let mut table = Table::default();
    table.row(["network", &describe(&network, classes)]);
    table.row(["taken", &format!("{} tensors", done.taken)]);
    if let Some((_, norm)) = network.norms().next() {
        // No file of weights says it, and another one gives other logits without a word.
        table.row(["BatchNorm eps", &format!("{:e}, as the recipe says (PyTorch's is 1e-5)", norm.eps)]);
    }
    if !done.skipped.is_empty() {
        table.row(["initial values", &done.skipped.join(", ")]);
    }
    table.row(["checkpoint", &args.out.display().to_string()]);
    console.result(&table.text())?;
    console.result_json(&json!({
        "network": network.name(),
        "classes": classes,
        "taken": done.taken,
        "skipped": done.skipped,
        "checkpoint": args.out,
    }))
}

fn describe(network: &Network, classes: usize) -> String {
    format!("{} for {classes} classes, {} numbers", network.name(), network.trainable_count())
}

/// Outputs of the file's last dense layer.
fn classes_in(recipe: &Recipe, file: &StateDict) -> Result<usize> {
    let graph = recipe.model.builder(1)?.into_graph()?;
    let last = graph.nodes.iter().rev().find(|node| matches!(node.layer, Layer::Dense(_)));
    let shape = last.and_then(|node| file.shape_of(&format!("{}.weight", node.name)));
    shape.and_then(|shape| shape.first().copied()).ok_or_else(|| {
        Error::Invalid(
            "how many classes there are is said by neither the recipe's data set nor the weights; say it with --classes"
                .into(),
        )
    })
}

/// A checkpoint's weights as a state dict, or its float network for ONNX Runtime
#[derive(clap::Args)]
pub struct ExportArgs {
    /// A checkpoint of a float or a quantized network
    checkpoint: PathBuf,
    /// Write the state dict to FILE, as safetensors
    #[arg(long, value_name = "FILE", required_unless_present = "onnx")]
    out: Option<PathBuf>,
    /// Write the float network to FILE, as ONNX; of a quantized checkpoint, without its quantizers (with them:
    /// `simqat convert --onnx`)
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
}

pub fn export(args: &ExportArgs, console: &Console) -> Result<()> {
    outputs::check(&args.checkpoint, &[("--out", args.out.as_ref()), ("--onnx", args.onnx.as_ref())])?;
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let (recipe, variant) = (recipe_of(&checkpoint, &[])?, variant_of(&checkpoint)?);
    let classes = classes_of(&recipe, Some(&checkpoint), None, &DataOptions::default())?;
    let network = recipe.blank_network(&Gpu::noop(), classes, variant)?;
    checkpoint.load_into(&network)?;
    let left_out = args.out.as_ref().map(|path| weights::export(&network, path)).transpose()?;
    if let Some(path) = &args.onnx {
        let float = recipe.blank_network(network.gpu(), classes, Variant::Float)?;
        checkpoint.load_into(&float)?;
        write_float(&float, path)?;
    }

    let mut table = Table::default();
    table.row(["network", &describe(&network, classes)]);
    table.row(["trained", &format!("{}, {}", title(variant), history(&checkpoint))]);
    if let Some(left_out @ 1..) = left_out {
        table.row(["left out", &format!("{left_out} tensors of quantizers, which PyTorch has no names for")]);
    }
    for (kind, path) in [("weights", &args.out), ("ONNX", &args.onnx)] {
        if let Some(path) = path {
            table.row([kind, &path.display().to_string()]);
        }
    }
    console.result(&table.text())?;
    console.result_json(&json!({
        "network": network.name(),
        "variant": variant.name(),
        "left_out": left_out,
        "weights": args.out,
        "onnx": args.onnx,
    }))
}
