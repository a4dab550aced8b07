//! `simqat eval`

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;
use simqat::data::Dataset;
use simqat::gpu::Gpu;
use simqat::nn::Network;
use simqat::train::{Evaluation, Feed, Recipe, Variant, evaluate, evaluate_int8};
use simqat::{Error, Result};

use super::Global;
use super::checkpoints::{history, recipe_of, variant_of};
use super::console::Console;
use super::deployed::{Device, Saved, in_its_classes, recipe_in};
use super::progress::title;
use super::session::{begin, describe};
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint of `simqat run`, `simqat train` or `simqat calibrate`, or an int8 model of `simqat convert`
    checkpoint: PathBuf,
    /// Run an int8 model there [default: cpu]
    #[arg(long, value_name = "DEVICE")]
    device: Option<Device>,
    /// Which images: those held back for testing, or those that the recipe trains on, as they are without augmentation
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    split: Split,
    /// Measure on this data set, of the same classes, instead of the recipe's: a name, or a folder of pictures
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// Take the data from DIR, which has a folder per data set in it (mnist/) [env: SIMQAT_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// `--split`
#[derive(Clone, Copy, ValueEnum)]
enum Split {
    Test,
    Train,
}

impl Split {
    fn feed(self, recipe: &Recipe, network: &Network, data: &Dataset) -> Result<Feed> {
        match self {
            Split::Test => recipe.test_feed(network, data),
            Split::Train => recipe.train_feed_for_evaluation(network, data),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Split::Test => "test",
            Split::Train => "train",
        }
    }

    /// As it stands before "accuracy".
    fn adjective(self) -> &'static str {
        match self {
            Split::Test => "test",
            Split::Train => "training",
        }
    }
}

impl Args {
    fn data<'a>(&'a self, recipe: &'a Recipe) -> &'a str {
        self.data.as_ref().unwrap_or(&recipe.data.name)
    }
}

/// What is said of the file beside the accuracy.
struct Subject {
    recipe: Recipe,
    /// A word for JSON.
    variant: &'static str,
    /// Steps that it was trained for.
    step: Option<usize>,
    /// How it came about, in words.
    history: String,
    /// Where it ran.
    engine: Option<Device>,
}

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    match Saved::read(&args.checkpoint)? {
        Saved::Checkpoint(checkpoint) => {
            if let Some(device) = args.device {
                return Err(Error::Invalid(format!(
                    "--device {}: a checkpoint runs on the adapter (see --adapter); the option is for int8 models",
                    device.name()
                )));
            }
            let (recipe, variant) = (recipe_of(&checkpoint, &[])?, variant_of(&checkpoint)?);
            let (data, gpu) = begin(global, console, args.data(&recipe), args.data_dir.clone())?;
            let data = checkpoint.in_its_classes(data)?;
            let network = recipe.variant_network(&gpu, data.classes, variant)?;
            checkpoint.load_into(&network)?;
            let evaluation = evaluate(&network, &args.split.feed(&recipe, &network, &data)?)?;
            let subject = Subject {
                recipe,
                variant: variant.name(),
                step: checkpoint.step(),
                history: format!("{}, {}", title(variant), history(&checkpoint)),
                engine: None,
            };
            report(args, console, &subject, &data, &gpu, &evaluation)
        }
        Saved::Int8(model) => {
            let recipe = recipe_in(&model, &args.checkpoint)?;
            let (data, gpu) = begin(global, console, args.data(&recipe), args.data_dir.clone())?;
            let data = in_its_classes(&model, &args.checkpoint, data)?;
            let device = args.device.unwrap_or(Device::Cpu);
            let mut engine = device.engine(&gpu, &model)?;
            // Its shapes are what the feed goes by.
            let blank = recipe.blank_network(&gpu, data.classes, Variant::Float)?;
            let evaluation = evaluate_int8(&gpu, engine.as_mut(), &args.split.feed(&recipe, &blank, &data)?)?;
            let step = model.metadata.get("step").and_then(|step| step.parse().ok());
            let steps = step.map_or(String::new(), |step: usize| format!(", {step} steps"));
            let history = format!("int8 on the {}{steps}", device.name().to_uppercase());
            let subject = Subject { recipe, variant: "int8", step, history, engine: Some(device) };
            report(args, console, &subject, &data, &gpu, &evaluation)
        }
    }
}

fn report(
    args: &Args,
    console: &Console,
    subject: &Subject,
    data: &Dataset,
    gpu: &Gpu,
    evaluation: &Evaluation,
) -> Result<()> {
    let adjective = args.split.adjective();
    let mut table = Table::default();
    let kind = if subject.engine.is_some() { "model" } else { "checkpoint" };
    table.row([kind, &args.checkpoint.display().to_string()]);
    table.row(["trained", &subject.history]);
    table.row(["data", &data.source]);
    table.row(["adapter", &describe(&gpu.caps().adapter)]);
    let accuracy = 100.0 * evaluation.top1();
    let share = format!("{accuracy:.2} % ({} of {})", evaluation.correct, evaluation.images);
    table.row([format!("{adjective} accuracy"), share]);
    if let (Some(top5), Some(count)) = (evaluation.top5(), evaluation.in_top5) {
        let share = format!("{:.2} % ({count} of {})", 100.0 * top5, evaluation.images);
        table.row(["top-5 accuracy", &share]);
    }
    table.row([format!("{adjective} loss"), format!("{:.4}", evaluation.loss)]);
    console.result(&table.text())?;
    let mut object = json!({
        "checkpoint": args.checkpoint,
        "recipe": subject.recipe.name,
        "variant": subject.variant,
        "step": subject.step,
        "split": args.split.name(),
        "data": data.source,
        "sample": data.is_sample,
        "adapter": gpu.caps().adapter.name,
        "top1": evaluation.top1(),
        "correct": evaluation.correct,
        "images": evaluation.images,
        "loss": evaluation.loss,
    });
    if let Some(top5) = evaluation.top5() {
        object["top5"] = top5.into();
    }
    if let Some(engine) = subject.engine {
        object["engine"] = engine.name().into();
    }
    console.result_json(&object)
}
