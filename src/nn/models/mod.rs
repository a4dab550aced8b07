//! Networks that the library brings along.

mod lenet5;

pub use lenet5::{LeNet5Init, lenet5};
