//! Running the cases on one adapter.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Case, Depth, Outcome, Report, Trial, Verdict, cases, training};
use crate::gpu::{Caps, Gpu, GpuOptions, KernelFamily};
use crate::shader_test::Deviation;
use crate::{Error, Result};

/// What to try, and where.
#[derive(Clone, Debug, Default)]
pub struct CheckOptions {
    /// The adapter, and which kernels, if only one kind is to be tried. Memory is always poisoned.
    pub gpu: GpuOptions,
    /// How much is tried.
    pub depth: Depth,
    /// Only families whose names contain this; all if it is empty.
    pub family: String,
    /// Of the random shapes and values.
    pub seed: u64,
}

/// Tries everything on one adapter, and tells `watch` of each case when it is done: on what adapter, what came of it, and
/// how many are still to come. A case that fails keeps none of the others from being tried.
///
/// # Errors
/// If the adapter gives no device, or no family has such a name.
pub fn run(options: &CheckOptions, mut watch: impl FnMut(&Caps, &Outcome, usize)) -> Result<Report> {
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
    let open = |kernels| Gpu::open_with(&GpuOptions { poison: true, kernels, ..options.gpu.clone() });
    let gpu = open(options.gpu.kernels)?;
    let mut bench = Bench::with(&open, options.gpu.kernels, gpu.clone());
    let caps = gpu.caps().clone();
    let features = gpu.device().features().iter_names().map(|(name, _)| name.to_string()).collect();
    let limits = limits(&gpu.device().limits());
    let mut first_steps = None;
    if chosen.iter().any(|case| case.family == training::FAMILY) {
        match training::first_steps(&gpu, start) {
            Ok(times) => first_steps = Some(times),
            // The cases about training will tell why, on a device that has not failed yet.
            Err(_) => bench.reopen(options.gpu.kernels),
        }
    }
    drop(gpu);
    // Those that the adapter gets by itself, and if these are not the ones for GPUs, those too.
    let mut rounds = vec![(options.gpu.kernels, chosen.clone())];
    if caps.prefers_broadcast() && options.gpu.kernels == KernelFamily::Auto {
        rounds.push((KernelFamily::Tiled, chosen.into_iter().filter(|case| case.both).collect()));
    }
    let outcomes = bench.try_all(rounds, options.seed, |outcome, left| watch(&caps, outcome, left));
    let variants = bench.variants();
    let time = start.elapsed();
    Ok(Report { caps, features, limits, variants, seed: options.seed, outcomes, start: first_steps, time })
}

/// The limits that kernels come near to.
fn limits(of: &wgpu::Limits) -> Vec<(&'static str, u64)> {
    vec![
        ("max_buffer_size", of.max_buffer_size),
        ("max_storage_buffer_binding_size", of.max_storage_buffer_binding_size),
        ("max_storage_buffers_per_shader_stage", of.max_storage_buffers_per_shader_stage.into()),
        ("max_uniform_buffer_binding_size", of.max_uniform_buffer_binding_size),
        ("min_storage_buffer_offset_alignment", of.min_storage_buffer_offset_alignment.into()),
        ("max_compute_workgroup_storage_size", of.max_compute_workgroup_storage_size.into()),
        ("max_compute_invocations_per_workgroup", of.max_compute_invocations_per_workgroup.into()),
        ("max_compute_workgroup_size_x", of.max_compute_workgroup_size_x.into()),
        ("max_compute_workgroups_per_dimension", of.max_compute_workgroups_per_dimension.into()),
    ]
}

/// A device under test, and a new one after a case that broke it.
struct Bench<'a> {
    open: &'a dyn Fn(KernelFamily) -> Result<Gpu>,
    kernels: KernelFamily,
    gpu: Result<Gpu>,
    /// What was compiled on devices that were given up.
    compiled: BTreeSet<String>,
}

impl<'a> Bench<'a> {
    fn with(open: &'a dyn Fn(KernelFamily) -> Result<Gpu>, kernels: KernelFamily, gpu: Gpu) -> Self {
        Bench { open, kernels, gpu: Ok(gpu), compiled: BTreeSet::new() }
    }

    /// Gives the device up and opens another.
    fn reopen(&mut self, kernels: KernelFamily) {
        self.compiled = self.variants().into_iter().collect();
        // One device at a time: a GPU may not have room for the memory of two.
        self.gpu = Err(Error::NoAdapter(String::new()));
        self.gpu = (self.open)(kernels);
        self.kernels = kernels;
    }

    /// The shaders that were compiled, by file and constants.
    fn variants(&self) -> Vec<String> {
        let mut all = self.compiled.clone();
        all.extend(self.gpu.iter().flat_map(Gpu::kernel_names));
        all.into_iter().collect()
    }

    fn try_all(
        &mut self,
        rounds: Vec<(KernelFamily, Vec<Case>)>,
        seed: u64,
        mut watch: impl FnMut(&Outcome, usize),
    ) -> Vec<Outcome> {
        let mut left: usize = rounds.iter().map(|(_, cases)| cases.len()).sum();
        let mut outcomes: Vec<Outcome> = Vec::new();
        for (kernels, cases) in rounds {
            if self.kernels != kernels {
                self.reopen(kernels);
            }
            for case in cases {
                if outcomes.last().is_some_and(|last| last.case.family != case.family) {
                    // Some drivers keep megabytes of each kernel.
                    self.gpu.iter().for_each(Gpu::trim);
                }
                let outcome = self.try_one(case, seed);
                left -= 1;
                watch(&outcome, left);
                outcomes.push(outcome);
            }
        }
        outcomes
    }

    fn try_one(&mut self, case: Case, seed: u64) -> Outcome {
        let gpu = match &self.gpu {
            Ok(gpu) => gpu,
            Err(error) => {
                let kernels = if self.kernels == KernelFamily::Tiled { "tiled" } else { "broadcast" };
                let verdict = Verdict::NotRun(format!("the adapter gives no device any more: {error}"));
                return Outcome { case, kernels, verdict, worst: Deviation::default(), time: Duration::ZERO };
            }
        };
        let kernels = if gpu.caps().prefers_broadcast() { "broadcast" } else { "tiled" };
        let start = Instant::now();
        let mut trial = Trial::new(gpu, seed);
        let result = case.run(&mut trial);
        let worst = trial.worst();
        let time = start.elapsed();
        let verdict = match result {
            Ok(()) => Verdict::Passed,
            Err(error) => {
                // A device that has reported an error reports it for ever, so the next case gets a new one.
                if matches!(error, Error::Gpu(_) | Error::Lost { .. }) {
                    self.reopen(self.kernels);
                }
                Verdict::Failed(error.to_string())
            }
        };
        Outcome { case, kernels, verdict, worst, time }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const CASES: [Case; 3] = [
        Case::new("one", "breaks the device", |_| Err(Error::Gpu("the GPU was lost".into()))),
        Case::new("one", "holds", |_| Ok(())),
        Case::new("two", "does not hold", |_| Err(Error::Mismatch("1 is 2".into()))),
    ];

    /// What becomes of the cases, and how many devices were opened, if only so many can be.
    fn verdicts(devices: usize) -> (Vec<Verdict>, usize) {
        let opened = Cell::new(0);
        let open = |_: KernelFamily| {
            opened.set(opened.get() + 1);
            if opened.get() <= devices {
                Ok(Gpu::noop())
            } else {
                Err(Error::NoAdapter("none is left".into()))
            }
        };
        let first = open(KernelFamily::Auto).unwrap();
        let mut bench = Bench::with(&open, KernelFamily::Auto, first);
        let outcomes = bench.try_all(vec![(KernelFamily::Auto, CASES.to_vec())], 0, |_, _| {});
        (outcomes.into_iter().map(|outcome| outcome.verdict).collect(), opened.get())
    }

    #[test]
    fn a_case_that_breaks_the_device_costs_no_other_case() {
        let (found, opened) = verdicts(2);
        assert_eq!(opened, 2, "a wrong value breaks no device");
        assert_eq!(found[0], Verdict::Failed("the GPU was lost".into()));
        assert!(matches!(found[1], Verdict::Passed));
        assert_eq!(found[2], Verdict::Failed("1 is 2".into()));
    }

    #[test]
    fn what_has_no_device_any_more_is_not_run_and_says_why() {
        let (found, _) = verdicts(1);
        let why = "the adapter gives no device any more: none is left";
        assert_eq!(found[1..], [Verdict::NotRun(why.into()), Verdict::NotRun(why.into())]);
    }
}
