//! `simqat run`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use simqat::Result;
use simqat::train::{Recipe, RunFolder, Variant};

use super::Global;
use super::console::Console;
use super::interrupt::stop_flag;
use super::overrides::{Overrides, Places};
use super::session::begin;
use super::train::Training;

#[derive(clap::Args)]
pub struct Args {
    /// The recipe, such as recipes/lenet5-mnist.toml
    recipe: PathBuf,
    /// Train the float network alone
    #[arg(long, conflicts_with = "simqat_only")]
    float_only: bool,
    /// Train the quantized network alone
    #[arg(long)]
    simqat_only: bool,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    places: Places,
}

impl Args {
    fn variants(&self) -> &'static [Variant] {
        match (self.float_only, self.simqat_only) {
            (true, _) => &[Variant::Float],
            (_, true) => &[Variant::SimQat],
            _ => &[Variant::Float, Variant::SimQat],
        }
    }
}

pub fn run(args: &Args, global: &Global, console: &Console, start: Instant) -> Result<ExitCode> {
    let recipe = args.overrides.apply(Recipe::read(&args.recipe)?)?;
    let (data, gpu) = begin(global, console, &recipe.data.name, args.places.data_dir.clone())?;
    let folder = RunFolder::new(&args.places.runs, &recipe)?;
    let mut training = Training {
        global,
        console,
        places: &args.places,
        recipe: &recipe,
        data: &data,
        gpu: &gpu,
        folder: &folder,
        stop: stop_flag()?,
        start,
        summary: None,
        checkpoints: Vec::new(),
    };
    for &variant in args.variants() {
        if let Some(step) = training.train(variant, None)? {
            return Ok(training.interrupted(step));
        }
    }
    training.tell()?;
    Ok(ExitCode::SUCCESS)
}
