//! Memory: what a step takes is known before, and too large a batch is told which would fit.

use simqat::data::Split;
use simqat::gpu::{Gpu, GpuOptions, KernelFamily};
use simqat::nn::Network;
use simqat::nn::models::convbn;
use simqat::quant::SimQat;
use simqat::train::{Feed, Normalization, StepMemory, Trainer, TrainerOptions};
use simqat::{Error, MemoryLimit, Result};

fn open(memory_limit: Option<u64>) -> Gpu {
    let kernels = KernelFamily::Tiled;
    Gpu::open_with(&GpuOptions { memory_limit, kernels, ..Default::default() }).unwrap()
}

fn network(gpu: &Gpu, quantized: bool) -> Network {
    let float = convbn(10).build(gpu, 1).unwrap();
    if quantized { SimQat::default().apply(&float).unwrap() } else { float }
}

/// A training of one batch of grey pictures, which all are alike.
fn trainer(gpu: &Gpu, network: Network, batch: usize) -> Result<Trainer> {
    let split = Split::new([1, 28, 28], vec![7; batch * 784], vec![3; batch], 10)?;
    let normalization = Normalization { mean: vec![0.5], deviation: vec![0.5] };
    let feed = Feed::new(gpu, &split, batch, [28, 28], &normalization)?;
    Trainer::new(network, feed, TrainerOptions::default())
}

#[test]
fn a_step_takes_as_much_as_was_said() {
    for quantized in [false, true] {
        let gpu = open(None);
        let network = network(&gpu, quantized);
        let said = StepMemory::of(&network).unwrap();
        let mut trainer = trainer(&gpu, network, 64).unwrap();
        trainer.step().unwrap();
        trainer.check_finite().unwrap();
        // The float network that was quantized is gone, but the pool remembers its peak only if nothing was larger. Sizes are
        // rounded up by at most a quarter, in steps that differ from batch to batch.
        let ratio = gpu.memory().peak as f64 / said.at(64) as f64;
        assert!((0.8..1.25).contains(&ratio), "quantized {quantized}: {ratio}");
    }
}

#[test]
fn too_large_a_batch_is_told_which_would_fit() {
    let free = open(None);
    let said = StepMemory::of(&network(&free, false)).unwrap();
    let limit = said.at(100);
    let gpu = open(Some(limit));
    let error = trainer(&gpu, network(&gpu, false), 200).unwrap().step().unwrap_err();
    let Error::Memory { message, limit: MemoryLimit::Device(in_use), .. } = &error else { panic!("{error}") };
    assert!(*in_use <= limit && error.is_bad_input());
    for part in ["out of GPU memory", "MiB more", "in use", "of the 200 images", "train.accumulate"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let number = message.split("about ").nth(1).unwrap().split(' ').next().unwrap();
    let fits: usize = number.parse().unwrap();
    assert!(fits >= 50, "{message}");
    let gpu = open(Some(limit));
    let mut trainer = trainer(&gpu, network(&gpu, false), fits * 9 / 10).unwrap();
    trainer.step().unwrap();
    trainer.check_finite().unwrap();
}

#[test]
fn a_tensor_over_the_adapter_s_limit_is_told_with_the_batch_that_fits() {
    let gpu = open(None);
    let most = gpu.caps().max_binding_bytes as usize;
    // The first layer's output has 16 x 28 x 28 values for each image.
    let batch = most / (16 * 784 * 4) + 1;
    if batch > 20_000 {
        return; // an adapter with larger tensors than a test should make
    }
    let error = trainer(&gpu, network(&gpu, false), batch).unwrap().step().unwrap_err();
    let Error::Memory { message, limit, .. } = &error else { panic!("{error}") };
    assert_eq!(*limit, MemoryLimit::Tensor(most as u64));
    assert!(message.contains(&format!("about {} of the {batch} images", batch - 1)), "{message}");
}
