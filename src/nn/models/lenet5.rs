//! LeNet5 as in the MindSpore model zoo: 1x32x32 digits to classes.

use super::ModelInit;
use crate::nn::{Conv2d, Dense, Network, NetworkBuilder};
use crate::tensor::init::Init;

/// LeNet5 for images [1, 32, 32]: 61 684 parameters for 10 classes; the convolutions have no bias.
pub fn lenet5(classes: usize, init: ModelInit) -> NetworkBuilder {
    let (conv, dense) = match init {
        ModelInit::ModelZoo => (Init::Normal(0.01), Init::Normal(0.02)),
        ModelInit::He => (Init::He, Init::He),
    };
    Network::builder("LeNet5", [1, 32, 32])
        .conv2d("conv1", Conv2d::new(1, 6, 5).no_bias().init(conv))
        .relu("relu1")
        .max_pool2d("pool1", 2)
        .conv2d("conv2", Conv2d::new(6, 16, 5).no_bias().init(conv))
        .relu("relu2")
        .max_pool2d("pool2", 2)
        .flatten("flatten")
        .dense("fc1", Dense::new(400, 120).init(dense))
        .relu("relu3")
        .dense("fc2", Dense::new(120, 84).init(dense))
        .relu("relu4")
        .dense("fc3", Dense::new(84, classes).init(dense))
}
