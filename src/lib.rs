//! simqat: quantization-aware training on any GPU.
#![warn(missing_docs)]

pub mod error;

pub use error::{Error, Result};
