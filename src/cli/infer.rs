//! `simqat infer`

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use simqat::deploy::Int8Model;
use simqat::gpu::Gpu;
use simqat::nn::Network;
use simqat::tensor::Tensor;
use simqat::train::Recipe;
use simqat::{Error, Result};

use super::Global;
use super::console::Console;
use super::deployed::{Device, Saved, Trained, class_names, recipe_in};
use super::session::open;
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// An int8 model of `simqat convert`, or a checkpoint
    model: PathBuf,
    /// JPEG or PNG files
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Run it there [default: cpu for an int8 model; a checkpoint runs on the adapter]
    #[arg(long, value_name = "DEVICE")]
    device: Option<Device>,
    /// Show the N most likely classes of each picture
    #[arg(long, value_name = "N", default_value_t = 1)]
    top: usize,
}

/// What answers with logits for the values of one picture.
type Classifier = Box<dyn FnMut(&[f32]) -> Result<Vec<f32>>>;

/// A model that is ready for pictures.
struct Ready {
    recipe: Recipe,
    shape: Vec<usize>,
    names: Vec<String>,
    classify: Classifier,
}

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    if args.top == 0 {
        return Err(Error::Invalid("--top 0: there is at least one class to show".into()));
    }
    let mut ready = ready(args, global)?;
    let shape: [usize; 3] = ready.shape[..].try_into().map_err(|_| {
        Error::bad_file(&args.model, format!("it takes inputs of shape {:?}, not pictures", ready.shape))
    })?;
    let mut table = Table::default();
    let mut found = Vec::new();
    for path in &args.images {
        let values = ready.recipe.prepare(path, shape)?;
        let shares = softmax(&(ready.classify)(&values)?);
        let mut order: Vec<usize> = (0..shares.len()).collect();
        // The first of equals first, as in an evaluation.
        order.sort_by(|&a, &b| shares[b].total_cmp(&shares[a]));
        order.truncate(args.top);
        let mut row = vec![path.display().to_string()];
        row.extend(
            order.iter().map(|&class| format!("{} {:.1} %", ready.names[class], 100.0 * shares[class])),
        );
        table.row(row);
        found.push(object(path, &order, &shares, &ready.names));
    }
    console.result(&table.text())?;
    console.result_json(&json!({ "model": args.model, "images": found }))
}

fn object(path: &Path, order: &[usize], shares: &[f64], names: &[String]) -> Value {
    let class = |&class: &usize| json!({"class": class, "name": names[class], "confidence": shares[class]});
    json!({"image": path, "classes": order.iter().map(class).collect::<Vec<_>>()})
}

fn ready(args: &Args, global: &Global) -> Result<Ready> {
    match Saved::read(&args.model)? {
        Saved::Int8(model) => int8(args, global, &model),
        Saved::Checkpoint(_) if args.device == Some(Device::Cpu) => Err(Error::Invalid(format!(
            "--device cpu: {} is a checkpoint, which runs on an adapter; `simqat convert` makes an int8 model of it",
            args.model.display()
        ))),
        Saved::Checkpoint(checkpoint) => {
            let Trained { recipe, classes, network, .. } = Trained::of(&open(global)?, &checkpoint)?;
            let names = class_names(checkpoint.metadata("class_names"), &recipe, classes);
            let shape = network.input_shape()[..].to_vec();
            Ok(Ready { recipe, shape, names, classify: on_adapter(network) })
        }
    }
}

fn int8(args: &Args, global: &Global, model: &Int8Model) -> Result<Ready> {
    let recipe = recipe_in(model, &args.model)?;
    let device = args.device.unwrap_or(Device::Cpu);
    let gpu = match device {
        // The engine on the processor needs no adapter, so none is opened.
        Device::Cpu => Gpu::noop(),
        Device::Gpu => open(global)?,
    };
    let mut engine = device.engine(&gpu, model)?;
    let classes = model.output().shape.iter().product();
    let told = model.metadata.get("class_names").map(String::as_str);
    Ok(Ready {
        names: class_names(told, &recipe, classes),
        recipe,
        shape: model.input().shape.clone(),
        classify: Box::new(move |values| engine.predict(values)),
    })
}

fn on_adapter(network: Network) -> Classifier {
    Box::new(move |values| {
        let shape = [&[1], &network.input_shape()[..]].concat();
        network.predict(&Tensor::from_f32(network.gpu(), &shape[..], values)?)?.read_f32()
    })
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - largest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}
