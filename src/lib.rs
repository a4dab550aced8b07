//! simqat: quantization-aware training on any GPU.
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
pub mod shader;
pub mod tensor;
pub mod train;

pub use error::{Error, Result};
