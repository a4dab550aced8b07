//! Running the cases on one adapter.

use std::time::{Duration, Instant};

use super::{Case, Depth, Outcome, Report, Trial, Verdict, cases};
use crate::gpu::{Gpu, GpuOptions, KernelFamily};
use crate::{Error, Result};

/// What to try, and where.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// The adapter. Whether memory is poisoned is not asked: it is.
    pub gpu: GpuOptions,
    /// How much is tried.
    pub depth: Depth,
    /// Only families whose names contain this; all if it is empty.
    pub family: String,
    /// Of the random shapes and values.
    pub seed: u64,
}

/// Tries everything on one adapter, and tells `watch` of each case when it is done, with the number of those that are
/// still to come. A case that fails keeps none of the others from being tried.
///
/// # Errors
/// If the adapter gives no device, or no family has such a name.
pub fn run(options: &CheckOptions, mut watch: impl FnMut(&Outcome, usize)) -> Result<Report> {
    let start = Instant::now();
    let chosen: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.depth <= options.depth && case.family.contains(&options.family))
        .collect();
    if chosen.is_empty() {
        let message = format!(
            "no family is called \"{}\"; there are: {}",
            options.family,
            super::families().join(", ")
        );
        return Err(Error::Invalid(message));
    }
    let mut bench = Bench::open(&options.gpu, KernelFamily::Auto)?;
    let caps = bench.gpu.caps().clone();
    let features = bench.gpu.device().features().iter_names().map(|(name, _)| name.to_string()).collect();
    // Those that the adapter gets by itself, and if these are not the ones for GPUs, those too.
    let mut kinds = vec![(KernelFamily::Auto, chosen.clone())];
    if caps.prefers_broadcast() {
        kinds.push((KernelFamily::Tiled, chosen.into_iter().filter(|case| case.both).collect()));
    }
    let mut left: usize = kinds.iter().map(|(_, cases)| cases.len()).sum();
    let (mut outcomes, mut compiled) = (Vec::new(), 0);
    for (kernels, cases) in kinds {
        if bench.kernels != kernels {
            compiled += bench.gpu.compiled_kernels();
            bench = Bench::open(&options.gpu, kernels)?;
        }
        for case in cases {
            let outcome = bench.run(case, options.seed, &mut compiled);
            left -= 1;
            watch(&outcome, left);
            outcomes.push(outcome);
        }
    }
    compiled += bench.gpu.compiled_kernels();
    Ok(Report { caps, features, seed: options.seed, outcomes, compiled, time: start.elapsed() })
}

/// A device under test, and a new one after a case that broke it.
struct Bench {
    options: GpuOptions,
    kernels: KernelFamily,
    gpu: Gpu,
    /// Why there is no device any more.
    gone: Option<String>,
}

impl Bench {
    fn open(options: &GpuOptions, kernels: KernelFamily) -> Result<Self> {
        let options = GpuOptions { poison: true, kernels, ..options.clone() };
        let gpu = Gpu::open_with(&options)?;
        Ok(Bench { options, kernels, gpu, gone: None })
    }

    fn run(&mut self, case: Case, seed: u64, compiled: &mut usize) -> Outcome {
        let kernels = if self.gpu.caps().prefers_broadcast() { "broadcast" } else { "tiled" };
        if let Some(reason) = &self.gone {
            let verdict = Verdict::NotRun(reason.clone());
            return Outcome { case, kernels, verdict, time: Duration::ZERO };
        }
        let start = Instant::now();
        let mut trial = Trial::new(&self.gpu, seed);
        let result = case.run(&mut trial);
        let worst = trial.worst();
        let time = start.elapsed();
        let verdict = match result {
            Ok(()) => Verdict::Passed(worst),
            Err(error) => {
                if matches!(error, Error::Gpu(_)) {
                    self.replace(compiled);
                }
                Verdict::Failed(error.to_string())
            }
        };
        Outcome { case, kernels, verdict, time }
    }

    /// A device that has reported an error reports it for ever, so the next case gets a new one.
    fn replace(&mut self, compiled: &mut usize) {
        *compiled += self.gpu.compiled_kernels();
        match Gpu::open_with(&self.options) {
            Ok(gpu) => self.gpu = gpu,
            Err(error) => self.gone = Some(format!("the adapter gives no device any more: {error}")),
        }
    }
}
