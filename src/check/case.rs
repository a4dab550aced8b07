//! What a case is, and the list of all.

use super::{Trial, gradients, int8, kernels, training};
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
    pub(super) const fn new(
        family: &'static str,
        name: &'static str,
        run: fn(&mut Trial<'_>) -> Result<()>,
    ) -> Self {
        Case { family, name, depth: Depth::Quick, both: false, run }
    }

    pub(super) const fn on_both(self) -> Self {
        Case { both: true, ..self }
    }

    pub(super) const fn thorough(self) -> Self {
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
    let training = training::CASES.iter().copied();
    kernels::cases().into_iter().chain(gradients::cases()).chain(int8::cases()).chain(training).collect()
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
