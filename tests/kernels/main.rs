//! Every kernel launcher against a plain function on the host that says what it should compute.
//!
//! Fresh memory is poisoned with NaN, so a value that a kernel does not write is seen. Shapes include size 1,
//! odd sizes, sizes that are no multiple of four, and more workgroups than one dimension of a dispatch holds.

#[path = "../common/mod.rs"]
mod common;

mod augment;
mod conv;
mod counter;
mod elementwise;
mod far_out;
mod gemm;
mod learned_step;
mod loss;
mod norm;
mod observation;
mod optim;
mod pool;
mod quantize;
mod random;
mod reduce;
mod ties;

use proptest::prelude::ProptestConfig;
use simqat::gpu::Gpu;
use simqat::tensor::random::Philox;
use simqat::tensor::{Shape, Tensor};

/// Few cases: each runs on the device, and the shapes that matter most are listed by hand beside.
fn few() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

/// Values with both signs, around 1 in size, always the same for one seed.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Philox::new(seed, 77);
    (0..count).map(|_| random.uniform() * 6.0 - 3.0).collect()
}

/// Small whole numbers, so that equal values are common and sums are exact.
fn whole(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Philox::new(seed, 78);
    (0..count).map(|_| random.below(5) as f32 - 2.0).collect()
}

fn tensor(shape: impl Into<Shape>, values: &[f32]) -> Tensor {
    Tensor::from_f32(&common::gpu(), shape, values).unwrap()
}

/// This machine's adapter with the kernels that suit it, and with those for GPUs.
fn families() -> [Gpu; 2] {
    [common::gpu(), common::tiled_gpu()]
}

fn words(values: &[u32]) -> Tensor {
    Tensor::from_u32(&common::gpu(), [values.len()], values).unwrap()
}
