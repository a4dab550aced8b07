//! Optimizers: what moves parameters along their gradients.

mod momentum;

pub use momentum::{Momentum, MomentumOptions};
