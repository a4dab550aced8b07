//! `simqat eval`, and what a checkpoint says of itself.

use std::path::PathBuf;

use serde_json::json;
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{Recipe, Variant, evaluate};
use simqat::{Error, Result};

use super::Global;
use super::console::Console;
use super::progress::title;
use super::session::{begin, describe};
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint of `simqat run` or `simqat train`
    checkpoint: PathBuf,
    /// Take the data from DIR, which has a folder per data set in it (mnist/) [env: SIMQAT_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

fn told<'a>(checkpoint: &'a Checkpoint, key: &str) -> Result<&'a str> {
    checkpoint.metadata(key).ok_or_else(|| {
        let message =
            format!("it does not say its {key}; `simqat run` and `simqat train` write such that do");
        Error::bad_file(checkpoint.path(), message)
    })
}

/// The recipe that a checkpoint was trained by.
pub fn recipe_of(checkpoint: &Checkpoint) -> Result<Recipe> {
    let text = told(checkpoint, "recipe")?;
    Recipe::parse(text).map_err(|e| Error::bad_file(checkpoint.path(), format!("the recipe in it: {e}")))
}

/// Whether a checkpoint was trained in float or quantized.
pub fn variant_of(checkpoint: &Checkpoint) -> Result<Variant> {
    let name = told(checkpoint, "variant")?;
    [Variant::Float, Variant::SimQat].into_iter().find(|v| v.name() == name).ok_or_else(|| {
        Error::bad_file(checkpoint.path(), format!("its variant is \"{name}\"; there is float and simqat"))
    })
}

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let (recipe, variant) = (recipe_of(&checkpoint)?, variant_of(&checkpoint)?);
    let (data, gpu) = begin(global, console, &recipe.data.name, args.data_dir.clone())?;
    let network = recipe.variant_network(&gpu, data.classes, variant)?;
    checkpoint.load_into(&network)?;
    let test = recipe.feed(&network, &data.test, recipe.data.eval_batch.min(data.test.len()))?;
    let evaluation = evaluate(&network, &test)?;

    let mut table = Table::default();
    table.row(["checkpoint", &args.checkpoint.display().to_string()]);
    table.row(["trained", &format!("{}, {} steps", title(variant), checkpoint.step().unwrap_or(0))]);
    table.row(["data", &data.source]);
    table.row(["adapter", &describe(&gpu.caps().adapter)]);
    let accuracy = 100.0 * evaluation.top1();
    table.row([
        "test accuracy",
        &format!("{accuracy:.2} % ({} of {})", evaluation.correct, evaluation.images),
    ]);
    table.row(["test loss", &format!("{:.4}", evaluation.loss)]);
    console.result(&table.text())?;
    console.result_json(&json!({
        "checkpoint": args.checkpoint,
        "recipe": recipe.name,
        "variant": variant.name(),
        "step": checkpoint.step(),
        "data": data.source,
        "sample": data.is_sample,
        "adapter": gpu.caps().adapter.name,
        "top1": evaluation.top1(),
        "correct": evaluation.correct,
        "images": evaluation.images,
        "loss": evaluation.loss,
    }))
}
