//! How much GPU memory a training step takes, before one is tried.

use crate::gpu::Gpu;
use crate::nn::Network;
use crate::ops::softmax_cross_entropy;
use crate::tensor::{DType, Tensor};
use crate::{Error, MemoryLimit, Result};

/// GPU memory of training steps of one network, in bytes. Not counted are the data on the device (a byte for each value of
/// each picture; of one batch of them, where pictures are streamed), the float network that a quantized one was made from,
/// evaluations, whose batches have another size, the few values of history and clipping, and what the driver has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepMemory {
    /// Parameters, their velocities, the state of quantizers and normalizations, and where a step takes several batches,
    /// the sums of their gradients.
    pub network: u64,
    /// Gradients, and what else a step takes whatever the batch.
    pub step: u64,
    /// What each image of a batch adds: the activations that the way back needs.
    pub image: u64,
}

impl StepMemory {
    /// For steps of `accumulate` batches; see [`TrainerOptions::accumulate`](super::TrainerOptions::accumulate). Found by
    /// recording passes over two and over four images on a device that computes nothing. Another adapter may take other
    /// kernels, with more scratch memory or less.
    ///
    /// # Errors
    /// Where the network is no classifier, or four images of it do not fit WebGPU's default limits.
    pub fn of(network: &Network, accumulate: usize) -> Result<StepMemory> {
        let [few, more] = [step_of(network, 2)?, step_of(network, 4)?];
        let image = more.1.saturating_sub(few.1) / 2;
        // A velocity for each number that is trained, and a sum.
        let kept = network.trainable_count() as u64 * 4 * if accumulate > 1 { 2 } else { 1 };
        Ok(StepMemory { network: few.0 + kept, step: few.1.saturating_sub(2 * image), image })
    }

    /// Bytes that a training with batches of `batch` images takes, the data not counted.
    pub fn at(&self, batch: usize) -> u64 {
        self.network + self.step + self.image * batch as u64
    }

    /// The largest batch whose step takes at most `bytes` beside the network and its velocities; 0 where none does.
    pub fn largest_batch(&self, bytes: u64) -> usize {
        (bytes.saturating_sub(self.step) / self.image.max(1)) as usize
    }
}

/// Bytes of a network, and the most that a step takes besides.
fn step_of(network: &Network, batch: usize) -> Result<(u64, u64)> {
    let gpu = Gpu::noop();
    let network = network.blank_on(&gpu)?;
    let shape = [&[batch], &network.input_shape()[..]].concat();
    let images = Tensor::zeros(&gpu, shape, DType::F32)?;
    let labels = Tensor::zeros(&gpu, [batch], DType::U32)?;
    let before = gpu.memory().live;
    // Recorded, so that nothing is run and nothing waited for.
    let (recording, ()) = gpu.record(|| {
        let pass = network.train_pass(&images)?;
        let loss = softmax_cross_entropy(&pass.output, &labels)?;
        pass.tape.backward(&loss.mean).map(drop)
    })?;
    drop(recording);
    let inputs = (images.count() + labels.count()) as u64 * 4;
    Ok((before - inputs, gpu.memory().peak - before + inputs))
}

/// Adds to an error about memory which batch would fit. `before` are the bytes that were in use when the step of `batch`
/// images began.
pub(super) fn advised(error: Error, network: &Network, batch: usize, before: u64) -> Error {
    let Error::Memory { message, asked, limit } = error else { return error };
    let fits = match limit {
        // Of what a step makes, only what has a place for each image is that large.
        MemoryLimit::Tensor(most) => (batch as u64 * most / asked.max(1)) as usize,
        // What is kept between steps was there before.
        MemoryLimit::Device(in_use) => StepMemory::of(network, 1)
            .map_or(0, |memory| memory.largest_batch(in_use.saturating_sub(before)).min(batch - 1)),
    };
    let advice = match fits {
        0 => "no batch would fit beside the network; take a smaller network or smaller images".to_string(),
        fits => format!(
            "about {fits} of the {batch} images would fit: set data.batch to that or less, and train.accumulate to make up \
             for it"
        ),
    };
    Error::Memory { message: format!("{message}; {advice}"), asked, limit }
}
