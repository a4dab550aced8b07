//! `simqat calibrate`

use std::path::{Path, PathBuf};

use serde_json::json;
use simqat::Result;
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{Evaluation, PostTraining};

use super::Global;
use super::console::Console;
use super::outputs;
use super::overrides::Assignments;
use super::session::{begin, describe};
use super::table::Table;

/// Batches where neither the command nor the recipe says how many.
const BATCHES: usize = 32;

/// Post-training quantization: the recipe's [simqat] options are applied to the float network, its observers see some
/// batches of training images, and nothing is trained
#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint of a float training
    checkpoint: PathBuf,
    /// Show N batches [default: train.calibrate_batches of the recipe, or 32 where that is 0]
    #[arg(long, value_name = "N")]
    batches: Option<usize>,
    /// Write the quantized network to FILE [default: beside the checkpoint, with -calibrated in its name]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    assignments: Assignments,
    /// Take the data from DIR, which has a folder per data set in it (mnist/) [env: SIMQAT_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let mut recipe = args.assignments.recipe_of(&checkpoint)?;
    let batches = &mut recipe.train.calibrate_batches;
    *batches = args.batches.unwrap_or(if *batches == 0 { BATCHES } else { *batches });
    let out = args.out.clone().unwrap_or_else(|| beside(&args.checkpoint));
    outputs::check(&args.checkpoint, &[("--out", Some(&out))])?;
    let (data, gpu) = begin(global, console, &recipe.data.name, args.data_dir.clone())?;
    let data = checkpoint.in_its_classes(data)?;
    let done = PostTraining::of(&gpu, &recipe, &checkpoint, &data)?;
    for finding in &done.findings {
        console.warn(finding.to_string());
    }
    done.save(&out)?;

    let accuracy = |e: &Evaluation| format!("{:.2} %", 100.0 * e.top1());
    let mut numbers = Table::default();
    numbers.row(["", "float", "calibrated"]);
    numbers.row(["test accuracy".into(), accuracy(&done.before), accuracy(&done.after)]);
    if let (Some(before), Some(after)) = (done.before.top5(), done.after.top5()) {
        let row = [before, after].map(|top5| format!("{:.2} %", 100.0 * top5));
        numbers.row([vec!["top-5 accuracy".into()], row.into()].concat());
    }
    numbers.row(["test loss".into(), format!("{:.4}", done.before.loss), format!("{:.4}", done.after.loss)]);
    let mut table = Table::default();
    let (shown, size) = (recipe.train.calibrate_batches, recipe.data.batch);
    table.row(["calibrated with", &format!("{shown} batches of {size} images")]);
    table.row(["data", &data.source]);
    table.row(["adapter", &describe(&gpu.caps().adapter)]);
    table.row(["checkpoint", &out.display().to_string()]);
    console.result(&format!("\n{}\n\n{}", numbers.numbers(), table.text()))?;
    let evaluation = |e: &Evaluation| {
        let mut object = json!({"top1": e.top1(), "correct": e.correct, "loss": e.loss});
        if let Some(top5) = e.top5() {
            object["top5"] = top5.into();
        }
        object
    };
    console.result_json(&json!({
        "recipe": recipe.name,
        "data": data.source,
        "sample": data.is_sample,
        "adapter": gpu.caps().adapter.name,
        "batches": shown,
        "batch": size,
        "images": done.after.images,
        "float": evaluation(&done.before),
        "simqat": evaluation(&done.after),
        "checkpoint": out,
    }))
}

/// `float-5625.safetensors` becomes `float-5625-calibrated.safetensors`.
fn beside(checkpoint: &Path) -> PathBuf {
    let stem = checkpoint.file_stem().unwrap_or_default().to_string_lossy();
    checkpoint.with_file_name(format!("{stem}-calibrated.safetensors"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_goes_beside_the_checkpoint() {
        let name = |path| beside(Path::new(path));
        assert_eq!(name("a/float-8.safetensors"), Path::new("a/float-8-calibrated.safetensors"));
        assert_eq!(name("float"), Path::new("float-calibrated.safetensors"));
    }
}
