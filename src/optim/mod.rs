//! Optimizers: what moves parameters along their gradients, how far, and what becomes of gradients before.

mod clip;
mod momentum;
mod schedule;
mod sums;

pub use clip::GradientClip;
pub use momentum::{Momentum, MomentumOptions};
pub use schedule::{Schedule, ScheduleKind, Span};
pub use sums::GradientSums;
