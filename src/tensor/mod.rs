//! Shapes, tensors and initial values. A tensor is a shape over a buffer, always contiguous
//! and row-major; what is computed with it lives in `kernel`.

pub mod init;
mod shape;
mod storage;

pub use crate::random;
pub use shape::Shape;
pub use storage::{DType, Tensor};
