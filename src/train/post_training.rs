//! Post-training quantization: a trained float network gets quantizers and sees some batches, and is not trained.

use std::path::Path;

use super::calibrate::calibrate;
use super::checkpoint::{Checkpoint, save_network_with};
use super::evaluate::{Evaluation, evaluate};
use super::recipe::Recipe;
use super::run::Variant;
use crate::data::Dataset;
use crate::gpu::Gpu;
use crate::nn::Network;
use crate::quant::Finding;
use crate::{Error, Result};

/// A float network and what became of it by calibration alone.
pub struct PostTraining {
    /// The quantized network, with the ranges that it was shown.
    pub network: Network,
    /// The float network on the test images.
    pub before: Evaluation,
    /// The quantized one.
    pub after: Evaluation,
    /// Options of the recipe that had no effect.
    pub findings: Vec<Finding>,
    metadata: Vec<(String, String)>,
}

impl PostTraining {
    /// Quantizes the float network in `checkpoint` as the recipe says, and shows its observers
    /// `train.calibrate_batches` batches of training images in the order of a first epoch. They go through what pictures go
    /// through for evaluating, `[data.evaluate]`: nothing is trained, so ranges are to be those of whole pictures.
    ///
    /// # Errors
    /// Where the checkpoint is quantized already or of another network, the recipe names no batches or more than there
    /// are, or the device has failed.
    pub fn of(gpu: &Gpu, recipe: &Recipe, checkpoint: &Checkpoint, data: &Dataset) -> Result<PostTraining> {
        if checkpoint.is_quantized() {
            let message = "it is quantized already; calibrate a checkpoint of the float network";
            return Err(Error::bad_file(checkpoint.path(), message));
        }
        checkpoint.check_classes(data)?;
        let float = recipe.network(gpu, data.classes)?;
        checkpoint.load_into(&float)?;
        let network = recipe.simqat.apply(&float)?;
        let batches = recipe.train.calibrate_batches;
        let images = recipe.calibration_feed(&network, data)?;
        images.shuffle(recipe.seed, 0)?;
        calibrate(&network, &images, batches)?;
        let test = recipe.test_feed(&network, data)?;
        let mut metadata = recipe.metadata(Variant::SimQat, data)?;
        metadata.push(("calibrated".into(), format!("{batches} batches of {} images", recipe.data.batch)));
        Ok(PostTraining {
            before: evaluate(&float, &test)?,
            after: evaluate(&network, &test)?,
            findings: recipe.simqat.lint(&float),
            network,
            metadata,
        })
    }

    /// Writes the quantized network as a checkpoint to evaluate, or to start a training from.
    ///
    /// # Errors
    /// As [`save_training`](super::checkpoint::save_training).
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save_network_with(&self.network, path, &self.metadata)
    }
}
