//! Does this adapter compute what it should? One list of cases, each a kernel or a gradient against a plain function on
//! the host, or a training or an integer network against itself. `simqat check` runs them on a user's machine, the tests
//! run them all.
//!
//! Expected values are computed here in f64 or exactly; a case says how far a device may be off and why.

#[cfg(feature = "train")]
mod case;
#[cfg(feature = "train")]
mod gradients;
pub mod int8;
#[cfg(feature = "train")]
mod kernels;
#[cfg(feature = "train")]
pub mod oracle;
#[cfg(feature = "train")]
mod report;
#[cfg(feature = "train")]
mod run;
#[cfg(feature = "train")]
mod training;
#[cfg(feature = "train")]
mod trial;

#[cfg(feature = "train")]
pub use case::{Case, Depth, cases, families};
#[cfg(feature = "train")]
pub use report::{FamilySummary, Outcome, Report, Verdict};
#[cfg(feature = "train")]
pub use run::{CheckOptions, run};
#[cfg(feature = "train")]
pub use trial::Trial;
