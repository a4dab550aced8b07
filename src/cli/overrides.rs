//! Options that change a recipe for one run.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use simqat::Result;
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{Recipe, RunMode};

use super::checkpoints::recipe_of;

/// Lines put over a recipe.
#[derive(Args, Clone)]
pub struct Assignments {
    /// Put KEY = VALUE over the recipe, as if that line stood in it; may be given several times
    ///
    /// Such as --set simqat.one_conv_fold=true, or --set 'simqat.layer."fc*".weight_bits=4'.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Assignments {
    /// The default recipe with these lines over it.
    pub fn default_recipe(&self) -> Result<Recipe> {
        Recipe::parse_with("", &self.set)
    }

    /// The recipe in a file with these lines over it.
    pub fn read(&self, path: &Path) -> Result<Recipe> {
        Recipe::read_with(path, &self.set)
    }

    /// The recipe in a checkpoint with these lines over it.
    pub fn recipe_of(&self, checkpoint: &Checkpoint) -> Result<Recipe> {
        recipe_of(checkpoint, &self.set)
    }
}

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
    /// Train on the data set NAME: mnist, fashion-mnist, cifar10, mnist-5k (the shipped sample), or a folder with train/ and
    /// val/ in it, by path or by its name in the data folder
    #[arg(long, value_name = "NAME")]
    pub data: Option<String>,
    /// Build each step anew, or record the first and replay it; both give the same bits
    #[arg(long)]
    pub mode: Option<Mode>,
    /// Call the run folder NAME
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub assignments: Assignments,
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
    /// The recipe in a file with these options in place of its own.
    pub fn read(&self, path: &Path) -> Result<Recipe> {
        self.apply(self.assignments.read(path)?)
    }

    /// The recipe in a checkpoint with these options in place of its own.
    pub fn recipe_of(&self, checkpoint: &Checkpoint) -> Result<Recipe> {
        self.apply(self.assignments.recipe_of(checkpoint)?)
    }

    /// Options that have a name of their own go over assignments.
    fn apply(&self, mut recipe: Recipe) -> Result<Recipe> {
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
