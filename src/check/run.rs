//! Running the cases on one adapter.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Case, Depth, Outcome, Report, Trial, Verdict, cases, training};
use crate::gpu::{Caps, Gpu, GpuOptions, KernelFamily};
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
    let mut bench = Bench::open(&options.gpu, KernelFamily::Auto)?;
    let caps = bench.gpu.caps().clone();
    let features = bench.gpu.device().features().iter_names().map(|(name, _)| name.to_string()).collect();
    let limits = limits(&bench.gpu.device().limits());
    let trains = chosen.iter().any(|case| case.family == training::FAMILY);
    let first_steps = || training::first_steps(&bench.gpu, start).ok();
    let start_up = trains.then(first_steps).flatten();
    // Those that the adapter gets by itself, and if these are not the ones for GPUs, those too.
    let mut kinds = vec![(KernelFamily::Auto, chosen.clone())];
    if caps.prefers_broadcast() {
        kinds.push((KernelFamily::Tiled, chosen.into_iter().filter(|case| case.both).collect()));
    }
    let mut left: usize = kinds.iter().map(|(_, cases)| cases.len()).sum();
    let mut outcomes = Vec::new();
    for (kernels, cases) in kinds {
        if bench.kernels != kernels {
            bench = bench.with(kernels)?;
        }
        for case in cases {
            let outcome = bench.run(case, options.seed);
            left -= 1;
            watch(&caps, &outcome, left);
            outcomes.push(outcome);
        }
    }
    let time = start.elapsed();
    let variants = bench.variants();
    Ok(Report { caps, features, limits, variants, seed: options.seed, outcomes, start: start_up, time })
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
struct Bench {
    options: GpuOptions,
    kernels: KernelFamily,
    gpu: Gpu,
    /// What was compiled on devices that were given up.
    compiled: BTreeSet<String>,
    /// Why there is no device any more.
    gone: Option<String>,
}

impl Bench {
    fn open(options: &GpuOptions, kernels: KernelFamily) -> Result<Self> {
        let options = GpuOptions { poison: true, kernels, ..options.clone() };
        let gpu = Gpu::open_with(&options)?;
        Ok(Bench { options, kernels, gpu, compiled: BTreeSet::new(), gone: None })
    }

    /// The same with other kernels.
    fn with(self, kernels: KernelFamily) -> Result<Self> {
        let compiled = self.variants().into_iter().collect();
        let options = self.options.clone();
        // One device at a time: a GPU may not have room for the memory of two.
        drop(self);
        Ok(Bench { compiled, ..Bench::open(&options, kernels)? })
    }

    /// The shaders that were compiled, by file and constants.
    fn variants(&self) -> Vec<String> {
        let mut all = self.compiled.clone();
        all.extend(self.gpu.kernel_names());
        all.into_iter().collect()
    }

    fn run(&mut self, case: Case, seed: u64) -> Outcome {
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
                    self.replace();
                }
                Verdict::Failed(error.to_string())
            }
        };
        Outcome { case, kernels, verdict, time }
    }

    /// A device that has reported an error reports it for ever, so the next case gets a new one.
    fn replace(&mut self) {
        self.compiled.extend(self.gpu.kernel_names());
        match Gpu::open_with(&self.options) {
            Ok(gpu) => self.gpu = gpu,
            Err(error) => self.gone = Some(format!("the adapter gives no device any more: {error}")),
        }
    }
}
