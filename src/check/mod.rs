//! Does this adapter compute what it should? One list of cases, each a kernel or a gradient against a plain function on
//! the host, or a training or an integer network against itself. `simqat check` runs them on a user's machine, the tests
//! run them all.
//!
//! Expected values are computed here in f64 or exactly; a case says how far a device may be off and why.

mod gradients;
mod kernels;
pub mod oracle;
mod report;
mod run;
mod trial;

pub use report::{FamilySummary, Outcome, Report, Verdict};
pub use run::{CheckOptions, run};
pub use trial::Trial;

use crate::Result;

/// How much is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Every family of kernels over odd, small and large shapes; under a minute on a software adapter.
    #[default]
    Quick,
    /// Everything: what only finds faults of the library, and not of a driver, too.
    Thorough,
}

/// One thing to prove.
#[derive(Clone, Copy)]
pub struct Case {
    /// What it is about: a family of kernels, gradients, training.
    pub family: &'static str,
    /// What must hold, as a phrase.
    pub name: &'static str,
    /// From which depth on it runs.
    pub depth: Depth,
    /// Adapters that differ in kind get different shaders for it, so it is tried with both.
    pub both: bool,
    run: fn(&mut Trial<'_>) -> Result<()>,
}

impl Case {
    const fn new(family: &'static str, name: &'static str, run: fn(&mut Trial<'_>) -> Result<()>) -> Self {
        Case { family, name, depth: Depth::Quick, both: false, run }
    }

    const fn on_both(self) -> Self {
        Case { both: true, ..self }
    }

    const fn thorough(self) -> Self {
        Case { depth: Depth::Thorough, ..self }
    }

    /// Tries it.
    ///
    /// # Errors
    /// [`Error::Mismatch`](crate::Error::Mismatch) says what was computed wrongly; any other error kept the case from
    /// being tried to its end.
    pub fn run(&self, trial: &mut Trial<'_>) -> Result<()> {
        (self.run)(trial)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.family, self.name)
    }
}

/// All of them, cheapest first.
pub fn cases() -> Vec<Case> {
    [kernels::cases(), gradients::cases()].concat()
}

/// The families, each once, in the order of [`cases`].
pub fn families() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for case in cases() {
        if !names.contains(&case.family) {
            names.push(case.family);
        }
    }
    names
}
