//! Networks that the library brings along.

mod convbn;
mod lenet5;
mod resnet;

pub use convbn::convbn;
pub use lenet5::lenet5;
pub use resnet::{ResNet, ResNetDepth, Stem};

/// How the weights of a model start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelInit {
    /// As the MindSpore model zoo. LeNet5: convolutions N(0, 0.01), dense layers N(0, 0.02); its loss stays flat for
    /// the first hundreds of steps. ResNets: convolutions Xavier uniform, the dense layer truncated normal of
    /// deviation 0.01.
    #[default]
    ModelZoo,
    /// He et al. 2015: learns from the first step. ResNets: in the form of torchvision, by the outputs of each
    /// convolution.
    He,
}
