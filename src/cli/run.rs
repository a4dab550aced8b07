//! `simqat run`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use simqat::Result;
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{RunFolder, Variant};

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
    /// Start both trainings from the values of CHECKPOINT instead of initial ones
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<PathBuf>,
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
    let recipe = args.overrides.read(&args.recipe)?;
    let from = args.from.as_ref().map(Checkpoint::read).transpose()?;
    let (data, gpu) = begin(global, console, &recipe.data.name, args.places.data_dir.clone())?;
    // So that a mistake in what concerns the second training is told before the first.
    for &variant in args.variants() {
        let network = recipe.variant_network(&gpu, data.classes, variant)?;
        from.as_ref().map_or(Ok(()), |checkpoint| checkpoint.start(&network))?;
    }
    let folder = RunFolder::new(&args.places.runs, &recipe)?;
    let mut training = Training {
        global,
        console,
        places: &args.places,
        recipe: &recipe,
        data: &data,
        gpu: &gpu,
        folder: &folder,
        from: from.as_ref(),
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
