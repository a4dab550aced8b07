//! Integer networks: the CPU engine and the GPU engine give the same codes, in every layer.

#[cfg(feature = "train")]
mod engines;
pub mod models;

#[cfg(feature = "train")]
mod rounding;

pub use models::{Builder, ConvShape, Random};

#[cfg(feature = "train")]
const FAMILY: &str = "integer networks";

#[cfg(feature = "train")]
pub(super) fn cases() -> impl Iterator<Item = super::Case> {
    [rounding::CASES, engines::CASES].into_iter().flatten().copied()
}
