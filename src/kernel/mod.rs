//! Typed launchers, one file for each family of shaders: they check shapes, choose a variant, and start it.
//! Each takes tensors and returns new ones; gradients are kernels like any other, and who calls them when is
//! decided above.
//!
//! The shaders run without bounds checks. So whatever is public here proves that every size which a shader goes by is
//! one of the buffers that are bound, and shaders hold numbers that come as data (labels, images, places) in their range.
//! `tests/kernels/sizes.rs` tries each launcher with sizes that do not fit.

pub mod augment;
pub mod catalogue;
pub mod conv;
pub mod counter;
pub mod elementwise;
pub mod gemm;
pub mod geometry;
pub mod gradient;
pub mod int8;
mod lanes;
pub mod learned_step;
pub mod loss;
pub mod momentum;
pub mod norm;
mod params;
mod plan;
pub mod pool;
pub mod quantize;
pub mod random;
pub mod reduce;

use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

/// How many times an elementwise kernel's body is repeated for one invocation, and how many invocations that
/// makes: large tensors amortize the index arithmetic, small ones need the lanes.
fn spread(vectors: usize) -> (u32, u64) {
    let unroll = if vectors >= 8192 { 4 } else { 1 };
    (unroll as u32, vectors.div_ceil(unroll) as u64)
}

/// A size as shaders hold it.
///
/// # Errors
/// Where it does not fit: an index in a shader has 32 bits.
fn extent(value: usize, what: &str) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Shape(format!("{what} is {value}, and shaders count in 32 bits")))
}

/// How many values so many extents make; what no machine counts stays at the largest number.
fn product(extents: &[usize]) -> usize {
    extents.iter().fold(1, |count, &extent| count.saturating_mul(extent))
}

/// Fails unless `tensor` holds at least `count` values of `dtype`: what a shader reads by number, whatever the shape.
fn at_least(what: &str, tensor: &Tensor, dtype: DType, count: usize) -> Result<()> {
    tensor.expect(dtype)?;
    if tensor.count() >= count {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "{what} must hold at least {count} values, and its shape is {}",
        tensor.shape()
    )))
}

fn same_shape(what: &str, a: &Shape, b: &Shape) -> Result<()> {
    if a == b { Ok(()) } else { Err(Error::Shape(format!("{what}: the shapes {a} and {b} differ"))) }
}
