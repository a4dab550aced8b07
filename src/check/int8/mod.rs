//! Integer networks: the CPU engine and the GPU engine give the same codes, in every layer.

#[cfg(feature = "train")]
mod engines;
pub mod models;

#[cfg(feature = "train")]
pub(super) use engines::cases;
pub use models::{Builder, ConvShape, Random};
