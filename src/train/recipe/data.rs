//! What a recipe says about its data: which, how many, and what pictures go through on their way to the network.

use serde::{Deserialize, Serialize};

use super::Validation;
use crate::data::{Crop, KnownSet, LoaderOptions, Transform};
use crate::quant::Finding;
use crate::train::normalization::Normalization;
use crate::{Error, Result};

/// The data of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecipe {
    /// "mnist", "fashion-mnist", "mnist-5k" or "cifar10", or a folder of pictures.
    pub name: String,
    /// Images in a step.
    pub batch: usize,
    /// Images in a step of the evaluation.
    pub eval_batch: usize,
    /// Mean and deviation of each channel, of values between 0 and 1.
    #[serde(flatten)]
    pub normalization: Normalization,
    /// Passes over the images where the small shipped sample stands in for the whole data set: it has fewer
    /// steps in an epoch.
    pub sample_epochs: usize,
    /// Train on so many images only, always the same ones; 0: on all.
    pub limit: usize,
    /// What the best checkpoint and the curves go by.
    pub validation: Validation,
    /// Threads that decode pictures; 0: as many as there are cores.
    pub workers: usize,
    /// Batches that are decoded ahead.
    pub prefetch: usize,
    /// What pictures go through for training.
    pub augment: AugmentRecipe,
    /// What they go through for evaluating.
    pub evaluate: EvaluateRecipe,
}

/// What pictures go through for training, in this order. At the end they are resized to what the network takes, where
/// they have another size by then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AugmentRecipe {
    /// Resize so that the shorter side has so many pixels; 0: don't.
    pub resize: usize,
    /// Black pixels that are put around the picture.
    pub pad: usize,
    /// Side of a square that is cut out at a random place; 0: none is.
    pub random_crop: usize,
    /// Cut out a part of random size and shape at a random place.
    pub random_resized_crop: bool,
    /// Smallest and largest share of the area of such a part.
    pub scale: [f64; 2],
    /// Its smallest and largest width through height.
    pub ratio: [f64; 2],
    /// Mirror every second picture, by chance.
    pub flip: bool,
}

/// What pictures go through for evaluating, in this order; at the end as in [`AugmentRecipe`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluateRecipe {
    /// Resize so that the shorter side has so many pixels; 0: don't.
    pub resize: usize,
    /// Side of a square that is cut out of the middle; 0: none is.
    pub centre_crop: usize,
}

impl Default for AugmentRecipe {
    /// Nothing; scale and ratio are those of Szegedy et al. 2015, section 6, for when they are wanted.
    fn default() -> Self {
        AugmentRecipe {
            resize: 0,
            pad: 0,
            random_crop: 0,
            random_resized_crop: false,
            scale: [0.08, 1.0],
            ratio: [0.75, 1.333_333_333_333_333_3],
            flip: false,
        }
    }
}

impl Default for DataRecipe {
    /// MNIST as the MindSpore model zoo takes it.
    fn default() -> Self {
        DataRecipe {
            name: "mnist".into(),
            batch: 32,
            eval_batch: 256,
            normalization: Normalization { mean: vec![0.1307], deviation: vec![0.3081] },
            sample_epochs: 40,
            limit: 0,
            validation: Validation::None,
            workers: 0,
            prefetch: 4,
            augment: AugmentRecipe::default(),
            evaluate: EvaluateRecipe::default(),
        }
    }
}

impl AugmentRecipe {
    /// The same as steps.
    pub fn transform(&self) -> Transform {
        let crop = if self.random_resized_crop {
            Crop::RandomResized { scale: self.scale, ratio: self.ratio }
        } else if self.random_crop > 0 {
            Crop::Random { pad: self.pad, side: self.random_crop }
        } else {
            Crop::Whole
        };
        Transform { resize: self.resize, crop, flip: self.flip }
    }

    fn validate(&self) -> Result<()> {
        if self.random_resized_crop && (self.random_crop > 0 || self.resize > 0) {
            return Err(Error::Invalid(
                "data.augment.random_resized_crop = true: it takes the place of resize and random_crop; leave those at 0"
                    .into(),
            ));
        }
        if self.pad > 0 && self.random_crop == 0 {
            return Err(Error::Invalid(format!(
                "data.augment.pad = {}: padding is for random_crop, which is 0; say how large the crop is",
                self.pad
            )));
        }
        let largest = self.resize + 2 * self.pad;
        if self.resize > 0 && largest < self.random_crop {
            return Err(Error::Invalid(format!(
                "data.augment.random_crop = {}: with data.augment.resize = {} and data.augment.pad = {} the shorter side has \
                 {largest} pixels; make the crop at most that",
                self.random_crop, self.resize, self.pad
            )));
        }
        let [low, high] = self.scale;
        if !(0.0 < low && low <= high && high <= 1.0) {
            return Err(Error::Invalid(format!(
                "data.augment.scale = [{low}, {high}]: it must be two shares of the area, ascending, above 0 and at most 1"
            )));
        }
        let [low, high] = self.ratio;
        if !(0.0 < low && low <= high && high.is_finite()) {
            return Err(Error::Invalid(format!(
                "data.augment.ratio = [{low}, {high}]: it must be two ratios of width to height, ascending and above 0"
            )));
        }
        Ok(())
    }
}

impl EvaluateRecipe {
    /// The same as steps.
    pub fn transform(&self) -> Transform {
        let crop = match self.centre_crop {
            0 => Crop::Whole,
            side => Crop::Centre { side },
        };
        Transform { resize: self.resize, crop, flip: false }
    }
}

/// The largest side and padding that a recipe may ask for: larger ones are typing mistakes that would only be noticed
/// when memory runs out.
const LARGEST_SIDE: usize = 1 << 14;

impl DataRecipe {
    /// Threads and batches ahead, for data that does not lie on the device.
    pub fn loader(&self) -> LoaderOptions {
        LoaderOptions { workers: self.workers, prefetch: self.prefetch }
    }

    /// Options that have no effect beside the others.
    pub(in crate::train) fn lint(&self) -> Vec<Finding> {
        let usual = DataRecipe::default();
        let (augment, plain) = (&self.augment, usual.augment);
        let mut findings = Vec::new();
        let mut idle = |is: bool, option: String, reason: &str| {
            findings.extend(is.then(|| Finding { option, reason: reason.into() }));
        };
        let no_parts = "data.augment.random_resized_crop is false";
        for (key, value, plain) in
            [("scale", augment.scale, plain.scale), ("ratio", augment.ratio, plain.ratio)]
        {
            let is = !augment.random_resized_crop && value != plain;
            idle(is, format!("data.augment.{key} = {value:?}"), no_parts);
        }
        // The known sets are small enough to lie on the device, where the device can do all that is asked.
        let is_resident = self.name.parse::<KnownSet>().is_ok()
            && augment.transform().is_for_device()
            && self.evaluate.transform().is_for_device();
        for (key, value, usual) in
            [("workers", self.workers, usual.workers), ("prefetch", self.prefetch, usual.prefetch)]
        {
            let is = is_resident && value != usual;
            idle(is, format!("data.{key} = {value}"), "the pictures lie decoded on the device");
        }
        findings
    }

    /// Fails where a value makes no sense, with its key.
    pub(super) fn validate(&self) -> Result<()> {
        self.validation.validate()?;
        let positive = [
            ("data.batch", self.batch),
            ("data.eval_batch", self.eval_batch),
            ("data.sample_epochs", self.sample_epochs),
            ("data.prefetch", self.prefetch),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Invalid(format!("{key} = 0: it must be at least 1")));
        }
        let bounded = [
            ("data.workers", self.workers, 1024),
            ("data.prefetch", self.prefetch, 1024),
            ("data.augment.resize", self.augment.resize, LARGEST_SIDE),
            ("data.augment.pad", self.augment.pad, LARGEST_SIDE),
            ("data.augment.random_crop", self.augment.random_crop, LARGEST_SIDE),
            ("data.evaluate.resize", self.evaluate.resize, LARGEST_SIDE),
            ("data.evaluate.centre_crop", self.evaluate.centre_crop, LARGEST_SIDE),
        ];
        if let Some((key, value, most)) = bounded.iter().find(|(_, value, most)| value > most) {
            return Err(Error::Invalid(format!("{key} = {value}: it must be at most {most}")));
        }
        if self.limit > 0 && self.limit < self.batch {
            return Err(Error::Invalid(format!(
                "data.limit = {}: a batch has {} images, so at least that many must be left",
                self.limit, self.batch
            )));
        }
        self.augment.validate()
    }
}

#[cfg(test)]
mod tests {
    use crate::train::Recipe;

    #[test]
    fn what_has_no_effect_is_found() {
        let found = |text: &str| {
            let findings = Recipe::parse(&format!("[data]\n{text}")).unwrap().data.lint();
            findings.iter().map(|finding| finding.option.clone()).collect::<Vec<_>>()
        };
        assert!(found("").is_empty());
        assert_eq!(found("workers = 2\nprefetch = 9"), ["data.workers = 2", "data.prefetch = 9"]);
        assert!(found("name = \"flowers\"\nworkers = 2").is_empty());
        assert!(found("workers = 2\n[data.evaluate]\nresize = 30").is_empty());
        let parts = "[data.augment]\nscale = [0.5, 1.0]\nratio = [1.0, 1.0]";
        assert_eq!(found(parts), ["data.augment.scale = [0.5, 1.0]", "data.augment.ratio = [1.0, 1.0]"]);
        assert!(found(&format!("{parts}\nrandom_resized_crop = true")).is_empty());
    }

    #[test]
    fn mistakes_are_named_with_key_and_value() {
        let cases = [
            ("prefetch = 0", &["data.prefetch = 0", "at least 1"][..]),
            ("workers = 5000", &["data.workers = 5000", "at most 1024"]),
            ("limit = 7", &["data.limit = 7", "32 images"]),
            ("[data.augment]\nscale = [0.0, 1.0]", &["data.augment.scale = [0, 1]", "above 0"]),
            ("[data.augment]\nscale = [0.5, 0.1]", &["data.augment.scale = [0.5, 0.1]", "ascending"]),
            ("[data.augment]\nratio = [2.0, 1.0]", &["data.augment.ratio = [2, 1]"]),
            ("[data.augment]\nscale = [0.5]", &["data.augment"]),
            ("[data.augment]\npad = 4", &["data.augment.pad = 4", "random_crop"]),
            (
                "[data.augment]\nrandom_resized_crop = true\nrandom_crop = 32",
                &["random_resized_crop = true", "random_crop"],
            ),
            (
                "[data.augment]\nresize = 28\npad = 1\nrandom_crop = 32",
                &["data.augment.random_crop = 32", "resize = 28", "pad = 1", "30 pixels"],
            ),
            ("[data.augment]\nrandom_crop = 99999", &["data.augment.random_crop = 99999", "at most"]),
            ("[data.evaluate]\ncentre_crop = -1", &["-1"]),
            ("[data.evaluate]\ncenter_crop = 224", &["\"data.evaluate.center_crop\"", "\"centre_crop\""]),
        ];
        for (text, parts) in cases {
            let error = Recipe::parse(&format!("[data]\n{text}")).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{text:?}: {part:?} is not in: {error}");
            }
        }
    }
}
