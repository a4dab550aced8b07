//! A small network of convolutions with batch normalization: what MNIST needs to try the folds on.

use crate::kernel::geometry::Padding;
use crate::nn::{BatchNorm2d, Conv2d, Dense, Network, NetworkBuilder};

/// Three convolutions with normalization for images [1, 28, 28], the second of stride 2, then two dense layers: 93 088
/// parameters for 10 classes.
pub fn convbn(classes: usize) -> NetworkBuilder {
    let conv = |inputs, outputs| Conv2d::new(inputs, outputs, 3).padding(Padding::all(1)).no_bias();
    Network::builder("ConvBn", [1, 28, 28])
        .conv2d("conv1", conv(1, 16))
        .batch_norm2d("bn1", BatchNorm2d::new(16))
        .relu("relu1")
        .max_pool2d("pool1", 2)
        .conv2d("conv2", conv(16, 32).stride(2))
        .batch_norm2d("bn2", BatchNorm2d::new(32))
        .relu("relu2")
        .conv2d("conv3", conv(32, 32))
        .batch_norm2d("bn3", BatchNorm2d::new(32))
        .relu("relu3")
        .flatten("flatten")
        .dense("fc1", Dense::new(32 * 7 * 7, 50))
        .relu("relu4")
        .dense("fc2", Dense::new(50, classes))
}
