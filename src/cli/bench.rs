//! `simqat bench`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use simqat::data::Dataset;
use simqat::gpu::Gpu;
use simqat::train::{Recipe, RunMode};
use simqat::{Error, Result};

use super::Global;
use super::bench_infer::{self, InferArgs};
use super::bench_loader::{self, LoaderArgs};
use super::console::Console;
use super::contest::{Heat, Row, table};
use super::overrides::Assignments;
use super::session::begin;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Time a training step of LeNet5 or of recipes, in float and with SimQAT, eager and recorded
    ///
    /// The configurations take turns in each repetition, so that a machine that warms up or gets busy slows all
    /// of them alike. A repetition ends when the GPU has done its last step. Batches are real images. SimQAT
    /// quantizes from the first step; the last column is its time through float's, the median over the repetitions of
    /// the ratio in each.
    Step(StepArgs),
    /// Time how fast pictures come from their files to the device, cropped at random, mirrored and normalized
    Loader(LoaderArgs),
    /// Time a trained network on images: float, simulated and int8 on the adapter, int8 on the processor
    ///
    /// Each run begins with values on the host and ends with logits on the host. The configurations take turns.
    Infer(InferArgs),
}

#[derive(clap::Args)]
struct StepArgs {
    /// Time the networks of these recipes, with their [simqat] options; several, separated by commas [default: LeNet5
    /// as the model zoo trains it]
    #[arg(long, value_name = "FILE,..", value_delimiter = ',')]
    recipe: Vec<PathBuf>,
    #[command(flatten)]
    assignments: Assignments,
    /// Where convolutions have BatchNorm behind them, time all three forms of its fold
    #[arg(long)]
    folds: bool,
    /// Images in a step; several, separated by commas
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [32, 256])]
    batch: Vec<usize>,
    /// Time each configuration so often; at least 1
    #[arg(long, value_name = "N", default_value_t = 5)]
    repetitions: usize,
    /// Steps in a repetition
    #[arg(long, value_name = "N", default_value_t = 100)]
    steps: usize,
    /// Steps before the first repetition, which are not counted: they compile the kernels
    #[arg(long, value_name = "N", default_value_t = 20)]
    warm_up: usize,
    /// Show also the time in each kernel, on the device's own clock where it has one
    #[arg(long)]
    profile: bool,
    /// Take the images of this data set instead of the recipes'
    #[arg(long, value_name = "NAME")]
    data: Option<String>,
    /// Take the data from DIR, which has a folder per data set in it (mnist/) [env: SIMQAT_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl StepArgs {
    fn recipes(&self) -> Result<Vec<Recipe>> {
        match &self.recipe[..] {
            [] => Ok(vec![self.assignments.default_recipe()?]),
            files => files.iter().map(|file| self.assignments.read(file)).collect(),
        }
    }

    /// The one data set of all.
    fn data<'a>(&'a self, recipes: &'a [Recipe]) -> Result<&'a str> {
        let of = |recipe: &'a Recipe| recipe.data.name.as_str();
        let first = of(&recipes[0]);
        match (&self.data, recipes.iter().find(|recipe| of(recipe) != first)) {
            (Some(name), _) => Ok(name),
            (None, None) => Ok(first),
            (None, Some(other)) => Err(Error::Invalid(format!(
                "\"{}\" takes {first} and \"{}\" takes {}; name one data set for both with --data",
                recipes[0].name,
                other.name,
                of(other)
            ))),
        }
    }
}

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    match &args.command {
        Command::Step(args) => step(args, global, console),
        Command::Loader(args) => bench_loader::run(args, global, console),
        Command::Infer(args) => bench_infer::run(args, global, console),
    }
}

fn step(args: &StepArgs, global: &Global, console: &Console) -> Result<()> {
    let at_least_one = [("--repetitions", args.repetitions), ("--steps", args.steps)];
    if let Some((option, _)) = at_least_one.into_iter().find(|(_, n)| *n == 0) {
        return Err(Error::Invalid(format!("{option} 0: it must be at least 1")));
    }
    let recipes = args.recipes()?;
    let (data, gpu) = begin(global, console, args.data(&recipes)?, args.data_dir.clone())?;
    let mut heats = heats(args, &recipes, &data, &gpu)?;
    console.say(format!(
        "{} configurations in turns, {} times {} steps each, after {} steps of warm-up that are not counted",
        heats.iter_mut().map(|heat| heat.contests().count()).sum::<usize>(),
        args.repetitions,
        args.steps,
        args.warm_up
    ));
    for contest in heats.iter_mut().flat_map(Heat::contests) {
        contest.run(args.warm_up)?;
    }
    for repetition in 0..args.repetitions {
        let mut turns: Vec<_> = heats.iter_mut().flat_map(Heat::contests).collect();
        // There and back, so that a drift favours nobody.
        if repetition % 2 == 1 {
            turns.reverse();
        }
        turns.into_iter().try_for_each(|contest| contest.time(args.steps))?;
        console.say(format!("repetition {} of {} done", repetition + 1, args.repetitions));
    }
    let rows: Vec<Row> = heats.iter().flat_map(Heat::rows).collect();
    console.result(&format!(
        "\nms per training step: {} repetitions of {} steps, on {}\n{}",
        args.repetitions,
        args.steps,
        gpu.caps().adapter.name,
        table(&rows)
    ))?;
    if args.profile {
        for contest in heats.iter_mut().flat_map(Heat::contests).filter(|c| c.mode() == RunMode::Graph) {
            console.result(&contest.profile(&gpu, args.steps)?)?;
        }
    }
    console.result_json(&json!({
        "rows": rows,
        "adapter": gpu.caps().adapter.name,
        "data": data.source,
        "repetitions": args.repetitions,
        "steps": args.steps,
        "warm_up": args.warm_up,
    }))
}

fn heats(args: &StepArgs, recipes: &[Recipe], data: &Dataset, gpu: &Gpu) -> Result<Vec<Heat>> {
    let mut heats = Vec::new();
    for recipe in recipes {
        for &batch in &args.batch {
            for mode in [RunMode::Eager, RunMode::Graph] {
                heats.push(Heat::new(gpu, data, recipe, batch, mode, args.folds)?);
            }
        }
    }
    if args.folds && !heats.iter().any(Heat::has_folds) {
        return Err(Error::Invalid(
            "--folds: no recipe's network has a Conv2d with a BatchNorm2d behind it; name one with --recipe"
                .into(),
        ));
    }
    Ok(heats)
}
