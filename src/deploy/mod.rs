//! Integer networks: int8 codes from the input to the logits, the same on a CPU and on a GPU.
//!
//! [`Int8Model`] is the network as data, without a device. This floor knows nothing of training: the feature `deploy`
//! builds it alone.

#[cfg(feature = "train")]
mod convert;
mod cpu;
mod engine;
mod file;
#[cfg(feature = "train")]
mod gpu;
mod grid;
mod model;
mod multiplier;
#[cfg(feature = "onnx")]
pub mod onnx;
mod packing;
#[cfg(feature = "train")]
pub mod parity;

#[cfg(feature = "train")]
pub use convert::{Conversion, convert};
pub use cpu::{CpuEngine, CpuOptions};
pub use engine::Engine;
pub use file::is_int8_model;
#[cfg(feature = "train")]
pub use gpu::GpuEngine;
pub use grid::Grid;
pub use model::{Conv2d, Function, Int8Model, Layer, Linear, Op, Padding, Table, Window};
pub use multiplier::Multiplier;
