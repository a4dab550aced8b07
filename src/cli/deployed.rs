//! What the commands around int8 models share: telling them from checkpoints, making them, and the engines.

use std::path::Path;

use clap::ValueEnum;
use simqat::data::folder::read_classes;
use simqat::data::{DataOptions, Dataset, KnownSet};
use simqat::deploy::{Conversion, CpuEngine, Engine, GpuEngine, Int8Model, convert, is_int8_model};
use simqat::gpu::Gpu;
use simqat::nn::Network;
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{Feed, Recipe, Variant};
use simqat::{Error, Result};

use super::checkpoints::{classes_of, recipe_of, variant_of};

/// Where an int8 model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// The processor; no GPU is opened for the model
    Cpu,
    /// The chosen adapter
    Gpu,
}

impl Device {
    pub fn name(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Gpu => "gpu",
        }
    }

    /// An engine with the model in it; `gpu` is where the engine of that name runs.
    pub fn engine(self, gpu: &Gpu, model: &Int8Model) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Device::Cpu => Box::new(CpuEngine::new(model)?),
            Device::Gpu => Box::new(GpuEngine::new(gpu, model)?),
        })
    }
}

/// A file of this program with a network in it.
pub enum Saved {
    Checkpoint(Checkpoint),
    Int8(Int8Model),
}

impl Saved {
    pub fn read(path: &Path) -> Result<Saved> {
        match is_int8_model(path)? {
            true => Ok(Saved::Int8(Int8Model::read(path)?)),
            false => Ok(Saved::Checkpoint(Checkpoint::read(path)?)),
        }
    }
}

/// A checkpoint with everything that it says of itself.
pub struct Trained {
    pub recipe: Recipe,
    pub variant: Variant,
    pub classes: usize,
    pub network: Network,
}

impl Trained {
    pub fn of(gpu: &Gpu, checkpoint: &Checkpoint) -> Result<Trained> {
        let (recipe, variant) = (recipe_of(checkpoint, &[])?, variant_of(checkpoint)?);
        let classes = classes_of(&recipe, Some(checkpoint), None, &DataOptions::default())?;
        let network = recipe.blank_network(gpu, classes, variant)?;
        checkpoint.load_into(&network)?;
        Ok(Trained { recipe, variant, classes, network })
    }

    /// The integer network, with what is needed to run it on pictures written beside it.
    pub fn converted(&self, checkpoint: &Checkpoint) -> Result<Conversion> {
        let mut conversion = convert(&self.network).map_err(|e| match e {
            Error::Invalid(message) => Error::bad_file(checkpoint.path(), message),
            other => other,
        })?;
        let metadata = &mut conversion.model.metadata;
        metadata.insert("recipe".into(), self.recipe.to_toml()?);
        let names = class_names(checkpoint.metadata("class_names"), &self.recipe, self.classes);
        metadata.insert("class_names".into(), serde_json::json!(names).to_string());
        if let Some(step) = checkpoint.step() {
            metadata.insert("step".into(), step.to_string());
        }
        Ok(conversion)
    }
}

/// What people call the classes: as a file says, or the recipe's data set; their numbers where neither does.
pub fn class_names(told: Option<&str>, recipe: &Recipe, classes: usize) -> Vec<String> {
    let told: Option<Vec<String>> = told.and_then(|names| serde_json::from_str(names).ok());
    let names = told.filter(|names| names.len() == classes).or_else(|| known_names(recipe, classes));
    names.unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect())
}

/// The names of the classes of the recipe's data, if that is a known set of so many, or a folder that is there.
pub fn known_names(recipe: &Recipe, classes: usize) -> Option<Vec<String>> {
    let names = match recipe.data.name.parse::<KnownSet>() {
        Ok(set) => set.class_names().iter().map(ToString::to_string).collect(),
        Err(_) => read_classes(&recipe.data.name).ok()?,
    };
    (names.len() == classes).then_some(names)
}

/// `data` with its labels in the order of the model's classes, if it says them.
pub fn in_its_classes(model: &Int8Model, path: &Path, data: Dataset) -> Result<Dataset> {
    let Some(text) = model.metadata.get("class_names") else { return Ok(data) };
    let names: Vec<String> = serde_json::from_str(text)
        .map_err(|e| Error::bad_file(path, format!("its class_names are no list of names ({e}): {text}")))?;
    data.in_order_of(&names).map_err(|e| Error::bad_file(path, e.to_string()))
}

/// The recipe that an int8 model was trained by.
pub fn recipe_in(model: &Int8Model, path: &Path) -> Result<Recipe> {
    let text = model.metadata.get("recipe").ok_or_else(|| {
        Error::bad_file(
            path,
            "it does not say its recipe, and so not how pictures are prepared; `simqat convert` writes it",
        )
    })?;
    Recipe::parse(text).map_err(|e| Error::bad_file(path, format!("the recipe in it: {e}")))
}

/// A feed of test images for a network of the recipe, without the network.
pub fn test_feed(gpu: &Gpu, recipe: &Recipe, data: &Dataset) -> Result<Feed> {
    recipe.test_feed(&recipe.blank_network(gpu, data.classes, Variant::Float)?, data)
}
