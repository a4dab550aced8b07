//! Reverse-mode differentiation: a tape of what was computed, walked backwards once.

mod gradcheck;
mod tape;

pub use gradcheck::{GradCheck, Slack, gradcheck};
pub use tape::{Backward, Gradients, Tape, Var};
