//! `simqat eval`

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;
use simqat::Result;
use simqat::train::checkpoint::Checkpoint;
use simqat::train::evaluate;

use super::Global;
use super::checkpoints::{history, recipe_of, variant_of};
use super::console::Console;
use super::progress::title;
use super::session::{begin, describe};
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint of `simqat run`, `simqat train` or `simqat calibrate`
    checkpoint: PathBuf,
    /// Which images: those held back for testing, or those that the recipe trains on, as they are without augmentation
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    split: Split,
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

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let (recipe, variant) = (recipe_of(&checkpoint, &[])?, variant_of(&checkpoint)?);
    let (data, gpu) = begin(global, console, &recipe.data.name, args.data_dir.clone())?;
    let network = recipe.variant_network(&gpu, data.classes, variant)?;
    checkpoint.load_into(&network)?;
    let feed = match args.split {
        Split::Test => recipe.test_feed(&network, &data)?,
        Split::Train => recipe.train_feed_for_evaluation(&network, &data)?,
    };
    let evaluation = evaluate(&network, &feed)?;
    let adjective = args.split.adjective();

    let mut table = Table::default();
    table.row(["checkpoint", &args.checkpoint.display().to_string()]);
    table.row(["trained", &format!("{}, {}", title(variant), history(&checkpoint))]);
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
        "recipe": recipe.name,
        "variant": variant.name(),
        "step": checkpoint.step(),
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
    console.result_json(&object)
}
