//! Networks and pictures that several test files use.

use simqat::kernel::geometry::Padding;
use simqat::nn::{Conv2d, Dense, Layer, Network, NetworkBuilder};
use simqat::ops::Activation;
use simqat::tensor::random::Philox;
use simqat::tensor::{DType, Shape, Tensor};

use super::gpu;

/// Normally distributed values.
pub fn images(shape: impl Into<Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    let mut random = Philox::new(seed, 5);
    let values: Vec<f32> = (0..shape.count()).map(|_| random.normal()).collect();
    Tensor::from_f32(&gpu(), shape, &values).unwrap()
}

/// A residual block: two branches from one ReLU, added, and a ReLU behind the sum. The branches are listed so
/// that a layer which needs the input stands between a convolution and its ReLU.
pub fn residual() -> NetworkBuilder {
    let conv = |i, o| Layer::Conv2d(Conv2d::new(i, o, 3).padding(Padding::Same));
    let relu = || Layer::Activation(Activation::Relu);
    Network::builder("Residual", [2, 6, 6])
        .node("stem", conv(2, 4), &[0])
        .node("shortcut", conv(2, 4), &[0])
        .node("stem_relu", relu(), &[1])
        .node("inner", conv(4, 4), &[3])
        .node("sum", Layer::Add, &[4, 2])
        .node("sum_relu", relu(), &[5])
        .node("again", Layer::Add, &[6, 3])
        .avg_pool2d("mean", 3)
        .flatten("flatten")
        .dense("fc", Dense::new(16, 3))
}

/// Values of all parameters and states by name, as bits.
pub fn snapshot(network: &Network) -> Vec<(String, Vec<u32>)> {
    let bits = |t: &Tensor| match t.dtype() {
        DType::F32 => t.read_f32().unwrap().into_iter().map(f32::to_bits).collect(),
        DType::U32 => t.read_u32().unwrap(),
    };
    network.parameters().iter().map(|p| (p.name.clone(), bits(&p.tensor))).collect()
}

/// With values that no initialization gives: scales around 1, shifts, statistics of other data.
pub fn lived_in(builder: NetworkBuilder, seed: u64) -> Network {
    let network = builder.build(&gpu(), seed).unwrap();
    let mut random = Philox::new(seed, 6);
    for p in network.parameters() {
        let (floor, spread) = match p.name.rsplit('.').next().unwrap() {
            "gamma" | "running_var" => (0.6, 0.9),
            "beta" | "running_mean" | "bias" => (-0.4, 0.8),
            _ => continue,
        };
        let values: Vec<f32> = (0..p.tensor.count()).map(|_| floor + spread * random.uniform()).collect();
        p.tensor.write_f32(&values).unwrap();
    }
    network
}
