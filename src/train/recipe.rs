//! Recipes: everything that decides about a training, as text.

mod data;
mod model;
mod training;
mod validation;

use std::path::Path;

pub use data::{AugmentRecipe, DataRecipe, EvaluateRecipe};
pub use model::{ModelRecipe, ResNetRecipe};
use serde::{Deserialize, Serialize};
pub use training::{CheckpointRecipe, OptimizerRecipe, TrainRecipe};
pub use validation::Validation;

use crate::gpu::Gpu;
use crate::nn::Network;
use crate::optim::Schedule;
use crate::quant::{SimQat, Style};
use crate::{Error, Result, settings};

/// A training, float and quantized: `recipes/*.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Name of the run folder.
    pub name: String,
    /// Draws initial values and the order of the images.
    pub seed: u64,
    /// What is trained.
    pub model: ModelRecipe,
    /// On what.
    pub data: DataRecipe,
    /// For how long.
    pub train: TrainRecipe,
    /// By what steps.
    pub optimizer: OptimizerRecipe,
    /// How the size of the steps changes.
    pub schedule: Schedule,
    /// What is kept.
    pub checkpoint: CheckpointRecipe,
    /// How the quantized variant is quantized.
    pub simqat: SimQat,
}

impl Default for Recipe {
    /// LeNet5 on MNIST as in the MindSpore model zoo; `recipes/lenet5-mnist.toml` says the same.
    fn default() -> Self {
        Recipe {
            name: "lenet5-mnist".into(),
            seed: 1,
            model: ModelRecipe::default(),
            data: DataRecipe::default(),
            train: TrainRecipe::default(),
            optimizer: OptimizerRecipe::default(),
            schedule: Schedule::default(),
            checkpoint: CheckpointRecipe::default(),
            simqat: SimQat::default().quant_delay(900),
        }
    }
}

impl Recipe {
    /// Reads a recipe. Keys that are left out have the values of [`Recipe::default`].
    ///
    /// # Errors
    /// Where the file is missing or no TOML, or a key or value cannot be used, with its name.
    pub fn read(path: impl AsRef<Path>) -> Result<Recipe> {
        Recipe::read_with(path, &[])
    }

    /// As [`Recipe::read`], with assignments such as `train.epochs = 3` put over what the file says. A value that is no
    /// TOML is taken as a string.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn read_with(path: impl AsRef<Path>, assignments: &[String]) -> Result<Recipe> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Recipe::parse_with(&text, assignments).map_err(|e| match Recipe::parse(&text) {
            // A mistake of the file, or one that only the assignments made.
            Err(own) if own.to_string() == e.to_string() => Error::bad_file(path, e.to_string()),
            _ => e,
        })
    }

    /// As [`Recipe::read`], from text.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn parse(text: &str) -> Result<Recipe> {
        Recipe::parse_with(text, &[])
    }

    /// As [`Recipe::read_with`], from text.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn parse_with(text: &str, assignments: &[String]) -> Result<Recipe> {
        let mut given: toml::Table = toml::from_str(text).map_err(settings::invalid)?;
        for assignment in assignments {
            let assigned = settings::assigned(assignment)?;
            // A style stands for its whole preset, so it takes the place of what was said before it.
            if assigned.get("simqat").is_some_and(|simqat| simqat.get("style").is_some()) {
                given.remove("simqat");
            }
            settings::overlay(&mut given, assigned);
        }
        let mut defaults = Recipe::default();
        // A style stands for a whole set of options.
        if let Some(style) = given.get("simqat").and_then(|simqat| simqat.get("style")) {
            let style = Style::from_toml(style)?;
            let delay = defaults.simqat.activations.quant_delay;
            defaults.simqat = SimQat::preset(style).quant_delay(delay);
        }
        let defaults = toml::Table::try_from(defaults)
            .map_err(|e| Error::Invalid(format!("the default recipe cannot be written: {e}")))?;
        let recipe: Recipe = settings::over(defaults, given, "", &["simqat.layer", "data.validation"])?;
        recipe.validate()?;
        Ok(recipe)
    }

    /// The recipe as TOML.
    ///
    /// # Errors
    /// Never for a recipe that was read.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Invalid(format!("the recipe cannot be written: {e}")))
    }

    /// Fails where a value makes no sense, with its key.
    ///
    /// # Errors
    /// See above.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("train.epochs", self.train.epochs),
            ("checkpoint.every_steps", self.checkpoint.every_steps),
            ("checkpoint.keep", self.checkpoint.keep),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Invalid(format!("{key} = 0: it must be at least 1")));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(fits) {
            return Err(Error::Invalid(format!(
                "name = \"{}\": it names a folder; use letters, digits, '-', '_' and '.'",
                self.name
            )));
        }
        // Every checkpoint has its recipe in it.
        let values = serde_json::to_value(self)
            .map_err(|e| Error::Invalid(format!("the recipe cannot be written: {e}")))?;
        if let Some((key, number)) = beyond_toml("", &values) {
            return Err(Error::Invalid(format!(
                "{key} = {number}: recipes are TOML, whose whole numbers end at {}; take a smaller one",
                i64::MAX
            )));
        }
        self.data.validate()?;
        self.model.builder(1)?;
        self.trainer_options().validate()?;
        self.simqat.validate()
    }

    /// The float network for so many classes, with the initial values of the seed.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn network(&self, gpu: &Gpu, classes: usize) -> Result<Network> {
        self.model.builder(classes)?.build(gpu, self.seed)
    }
}

/// The first whole number that TOML cannot hold, with its key.
fn beyond_toml(key: &str, value: &serde_json::Value) -> Option<(String, u64)> {
    match value {
        serde_json::Value::Object(table) => table.iter().find_map(|(name, value)| {
            beyond_toml(&if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, value)
        }),
        serde_json::Value::Array(values) => values.iter().find_map(|value| beyond_toml(key, value)),
        value => value
            .as_u64()
            .filter(|number| i64::try_from(*number).is_err())
            .map(|number| (key.to_string(), number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Variant;

    #[test]
    fn what_is_left_out_has_the_default() {
        assert_eq!(Recipe::parse("").unwrap(), Recipe::default());
        let recipe = Recipe::parse("seed = 3\n[optimizer]\nmomentum = 0").unwrap();
        assert_eq!((recipe.seed, recipe.optimizer.momentum), (3, 0.0));
        assert_eq!(Recipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
    }

    #[test]
    fn the_shipped_recipe_says_every_key_with_its_default() {
        let text = include_str!("../../recipes/lenet5-mnist.toml");
        assert_eq!(Recipe::parse(text).unwrap(), Recipe::default());
        let table = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
        assert_eq!(table(text), table(&Recipe::default().to_toml().unwrap()));
    }

    #[test]
    fn shipped_recipes_have_no_option_without_effect() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        let mut models = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let recipe = Recipe::read(entry.unwrap().path()).unwrap();
            let images = match recipe.data.name.as_str() {
                "mnist" => 60_000,
                "cifar10" => 50_000,
                "imagenet" => 1_281_167,
                other => panic!("{}: how many training images has {other}?", recipe.name),
            };
            let images = if recipe.data.limit > 0 { recipe.data.limit } else { images };
            let steps = images / recipe.data.batch / recipe.train.accumulate * recipe.train.epochs;
            for variant in [Variant::Float, Variant::SimQat] {
                assert_eq!(recipe.lint_for(variant, 10, steps).unwrap(), [], "{} {variant:?}", recipe.name);
            }
            assert!(recipe.blank_network(&Gpu::noop(), 10, Variant::SimQat).unwrap().is_quantized());
            models.push(recipe.model.name);
        }
        for model in ["lenet5", "convbn", "resnet18", "resnet50"] {
            assert!(models.iter().any(|name| name == model), "{model} is not among {models:?}");
        }
    }

    #[test]
    fn the_default_is_the_model_zoo_s_recipe() {
        let simqat = Recipe::default().simqat;
        assert_eq!((simqat.activations.quant_delay, simqat.weights.quant_delay), (900, 900));
        assert_eq!((simqat.enable_fusion, simqat.bn_fold, simqat.one_conv_fold), (true, true, false));
        let bits = (simqat.activations.bits, simqat.weights.bits);
        let per_channel = (simqat.activations.per_channel, simqat.weights.per_channel);
        let symmetric = (simqat.activations.symmetric, simqat.weights.symmetric);
        assert_eq!((bits, per_channel, symmetric), ((8, 8), (false, true), (false, true)));
    }

    #[test]
    fn a_style_stands_for_its_options_and_delays_stay() {
        let recipe = Recipe::parse("[simqat]\nstyle = \"golden_stick\"").unwrap();
        assert_eq!(recipe.simqat, SimQat::golden_stick().quant_delay(900));
        let recipe = Recipe::parse("[simqat]\nstyle = \"golden_stick\"\nenable_fusion = true").unwrap();
        assert_eq!(recipe.simqat, SimQat { enable_fusion: true, ..SimQat::golden_stick().quant_delay(900) });
        let style = ["simqat.style=golden_stick".to_string()];
        assert_eq!(Recipe::parse_with("", &style).unwrap().simqat, SimQat::golden_stick().quant_delay(900));
        // A style that is assigned takes the place of all that the recipe says of SimQAT; later assignments change it.
        let shipped = include_str!("../../recipes/lenet5-mnist.toml");
        let changed = Recipe::parse_with(shipped, &style).unwrap().simqat;
        assert_eq!(changed, SimQat::golden_stick().quant_delay(900));
        let more = [style[0].clone(), "simqat.weights.bits=4".into()];
        let changed = Recipe::parse_with(shipped, &more).unwrap().simqat;
        assert_eq!(changed, SimQat::golden_stick().quant_delay(900).bits(8, 4));
    }

    #[test]
    fn assignments_stand_for_lines() {
        let text = "[simqat.layer.conv1]\nskip = true\n[train]\nepochs = 3";
        let assignments =
            ["simqat.layer.\"fc*\".weight_bits = 4", "train.epochs=5", "train.mode=eager"].map(String::from);
        let same = "[simqat.layer.conv1]\nskip = true\n[simqat.layer.\"fc*\"]\nweight_bits = 4\n[train]\nepochs = 5\n\
                    mode = \"eager\"";
        assert_eq!(Recipe::parse_with(text, &assignments).unwrap(), Recipe::parse(same).unwrap());
        for (assignment, parts) in [
            ("train.epoch=5", &["\"train.epoch\"", "\"epochs\""][..]),
            ("train=5", &["train = 5", "integer", "table"]),
            ("train.epochs", &["\"train.epochs\"", "key = value"]),
            ("train.epochs=many", &["train.epochs = \"many\"", "string", "integer"]),
            ("simqat.weights.bits=9", &["simqat.weights.bits = 9"]),
            ("simqat.layer.fc1.bits=9", &["`bits`", "simqat.layer.fc1"]),
        ] {
            let error = Recipe::parse_with(text, &[assignment.into()]).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{assignment}: {error}");
        }
    }

    #[test]
    fn numbers_that_no_file_could_hold_are_refused_with_their_key() {
        let largest = i64::MAX as u64;
        let recipe = Recipe { seed: largest, ..Recipe::default() };
        recipe.validate().unwrap();
        assert_eq!(Recipe::parse(&recipe.to_toml().unwrap()).unwrap(), recipe);
        let mut epochs = Recipe::default();
        epochs.train.epochs = usize::MAX;
        for (recipe, key) in
            [(Recipe { seed: largest + 1, ..recipe }, "seed = 92"), (epochs, "train.epochs = 18")]
        {
            let error = recipe.validate().unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("9223372036854775807"), "{error}");
        }
    }

    #[test]
    fn mistakes_are_named_with_key_and_value() {
        let cases = [
            ("[trian]\nepochs = 1", &["\"trian\"", "\"train\""][..]),
            ("[train]\nepoch = 1", &["\"train.epoch\"", "\"epochs\""]),
            ("[simqat.weights]\nbit = 4", &["\"simqat.weights.bit\"", "\"bits\""]),
            ("[simqat.weights]\nbits = 9", &["simqat.weights.bits = 9", "2 to 8"]),
            ("[simqat.layer.x]\nweight_bit = 4", &["`weight_bit`", "`weight_bits`", "simqat.layer.x"]),
            ("[simqat.layer.x]\nweight_bits = 1", &["simqat.layer.\"x\".weight_bits = 1", "2 to 8"]),
            ("[simqat]\nstyle = \"tflite\"", &["tflite", "golden_stick"]),
            ("[simqat]\nfreeze_bn = -1", &["-1"]),
            ("[model]\nname = \"vgg\"", &["vgg", "lenet5", "resnet50"]),
            ("[model]\nname = \"resnet51\"", &["resnet51", "resnet50"]),
            ("[model.resnet]\nstem = \"tiny\"", &["tiny", "cifar"]),
            ("[model]\nname = \"resnet18\"\n[model.resnet]\nimage = 0", &["model.resnet.image = 0"]),
            ("[model]\nname = \"resnet18\"\n[model.resnet]\nwidth = 0", &["model.resnet.width = 0"]),
            ("[model]\nname = \"resnet18\"\n[model.resnet]\nbn_eps = 0.0", &["model.resnet.bn_eps = 0"]),
            ("[model]\nname = \"convbn\"", &["model.init = \"model_zoo\"", "he"]),
            ("[simqat.activations]\nper_channel = true", &["per_channel", "not supported"]),
            ("[data]\nbatch = 0", &["data.batch = 0"]),
            ("[data]\nbatch = -1", &["-1"]),
            ("[optimizer]\nlearning_rate = -0.1", &["optimizer.learning_rate = -0.1"]),
            ("[optimizer]\nlearning_rate = nan", &["optimizer.learning_rate = NaN"]),
            ("[train]\nmode = \"fast\"", &["fast", "eager"]),
            ("[train]\nepochs = \"ten\"", &["train.epochs", "string", "integer"]),
            ("name = \"../elsewhere\"", &["../elsewhere"]),
            ("seed = ", &["line 1"]),
        ];
        for (text, parts) in cases {
            let error = Recipe::parse(text).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{text:?}: {part:?} is not in: {error}");
            }
        }
    }
}
