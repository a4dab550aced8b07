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

/// Batches of grey pictures, which all are alike.
fn feed(gpu: &Gpu, batch: usize, batches: usize) -> Result<Feed> {
    let count = batch * batches;
    let split = Split::new([1, 28, 28], vec![7; count * 784], vec![3; count], 10)?;
    let normalization = Normalization { mean: vec![0.5], deviation: vec![0.5] };
    Feed::new(gpu, &split, batch, [28, 28], &normalization)
}

/// A training of one batch.
fn trainer(gpu: &Gpu, network: Network, batch: usize) -> Result<Trainer> {
    Trainer::new(network, feed(gpu, batch, 1)?, TrainerOptions::default())
}

#[test]
fn a_step_takes_as_much_as_was_said() {
    for quantized in [false, true] {
        let gpu = open(None);
        let network = network(&gpu, quantized);
        let said = StepMemory::of(&network, 1).unwrap();
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
fn sums_of_gradients_are_counted_where_a_step_takes_several_batches() {
    let accumulated = |accumulate| {
        let gpu = open(None);
        let network = network(&gpu, false);
        let said = StepMemory::of(&network, accumulate).unwrap().network;
        let options = TrainerOptions { accumulate, ..TrainerOptions::default() };
        let trainer = Trainer::new(network, feed(&gpu, 8, 4).unwrap(), options).unwrap();
        (said, gpu.memory().live, trainer.network().trainable_count() as u64)
    };
    let (once, twice) = (accumulated(1), accumulated(2));
    assert_eq!(twice.0 - once.0, 4 * once.2);
    assert_eq!(accumulated(3), twice);
    // Sizes are rounded up by at most a quarter; small tensors by more, and they are few.
    let ratio = (twice.1 - once.1) as f64 / (twice.0 - once.0) as f64;
    assert!((1.0..1.3).contains(&ratio), "{ratio}");
}

#[test]
fn too_large_a_batch_is_told_which_would_fit() {
    let free = open(None);
    let said = StepMemory::of(&network(&free, false), 1).unwrap();
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
