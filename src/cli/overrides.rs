//! Options that change a recipe for one run.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use simqat::Result;
use simqat::train::{Recipe, RunMode};

/// What may be changed without editing the recipe.
#[derive(Args, Clone)]
pub struct Overrides {
    /// Pass N times over the training images (also over the shipped sample)
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Draw initial values and the order of the images from N
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Take N images in a step
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Train on the data set NAME: mnist, fashion-mnist, or mnist-5k, the shipped sample
    #[arg(long, value_name = "NAME")]
    pub data: Option<String>,
    /// Build each step anew, or record the first and replay it; both give the same bits
    #[arg(long)]
    pub mode: Option<Mode>,
    /// Call the run folder NAME
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Where a run reads and writes.
#[derive(Args, Clone)]
pub struct Places {
    /// Take the data from DIR, which has a folder per data set in it (mnist/) [env: SIMQAT_DATA]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Put the run folder into DIR
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
}

/// `--mode`
#[derive(Clone, Copy, ValueEnum)]
pub enum Mode {
    Eager,
    Graph,
}

impl From<Mode> for RunMode {
    fn from(mode: Mode) -> RunMode {
        match mode {
            Mode::Eager => RunMode::Eager,
            Mode::Graph => RunMode::Graph,
        }
    }
}

impl Overrides {
    /// The recipe with these options in place of its own, checked again.
    pub fn apply(&self, mut recipe: Recipe) -> Result<Recipe> {
        if let Some(epochs) = self.epochs {
            recipe.train.epochs = epochs;
            recipe.data.sample_epochs = epochs;
        }
        if let Some(seed) = self.seed {
            recipe.seed = seed;
        }
        if let Some(batch) = self.batch {
            recipe.data.batch = batch;
        }
        if let Some(data) = &self.data {
            recipe.data.name.clone_from(data);
        }
        if let Some(mode) = self.mode {
            recipe.train.mode = mode.into();
        }
        if let Some(name) = &self.name {
            recipe.name.clone_from(name);
        }
        recipe.validate()?;
        Ok(recipe)
    }
}
