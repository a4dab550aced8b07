//! The network of a recipe.

use serde::{Deserialize, Serialize};

use crate::nn::NetworkBuilder;
use crate::nn::models::{ModelInit, ResNet, ResNetDepth, Stem, convbn, lenet5};
use crate::quant::Finding;
use crate::{Error, Result};

/// The network of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRecipe {
    /// "lenet5", "convbn", "resnet18", "resnet34", "resnet50" or "resnet101"
    pub name: String,
    /// Initial values.
    pub init: ModelInit,
    /// What the ResNets need to know besides.
    pub resnet: ResNetRecipe,
}

/// Options of the ResNets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResNetRecipe {
    /// Height and width of the pictures that the network takes, in pixels.
    pub image: usize,
    /// "imagenet" or "cifar": the first layers.
    pub stem: Stem,
    /// Channels behind the first layers; 64 is the published network.
    pub width: usize,
    /// What normalizations add to the variance.
    pub bn_eps: f32,
}

impl Default for ModelRecipe {
    fn default() -> Self {
        ModelRecipe {
            name: "lenet5".into(),
            init: ModelInit::ModelZoo,
            resnet: ResNetRecipe { image: 224, stem: Stem::Imagenet, width: 64, bn_eps: 1e-5 },
        }
    }
}

fn depth_of(name: &str) -> Option<ResNetDepth> {
    let layers: usize = name.strip_prefix("resnet")?.parse().ok()?;
    ResNetDepth::ALL.into_iter().find(|depth| depth.layers() == layers)
}

impl ModelRecipe {
    /// The layers for so many classes.
    ///
    /// # Errors
    /// Where there is no such network, or an option makes no sense, with its key.
    pub fn builder(&self, classes: usize) -> Result<NetworkBuilder> {
        if let Some(depth) = depth_of(&self.name) {
            return self.resnet.builder(depth, classes, self.init);
        }
        match (self.name.as_str(), self.init) {
            ("lenet5", init) => Ok(lenet5(classes, init)),
            ("convbn", ModelInit::He) => Ok(convbn(classes)),
            ("convbn", ModelInit::ModelZoo) => Err(Error::Invalid(
                "model.init = \"model_zoo\": the model zoo has no \"convbn\"; use \"he\"".into(),
            )),
            (other, _) => {
                let resnets = ResNetDepth::ALL.map(|depth| format!("\"resnet{}\"", depth.layers()));
                Err(Error::Invalid(format!(
                    "model.name = \"{other}\": there are \"lenet5\", \"convbn\", {}",
                    resnets.join(", ")
                )))
            }
        }
    }

    /// Options that say something about another network.
    pub(in crate::train) fn lint(&self) -> Option<Finding> {
        let idle = depth_of(&self.name).is_none() && self.resnet != ModelRecipe::default().resnet;
        idle.then(|| Finding {
            option: "model.resnet".into(),
            reason: format!("the network is \"{}\", and these options are of the ResNets", self.name),
        })
    }
}

impl ResNetRecipe {
    fn builder(&self, depth: ResNetDepth, classes: usize, init: ModelInit) -> Result<NetworkBuilder> {
        let refuse = |key: &str, value: String, hint: &str| {
            Err(Error::Invalid(format!("model.resnet.{key} = {value}: {hint}")))
        };
        if self.image == 0 || self.image > 4096 {
            return refuse("image", self.image.to_string(), "it must be from 1 to 4096 pixels");
        }
        if self.width == 0 || self.width > 1024 {
            return refuse("width", self.width.to_string(), "it must be from 1 to 1024 channels");
        }
        if !(self.bn_eps > 0.0 && self.bn_eps.is_finite()) {
            return refuse("bn_eps", self.bn_eps.to_string(), "it must be above 0");
        }
        Ok(ResNet {
            depth,
            classes,
            image: [self.image; 2],
            stem: self.stem,
            width: self.width,
            eps: self.bn_eps,
            init,
        }
        .builder())
    }
}
