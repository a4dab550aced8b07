//! Integer networks on the CPU. Codes go through the layers an image at a time, as [H, W, C].
//!
//! `lanes` has the inner loops and all that is not portable; `conv` and `pool` bring layers into their form; `plan` puts layers
//! into an order and into memory.

mod conv;
mod lanes;
mod plan;
mod pool;
mod rule;
mod workers;

use rayon::prelude::*;

use self::lanes::Lanes;
use self::plan::{Plan, Workspace};
use self::workers::Workers;
use super::engine::Engine;
use super::model::Int8Model;
use crate::Result;

/// How a [`CpuEngine`] works. Codes do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuOptions {
    /// Whether to use the machine's vector instructions, where this program knows them (AVX2).
    pub simd: bool,
    /// Into how many parts large work is split at most: batches by images, large layers by places. The parts run in rayon's
    /// pool, the host's where it calls from one. 1 never leaves the calling thread.
    pub threads: usize,
}

impl Default for CpuOptions {
    /// All that the machine has.
    fn default() -> Self {
        CpuOptions { simd: true, threads: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

/// Runs an integer network on the CPU.
///
/// Memory is taken when it is made, and when a batch is larger than all before: running allocates nothing else.
pub struct CpuEngine {
    model: Int8Model,
    plan: Plan,
    workers: Workers,
    /// One for each part of a batch.
    memory: Vec<Workspace>,
}

impl CpuEngine {
    /// With all that the machine has.
    ///
    /// # Errors
    /// Where the network could not run ([`Int8Model::check`]), or there is too little memory.
    pub fn new(model: &Int8Model) -> Result<CpuEngine> {
        CpuEngine::with_options(model, CpuOptions::default())
    }

    /// With options.
    ///
    /// # Errors
    /// As [`CpuEngine::new`].
    pub fn with_options(model: &Int8Model, options: CpuOptions) -> Result<CpuEngine> {
        model.check()?;
        let plan = Plan::new(model)?;
        let lanes = if options.simd { Lanes::detect() } else { Lanes::Plain };
        let memory = vec![plan.workspace()?];
        let workers = Workers { lanes, threads: options.threads };
        Ok(CpuEngine { model: model.clone(), plan, workers, memory })
    }
}

impl Engine for CpuEngine {
    fn model(&self) -> &Int8Model {
        &self.model
    }

    fn run(&mut self, codes: &[i8], output: &mut Vec<i8>) -> Result<()> {
        let images = self.model.images_in(codes.len())?;
        let size = codes.len() / images;
        let output_size = self.model.output().shape.iter().product::<usize>();
        output.resize(images * output_size, 0);
        let Self { plan, workers, memory, .. } = self;
        let images_of = |workers: Workers, memory: &mut Workspace, codes: &[i8], output: &mut [i8]| {
            for (image, output) in codes.chunks(size).zip(output.chunks_mut(output_size)) {
                plan.run(workers, memory, image, output);
            }
        };
        let per = workers.share(images, plan.products.saturating_mul(images));
        let parts = images.div_ceil(per);
        if parts == 1 {
            images_of(*workers, &mut memory[0], codes, output);
            return Ok(());
        }
        while memory.len() < parts {
            memory.push(plan.workspace()?);
        }
        // Where there are fewer images than threads, layers are split too.
        let inside = Workers { threads: workers.threads / parts, ..*workers };
        let parts = memory.par_iter_mut().zip(codes.par_chunks(per * size));
        let parts = parts.zip(output.par_chunks_mut(per * output_size));
        parts.for_each(|((memory, codes), output)| images_of(inside, memory, codes, output));
        Ok(())
    }

    fn trace(&mut self, codes: &[i8]) -> Result<Vec<Vec<i8>>> {
        let images = self.model.images_in(codes.len())?;
        let mut all = vec![Vec::new(); self.model.layers.len()];
        for image in codes.chunks(codes.len() / images) {
            self.plan.trace(self.workers, &mut self.memory[0], image, &mut all);
        }
        Ok(all)
    }
}
