//! simqat: quantization-aware training on any GPU, through wgpu on Vulkan, Metal and DX12.
//!
#![cfg_attr(
    feature = "train",
    doc = "- [`gpu::Gpu`] opens a device, or takes the host's.",
    doc = "- [`nn::Network`] is a graph of named layers; [`nn::models`] has some ready.",
    doc = "- [`quant::SimQat`] puts fake quantizers into a network.",
    doc = "- [`train::Trainer`] trains it on a [`train::Feed`], eager or recorded, to the same bits.",
    doc = "- Below, for loops and kernels of one's own: [`autograd::Tape`], [`ops`], [`kernel`], [`gpu::Gpu::launch_source`]."
)]
//! - [`deploy::Int8Model`] is a network of integers; [`deploy::CpuEngine`] runs it without a GPU.
//!
//! The folder `examples/` shows each; `ARCHITECTURE.md` is the map. Features: `deploy` runs integer networks on the CPU, and needs no
//! wgpu; `train` is everything on the GPU; `onnx` writes ONNX files; `cli`, the default, is the program.
#![warn(missing_docs)]

#[cfg(feature = "train")]
pub mod autograd;
#[cfg(feature = "check")]
pub mod check;
#[cfg(feature = "train")]
pub mod data;
#[cfg(feature = "deploy")]
pub mod deploy;
pub mod error;
#[cfg(feature = "train")]
pub mod gpu;
#[cfg(feature = "train")]
pub mod kernel;
#[cfg(feature = "train")]
pub mod nn;
#[cfg(feature = "train")]
pub mod ops;
#[cfg(feature = "train")]
pub mod optim;
#[cfg(feature = "train")]
pub mod quant;
#[cfg(feature = "train")]
pub mod random;
#[cfg(feature = "deploy")]
mod rounding;
#[cfg(feature = "train")]
mod settings;
#[cfg(feature = "train")]
pub mod shader;
#[cfg(all(feature = "check", feature = "train"))]
pub mod shader_test;
#[cfg(feature = "train")]
pub mod tensor;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "deploy")]
mod whole_file;

pub use error::{Error, MemoryLimit, Result};
/// The version of wgpu that devices are shared through.
#[cfg(feature = "train")]
pub use wgpu;

/// Compiles the README's program.
#[cfg(all(doctest, feature = "train"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles and runs the program in docs/simqat.md.
#[cfg(all(doctest, feature = "train"))]
#[doc = include_str!("../docs/simqat.md")]
struct SimQatPage;
