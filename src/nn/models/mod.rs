//! Networks that the library brings along.

mod convbn;
mod lenet5;

pub use convbn::convbn;
pub use lenet5::{LeNet5Init, lenet5};
