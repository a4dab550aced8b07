//! What came of a check: by case and by family.

use std::time::Duration;

use super::Case;
use crate::gpu::Caps;
use crate::shader_test::Deviation;

/// What came of one case.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Everything was within its bound.
    Passed,
    /// What is wrong.
    Failed(String),
    /// Why it was not tried.
    NotRun(String),
}

/// A case with its verdict.
#[derive(Clone)]
pub struct Outcome {
    /// What was tried.
    pub case: Case,
    /// With which kernels: "broadcast" or "tiled".
    pub kernels: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What came nearest to its bound, or, of a case that failed, went farthest beyond it.
    pub worst: Deviation,
    /// With compiling what was not compiled before.
    pub time: Duration,
}

/// One adapter's.
pub struct Report {
    /// The adapter and what it can do.
    pub caps: Caps,
    /// Names of the device's features, as wgpu calls them.
    pub features: Vec<String>,
    /// The device's limits, by the names that wgpu gives them.
    pub limits: Vec<(&'static str, u64)>,
    /// The shaders that were compiled, by file and constants.
    pub variants: Vec<String>,
    /// The seed of the random shapes and values.
    pub seed: u64,
    /// In the order in which they were tried.
    pub outcomes: Vec<Outcome>,
    /// From opening the device to the end of the first training step of a quantized LeNet5, with compiling, and what the
    /// step after it took; `None` if there was no such step.
    pub start: Option<[Duration; 2]>,
    /// From opening the device to the last case.
    pub time: Duration,
}

/// All cases of a family together.
#[derive(Clone, Debug, PartialEq)]
pub struct FamilySummary {
    /// Its name.
    pub family: &'static str,
    /// Runs of cases, with each kind of kernels counted.
    pub runs: usize,
    /// Of these, how many failed, and how many were not tried.
    pub failed: usize,
    /// Not tried, for example because the device was lost before.
    pub not_run: usize,
    /// What came nearest to its bound.
    pub worst: Deviation,
    /// How long it took.
    pub time: Duration,
}

impl Report {
    /// Everything was tried, and nothing failed.
    pub fn passed(&self) -> bool {
        self.outcomes.iter().all(|o| matches!(o.verdict, Verdict::Passed))
    }

    /// A row for each family, in the order of the cases.
    pub fn by_family(&self) -> Vec<FamilySummary> {
        let mut rows: Vec<FamilySummary> = Vec::new();
        for outcome in &self.outcomes {
            let family = outcome.case.family;
            let place = rows.iter().position(|row| row.family == family).unwrap_or_else(|| {
                let (worst, time) = (Deviation::default(), Duration::ZERO);
                rows.push(FamilySummary { family, runs: 0, failed: 0, not_run: 0, worst, time });
                rows.len() - 1
            });
            let row = &mut rows[place];
            row.runs += 1;
            row.time += outcome.time;
            row.worst = row.worst.worse(outcome.worst);
            match &outcome.verdict {
                Verdict::Passed => {}
                Verdict::Failed(_) => row.failed += 1,
                Verdict::NotRun(_) => row.not_run += 1,
            }
        }
        rows
    }
}
