//! What a test of a shader needs: values and shapes drawn from a seed, and comparisons that say how far off the worst
//! value is and where. It stands on `gpu` and `shader` alone and knows nothing of tensors.
//!
//! A device opened with [`GpuOptions::poison`](crate::gpu::GpuOptions::poison) does the rest: fresh memory is NaN, so a
//! value that nobody wrote is seen, and every buffer lies between guard zones, so a store outside of it is an error
//! when the buffer is read.

mod compare;
mod draw;
mod estimate;

pub use compare::{Bound, Deviation, compare, compare_estimates};
pub use draw::Draw;
pub use estimate::Estimate;
