//! SimQAT as a rewriting of networks: options, where quantizers sit, what is joined, what is told of it.

#[path = "../common/mod.rs"]
mod common;

mod joining;
mod options;
mod placement;
mod printing;
mod resnet;
mod running;

use common::networks::{images, lived_in, residual, snapshot};
use common::{assert_bits, assert_close, gpu};
use simqat::gpu::Gpu;
use simqat::kernel::counter::FROZEN;
use simqat::kernel::geometry::Padding;
use simqat::kernel::quantize::RangeObserver;
use simqat::nn::models::{ModelInit, convbn, lenet5};
use simqat::nn::{BatchNorm2d, BnFold, Conv2d, Dense, Layer, Network, NetworkBuilder, QuantizerRule, Slot};
use simqat::quant::{LayerOptions, Observer, QuantOptions, SimQat, Style};
use simqat::tensor::Tensor;
use simqat::tensor::random::Philox;
use simqat::train::checkpoint::{Checkpoint, save_network};

const FOLDS: [BnFold; 3] = [BnFold::Without, BnFold::OneConv, BnFold::TwoConv];

/// Conv, BatchNorm and ReLU, with a bias in the second convolution, a normalization with a convolution of two
/// consumers before it, and a residual sum.
fn normed() -> NetworkBuilder {
    let conv = |i, o| Conv2d::new(i, o, 3).padding(Padding::all(1));
    Network::builder("Normed", [2, 6, 6])
        .conv2d("conv1", conv(2, 4).no_bias())
        .batch_norm2d("bn1", BatchNorm2d::new(4))
        .relu("relu1")
        .conv2d("conv2", conv(4, 4))
        .batch_norm2d("bn2", BatchNorm2d::new(4).eps(1e-3).momentum(0.8))
        .node("sum", Layer::Add, &[5, 3])
        .relu("relu2")
        .conv2d("shared", conv(4, 4))
        .batch_norm2d("bn3", BatchNorm2d::new(4).no_affine())
        .node("again", Layer::Add, &[9, 8])
        .avg_pool2d("mean", 3)
        .flatten("flatten")
        .dense("fc", Dense::new(16, 3))
}

fn without_quantizers(network: &Network) -> Vec<(String, Vec<u32>)> {
    let mut all = snapshot(network);
    all.retain(|(name, _)| !name.contains("_quantizer."));
    all.sort();
    all
}

fn changed(simqat: SimQat, change: impl FnOnce(&mut SimQat)) -> SimQat {
    let mut simqat = simqat;
    change(&mut simqat);
    simqat
}

fn read(network: &Network, parameter: &str) -> Vec<f32> {
    network.parameter(parameter).unwrap().tensor.read_f32().unwrap()
}

fn steps(network: &Network, parameter: &str) -> u32 {
    network.parameter(parameter).unwrap().tensor.read_u32().unwrap()[0]
}

#[track_caller]
fn assert_told(outcome: simqat::Result<impl Sized>, parts: &[&str]) {
    let error = outcome.err().expect("this must fail").to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
}

/// Which quantizers a node has: inputs, weight, output.
fn slots(network: &Network, name: &str) -> String {
    let node = network.nodes().iter().find(|n| n.name == name).unwrap_or_else(|| panic!("no {name}"));
    let mark = |slot, letter| if node.quantizers.get(slot).is_some() { letter } else { '-' };
    let marks = [(Slot::Input, 'i'), (Slot::SecondInput, 'j'), (Slot::Weight, 'w'), (Slot::Output, 'o')];
    marks.into_iter().map(|(slot, letter)| mark(slot, letter)).collect()
}
