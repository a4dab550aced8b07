//! `simqat bench`

use std::path::PathBuf;
use std::time::Instant;

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;
use simqat::data::Dataset;
use simqat::gpu::Gpu;
use simqat::train::{Recipe, RunMode, Trainer, Variant};
use simqat::{Error, Result};

use super::Global;
use super::console::Console;
use super::progress::title;
use super::session::begin;
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Time LeNet5's training step, in float and with SimQAT, eager and recorded
    ///
    /// The configurations take turns in each repetition, so that a machine that warms up or gets busy slows all
    /// of them alike. A repetition ends when the GPU has done its last step. Batches are real images.
    Step(StepArgs),
}

#[derive(clap::Args)]
struct StepArgs {
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
    /// Take the images of this data set: they must be grey and of ten classes
    #[arg(long, value_name = "NAME", default_value = "mnist")]
    data: String,
    /// Take the data from DIR, which has a folder per data set in it (mnist/) [env: SIMQAT_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    let Command::Step(args) = &args.command;
    step(args, global, console)
}

/// One configuration and its times.
struct Contest {
    variant: Variant,
    mode: RunMode,
    batch: usize,
    trainer: Trainer,
    /// Milliseconds per step of each repetition.
    times: Vec<f64>,
}

#[derive(Serialize)]
struct Row {
    model: &'static str,
    batch: usize,
    /// Height and width of the images.
    size: usize,
    quant: &'static str,
    mode: &'static str,
    ms_median: f64,
    ms_min: f64,
    ms_max: f64,
}

fn step(args: &StepArgs, global: &Global, console: &Console) -> Result<()> {
    let at_least_one = [("--repetitions", args.repetitions), ("--steps", args.steps)];
    if let Some((option, _)) = at_least_one.into_iter().find(|(_, n)| *n == 0) {
        return Err(Error::Invalid(format!("{option} 0: it must be at least 1")));
    }
    let (data, gpu) = begin(global, console, &args.data, args.data_dir.clone())?;
    let mut contests = contests(&data, &gpu, &args.batch)?;
    console.say(format!(
        "{} configurations in turns, {} times {} steps each, after {} steps of warm-up that are not counted",
        contests.len(),
        args.repetitions,
        args.steps,
        args.warm_up
    ));
    for contest in &mut contests {
        contest.run(args.warm_up)?;
    }
    for repetition in 0..args.repetitions {
        for contest in &mut contests {
            let start = Instant::now();
            contest.run(args.steps)?;
            contest.times.push(start.elapsed().as_secs_f64() * 1e3 / args.steps as f64);
        }
        console.say(format!("repetition {} of {} done", repetition + 1, args.repetitions));
    }
    let rows: Vec<Row> = contests.iter().map(Contest::row).collect();
    console.result(&format!(
        "\nLeNet5, ms per training step: {} repetitions of {} steps, on {}\n{}",
        args.repetitions,
        args.steps,
        gpu.caps().adapter.name,
        table(&rows)
    ))?;
    if args.profile {
        for contest in contests.iter_mut().filter(|c| c.mode == RunMode::Graph) {
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

fn contests(data: &Dataset, gpu: &Gpu, batches: &[usize]) -> Result<Vec<Contest>> {
    let mut contests = Vec::new();
    for &batch in batches {
        for variant in [Variant::Float, Variant::SimQat] {
            for mode in [RunMode::Eager, RunMode::Graph] {
                let mut recipe = Recipe::default();
                (recipe.data.batch, recipe.train.mode) = (batch, mode);
                // Without the delay, so that every timed step quantizes.
                recipe.simqat = recipe.simqat.quant_delay(0);
                let network = recipe.variant_network(gpu, data.classes, variant)?;
                let feed = recipe.feed(&network, &data.train, batch)?;
                let trainer = Trainer::new(network, feed, recipe.trainer_options())?;
                contests.push(Contest { variant, mode, batch, trainer, times: Vec::new() });
            }
        }
    }
    Ok(contests)
}

impl Contest {
    /// Takes steps and waits until the device has done them.
    fn run(&mut self, steps: usize) -> Result<()> {
        (0..steps).try_for_each(|_| self.trainer.step())?;
        self.trainer.network().gpu().wait()
    }

    fn mode_name(&self) -> &'static str {
        match self.mode {
            RunMode::Eager => "eager",
            RunMode::Graph => "graph",
        }
    }

    fn row(&self) -> Row {
        let mut sorted = self.times.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        Row {
            model: "lenet5",
            batch: self.batch,
            size: self.trainer.network().input_shape()[1],
            quant: self.variant.name(),
            mode: self.mode_name(),
            ms_median: median,
            ms_min: sorted[0],
            ms_max: sorted[sorted.len() - 1],
        }
    }

    fn profile(&mut self, gpu: &Gpu, steps: usize) -> Result<String> {
        let (times, ()) = gpu.profile(|| self.run(steps))?;
        let all: f64 = times.iter().map(|t| t.total.as_secs_f64()).sum();
        let mut table = Table::default();
        table.row(["us/step", "share", "calls/step", "kernel"]);
        for time in &times {
            let seconds = time.total.as_secs_f64();
            table.row([
                format!("{:.1}", seconds * 1e6 / steps as f64),
                format!("{:.1} %", 100.0 * seconds / all),
                format!("{:.1}", time.calls as f64 / steps as f64),
                time.kernel.clone(),
            ]);
        }
        Ok(format!(
            "\n{}, batch {}: {:.3} ms per step in kernels\n{}",
            title(self.variant),
            self.batch,
            all * 1e3 / steps as f64,
            table.text()
        ))
    }
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::default();
    table.row(["batch", "network", "mode", "median", "min", "max"]);
    for row in rows {
        let ms = |value: f64| format!("{value:.3}");
        table.row([
            row.batch.to_string(),
            row.quant.to_string(),
            row.mode.to_string(),
            ms(row.ms_median),
            ms(row.ms_min),
            ms(row.ms_max),
        ]);
    }
    table.numbers()
}
