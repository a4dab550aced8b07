//! Shapes, tensors, random numbers and initial values. A tensor is a shape over a buffer, always contiguous
//! and row-major; what is computed with it lives in `kernel`.

pub mod init;
pub mod random;
mod shape;
mod storage;

pub use shape::Shape;
pub use storage::{DType, Tensor};
