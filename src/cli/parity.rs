//! `simqat parity`

use std::path::PathBuf;

use serde_json::json;
use simqat::data::Dataset;
use simqat::deploy::parity::{Comparison, Parity};
use simqat::train::checkpoint::Checkpoint;
use simqat::train::compared_inputs::ComparedInputs;
use simqat::{Error, Result};

use super::Global;
use super::console::Console;
use super::deployed::{Device, Trained, test_feed};
use super::outputs;
use super::session::{begin, describe};
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint that was trained with SimQAT, or calibrated
    checkpoint: PathBuf,
    /// Compare on the test images of this data set instead of the recipe's
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// Take the data from DIR, which has a folder per data set in it (mnist/) [env: SIMQAT_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Compare on so many images only
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Hold these engines against each other; the first also against the simulated network
    #[arg(long, value_name = "ENGINE,..", value_delimiter = ',', default_value = "cpu,gpu", value_enum)]
    engines: Vec<Device>,
    /// Write images as the network takes them, labels and both predictions to FILE (safetensors), for a comparison with
    /// other programs
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    outputs::check(&args.checkpoint, &[("--save", args.save.as_ref())])?;
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let recipe = super::checkpoints::recipe_of(&checkpoint, &[])?;
    let name = args.data.as_ref().unwrap_or(&recipe.data.name);
    let (data, gpu) = begin(global, console, name, args.data_dir.clone())?;
    let data = limited(checkpoint.in_its_classes(data)?, args.images)?;
    let trained = Trained::of(&gpu, &checkpoint)?;
    let conversion = trained.converted(&checkpoint)?;
    for note in &conversion.notes {
        console.warn(note);
    }
    let engines = args
        .engines
        .iter()
        .map(|device| Ok((device.name().to_string(), device.engine(&gpu, &conversion.model)?)));
    let mut comparison = Comparison::new(&trained.network, &conversion, engines.collect::<Result<_>>()?)?;
    let mut saved = args.save.as_ref().map(|_| ComparedInputs::default());
    test_feed(&gpu, &trained.recipe, &data)?.each_batch(&gpu, |images, labels| {
        let predictions = comparison.add(images, labels)?;
        if let Some(saved) = &mut saved {
            saved.add(images, labels, &predictions)?;
        }
        Ok(())
    })?;
    if let (Some(path), Some(saved)) = (&args.save, saved) {
        saved.write(path)?;
    }
    let found = comparison.found();
    console.result(&format!(
        "{}\n\n{}",
        layers(found),
        summary(args, found, &data, &describe(&gpu.caps().adapter))
    ))?;
    let total =
        |of: fn(&simqat::deploy::parity::LayerParity) -> u64| found.layers.iter().map(of).sum::<u64>();
    console.result_json(&json!({
        "checkpoint": args.checkpoint,
        "data": data.source,
        "images": found.images,
        "layers": found.layers,
        "codes": total(|layer| layer.codes),
        "differ": total(|layer| layer.differ),
        "engines": found.engines,
        "predictions_differ": found.predictions_differ,
        "simulated": {"correct": found.simulated_correct, "top1": share(found.simulated_correct, found)},
        "int8": {"correct": found.int8_correct, "top1": share(found.int8_correct, found)},
    }))?;
    match found.engines.iter().find(|engine| engine.differ > 0) {
        None => Ok(()),
        Some(engine) => Err(Error::Gpu(format!(
            "the {} engine's codes differ from the {} engine's in {} of {} places, which they must never: please report it \
             with the output of `simqat info`",
            engine.name,
            args.engines[0].name(),
            engine.differ,
            engine.codes
        ))),
    }
}

fn limited(mut data: Dataset, images: Option<usize>) -> Result<Dataset> {
    match images {
        Some(0) => return Err(Error::Invalid("--images 0: a comparison needs at least one image".into())),
        Some(count) => data.test = data.test.first(count),
        None => {}
    }
    Ok(data)
}

fn share(correct: usize, found: &Parity) -> f64 {
    correct as f64 / found.images as f64
}

fn layers(found: &Parity) -> String {
    let mut table = Table::default();
    table.row(["layer", "codes", "differ", "by at most", "from a tie", "differ, carried on"]);
    for layer in &found.layers {
        let tie = match layer.differ {
            0 => String::new(),
            _ => format!("{:.0e}", layer.farthest_from_tie),
        };
        table.row([
            layer.name.clone(),
            layer.codes.to_string(),
            layer.differ.to_string(),
            layer.max_diff.to_string(),
            tie,
            layer.differ_carried.to_string(),
        ]);
    }
    table.numbers()
}

fn summary(args: &Args, found: &Parity, data: &Dataset, adapter: &str) -> String {
    let mut table = Table::default();
    let percent = |correct| format!("{:.2} % ({correct} of {})", 100.0 * share(correct, found), found.images);
    table.row(["checkpoint", &args.checkpoint.display().to_string()]);
    table.row(["data", &data.source]);
    table.row(["adapter", adapter]);
    for engine in &found.engines {
        let text = match engine.differ {
            0 => format!("the same {} codes in all layers", engine.codes),
            differ => format!("{differ} of {} codes DIFFER", engine.codes),
        };
        table.row([format!("{} beside {}", engine.name, args.engines[0].name()), text]);
    }
    table.row(["simulated".into(), percent(found.simulated_correct)]);
    table.row(["int8".into(), percent(found.int8_correct)]);
    table.row(["predictions".into(), format!("{} of {} differ", found.predictions_differ, found.images)]);
    let differ: u64 = found.layers.iter().map(|layer| layer.differ).sum();
    if differ > 0 {
        let farthest = found.layers.iter().map(|layer| layer.farthest_from_tie).fold(0.0, f64::max);
        table.row([
            "ties".into(),
            format!(
                "values whose codes differ are at most {farthest:.0e} of a step from the middle between two codes, where f32 \
                 rounds its sum to the other side"
            ),
        ]);
    }
    table.text()
}
