//! simqat: quantization-aware training on any GPU, through wgpu on Vulkan, Metal and DX12.
//!
//! - [`gpu::Gpu`] opens a device, or takes the host's.
//! - [`nn::Network`] is a graph of named layers; [`nn::models`] has some ready.
//! - [`quant::SimQat`] puts fake quantizers into a network.
//! - [`train::Trainer`] trains it on a [`train::Feed`], eager or recorded, to the same bits.
//! - Below, for loops and kernels of one's own: [`autograd::Tape`], [`ops`], [`kernel`], [`gpu::Gpu::launch_source`].
//!
//! The folder `examples/` shows each; `ARCHITECTURE.md` is the map.
#![warn(missing_docs)]

pub mod autograd;
pub mod data;
pub mod error;
pub mod gpu;
pub mod kernel;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod quant;
mod settings;
pub mod shader;
pub mod tensor;
pub mod train;

pub use error::{Error, MemoryLimit, Result};
/// The version of wgpu that devices are shared through.
pub use wgpu;

/// Compiles the README's program.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles and runs the program in docs/simqat.md.
#[cfg(doctest)]
#[doc = include_str!("../docs/simqat.md")]
struct SimQatPage;
