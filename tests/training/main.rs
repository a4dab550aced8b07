//! The loop on real digits: the same bits however it is run, checkpoints, calibration, and what goes wrong.

#[path = "../common/mod.rs"]
mod common;

mod bits;
mod checkpoint;
mod feeds;
mod learning;
mod memory;
mod post_training;
mod stages;
mod steps;
mod threads;
mod trouble;
mod watching;

use std::path::Path;
use std::sync::OnceLock;

use simqat::Result;
use simqat::data::{self, DataOptions, Dataset};
use simqat::gpu::Gpu;
use simqat::nn::Network;
use simqat::nn::models::{ModelInit, lenet5};
use simqat::optim::MomentumOptions;
use simqat::quant::SimQat;
use simqat::tensor::{DType, Tensor};
use simqat::train::{Feed, Normalization, Trainer, TrainerOptions};

/// The device of all tests here, which run side by side on it.
fn device() -> Gpu {
    common::gpu()
}

/// The shipped sample: 4000 and 1000 digits.
fn digits() -> &'static Dataset {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    DATA.get_or_init(|| data::load("mnist-5k", &DataOptions::default()).unwrap())
}

fn mnist_feed(gpu: &Gpu, split: &data::Split, batch: usize) -> Feed {
    let normalization = Normalization { mean: vec![0.1307], deviation: vec![0.3081] };
    Feed::new(gpu, split, batch, [32, 32], &normalization).unwrap()
}

/// 960 digits: 30 steps in an epoch.
fn few_digits(gpu: &Gpu) -> Feed {
    mnist_feed(gpu, &digits().train.first(960), 32)
}

fn options() -> TrainerOptions {
    TrainerOptions {
        optimizer: MomentumOptions { learning_rate: 0.01, momentum: 0.9, weight_decay: 1e-4 },
        ..TrainerOptions::default()
    }
}

/// LeNet5, quantized from step `delay` on where there is one.
fn network(gpu: &Gpu, delay: Option<u32>) -> Network {
    let float = lenet5(10, ModelInit::He).build(gpu, 1).unwrap();
    match delay {
        Some(delay) => SimQat::default().quant_delay(delay).apply(&float).unwrap(),
        None => float,
    }
}

fn trainer(gpu: &Gpu, delay: Option<u32>, options: TrainerOptions) -> Trainer {
    Trainer::new(network(gpu, delay), few_digits(gpu), options).unwrap()
}

fn steps(trainer: &mut Trainer, count: usize) {
    (0..count).for_each(|_| trainer.step().unwrap());
}

/// Bits of everything that training changes, by name.
fn bits(trainer: &Trainer) -> Vec<(String, Vec<u32>)> {
    let velocities = trainer.velocities().map(|(name, t)| (format!("velocity of {name}"), t.clone()));
    let parameters = trainer.network().parameters().iter().map(|p| (p.name.clone(), p.tensor.clone()));
    parameters.chain(velocities).map(|(name, tensor)| (name, words(&tensor))).collect()
}

fn words(tensor: &Tensor) -> Vec<u32> {
    match tensor.dtype() {
        DType::F32 => tensor.read_f32().unwrap().into_iter().map(f32::to_bits).collect(),
        DType::U32 => tensor.read_u32().unwrap(),
    }
}

#[track_caller]
fn assert_same_bits(what: &str, a: &[(String, Vec<u32>)], b: &[(String, Vec<u32>)]) {
    assert_eq!(a.len(), b.len(), "{what}");
    for ((name, a), (other, b)) in a.iter().zip(b) {
        let differ = a.iter().zip(b).filter(|(a, b)| a != b).count();
        assert!(name == other && differ == 0, "{what}: {differ} of {} values of {name} differ", a.len());
    }
}

fn told<T>(outcome: Result<T>) -> String {
    outcome.err().expect("this must fail").to_string()
}

fn listed(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
