//! simqat: quantization-aware training on any GPU.
#![warn(missing_docs)]

pub mod data;
pub mod error;
pub mod gpu;
pub mod kernel;
pub mod shader;
pub mod tensor;

pub use error::{Error, Result};
