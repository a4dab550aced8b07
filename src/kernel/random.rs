//! Random tensors on the device.

use super::catalogue::{Entry, entry};
use super::extent;
use super::params::params;
use crate::Result;
use crate::gpu::Gpu;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Shape, Tensor};

/// How the numbers are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// In [0, 1), 24 bits each; the same bits on every adapter.
    Uniform,
    /// Mean 0, standard deviation 1. The last bits depend on the adapter's logarithm and cosine.
    Normal,
}

params!(FillParams { seed: [u32; 2], stream: [u32; 2], vectors: u32, unused: u32 });

fn shader(distribution: Distribution) -> ShaderSpec {
    let name = match distribution {
        Distribution::Uniform => "uniform",
        Distribution::Normal => "normal",
    };
    ShaderSpec::new("random/fill.wgsl").with("distribution", name)
}

fn halves(v: u64) -> [u32; 2] {
    [v as u32, (v >> 32) as u32]
}

/// A tensor of random numbers: stream number `stream` of `seed`, as
/// [`Philox`](crate::tensor::random::Philox) draws it on the host.
///
/// # Errors
/// Where the device has failed.
pub fn fill(
    gpu: &Gpu,
    shape: impl Into<Shape>,
    distribution: Distribution,
    seed: u64,
    stream: u64,
) -> Result<Tensor> {
    let y = Tensor::empty(gpu, shape, DType::F32)?;
    let vectors = extent(y.count().div_ceil(4), "the number of values")?;
    gpu.launch(shader(distribution))
        .bind(y.buffer())
        .params(&FillParams { seed: halves(seed), stream: halves(stream), vectors, unused: 0 })
        .threads(vectors.into(), 64)?;
    Ok(y)
}

pub(super) fn variants() -> Vec<Entry> {
    [Distribution::Uniform, Distribution::Normal].map(|d| entry(shader(d), FillParams::LAYOUT)).into()
}
