//! What the integer network of a training is worth: its accuracy, its size, and how long an image takes.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::evaluate::evaluate_int8;
use super::feed::Feed;
use crate::Result;
use crate::deploy::{CpuEngine, CpuOptions, Engine, GpuEngine, Int8Model};
use crate::gpu::Gpu;

/// Runs whose median is told; a quick look, where `simqat bench infer` measures.
const RUNS: usize = 101;

/// An integer network in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Int8Summary {
    /// Share of correct test images.
    pub top1: f64,
    /// Share of them whose label is among the first five classes; none where there are at most five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Size of the file.
    pub bytes: u64,
    /// Microseconds for one image on one thread of the processor, from values to logits.
    pub cpu_us: f64,
    /// The same on the adapter.
    pub gpu_us: f64,
}

impl Int8Summary {
    /// Evaluates a model on all images of a feed, and times single images.
    ///
    /// # Errors
    /// As [`evaluate_int8`].
    pub fn of(gpu: &Gpu, model: &Int8Model, feed: &Feed) -> Result<Int8Summary> {
        let evaluation = evaluate_int8(gpu, &mut CpuEngine::new(model)?, feed)?;
        let one = CpuOptions { threads: 1, ..CpuOptions::default() };
        Ok(Int8Summary {
            top1: evaluation.top1(),
            top5: evaluation.top5(),
            bytes: model.to_bytes()?.len() as u64,
            cpu_us: latency(&mut CpuEngine::with_options(model, one)?)?,
            gpu_us: latency(&mut GpuEngine::new(gpu, model)?)?,
        })
    }
}

/// Median of single images, in microseconds.
fn latency(engine: &mut dyn Engine) -> Result<f64> {
    let image = vec![0.5; engine.model().input().shape.iter().product()];
    engine.predict(&image)?;
    let mut seconds = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        engine.predict(&image)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(1e6 * seconds[RUNS / 2])
}
