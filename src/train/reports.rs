//! From the history on the device to reports: what steps were, how fast they went, and how long the rest will take.

use std::time::{Duration, Instant};

use super::callback::StepReport;
use super::evaluate::TOP;
use crate::gpu::Readback;
use crate::kernel::loss::{ENTRY, HISTORY};

/// Share of the newest report in the pace by which the time left is told.
const NEWEST: f64 = 0.2;

/// Steps whose losses were asked for or delivered.
pub(super) struct Reports {
    /// A history on its way, and the steps done when it was asked for.
    pub reading: Option<(usize, Readback)>,
    delivered: usize,
    since: Instant,
    /// How long the feed had waited by then.
    waited: Duration,
    /// Seconds for a step, smoothed.
    pace: Option<f64>,
}

/// What a report tells of the training, whatever its steps were.
pub(super) struct Circumstances {
    pub steps_per_epoch: usize,
    pub total_steps: usize,
    /// Of a step.
    pub images: usize,
    pub classes: usize,
    pub learning_rate: f32,
    pub clips: bool,
    /// How long the feed has waited in all.
    pub waited: Duration,
}

/// A step with something that is not finite.
pub(super) struct NotFinite {
    /// From 0.
    pub step: usize,
    pub what: Culprit,
}

#[derive(Clone, Copy)]
pub(super) enum Culprit {
    Loss,
    /// The norm of the gradients.
    Norm,
    /// The update of the optimizer's parameter of that number.
    Update(usize),
}

/// What is not finite in an entry of the history, if anything is.
pub(super) fn not_finite([loss, _, _, norm]: [f32; ENTRY]) -> Option<Culprit> {
    if !loss.is_finite() {
        return Some(Culprit::Loss);
    }
    match norm {
        // See `kernel::momentum::settle`.
        norm if norm < 0.0 && norm.is_finite() => Some(Culprit::Update((-norm) as usize - 1)),
        norm if norm.is_finite() => None,
        _ => Some(Culprit::Norm),
    }
}

impl Reports {
    /// Of a training that goes on behind so many steps.
    pub fn from(step: usize) -> Reports {
        Reports { reading: None, delivered: step, since: Instant::now(), waited: Duration::ZERO, pace: None }
    }

    /// From now on, time is that of steps again.
    pub fn resume_clock(&mut self, waited: Duration) {
        (self.since, self.waited) = (Instant::now(), waited);
    }

    /// Reports the steps up to `upto` from the history that was read after it; none where they were reported.
    pub fn report(
        &mut self,
        upto: usize,
        history: &[[f32; ENTRY]],
        now: &Circumstances,
    ) -> Result<Option<StepReport>, NotFinite> {
        let from = self.delivered.max(upto.saturating_sub(HISTORY));
        if upto <= from {
            return Ok(None);
        }
        let mut sums = [0.0; ENTRY];
        for step in from..upto {
            let entry = history[step % HISTORY];
            if let Some(what) = not_finite(entry) {
                return Err(NotFinite { step, what });
            }
            sums.iter_mut().zip(entry).for_each(|(sum, value)| *sum += f64::from(value));
        }
        let steps = (upto - from) as f64;
        let images = steps * now.images as f64;
        let [loss, _, _, norm] = history[(upto - 1) % HISTORY].map(f64::from);
        let seconds = self.since.elapsed().as_secs_f64();
        let each = seconds / steps;
        // The first report times the compilation of the kernels too.
        let pace = self.pace.map_or(each, |pace| pace + NEWEST * (each - pace));
        let waited = now.waited.saturating_sub(self.waited).as_secs_f64();
        let report = StepReport {
            step: upto,
            epoch: (upto - 1) / now.steps_per_epoch,
            step_in_epoch: (upto - 1) % now.steps_per_epoch + 1,
            steps_per_epoch: now.steps_per_epoch,
            total_steps: now.total_steps,
            loss,
            mean_loss: sums[0] / steps,
            accuracy: sums[1] / images,
            top5: (now.classes > TOP).then(|| sums[2] / images),
            gradient_norm: now.clips.then_some(norm),
            learning_rate: now.learning_rate,
            ms_per_step: each * 1e3,
            images_per_s: images / seconds.max(f64::MIN_POSITIVE),
            data_wait: (waited / seconds.max(f64::MIN_POSITIVE)).min(1.0),
            seconds_left: now.total_steps.saturating_sub(upto) as f64 * pace,
        };
        self.delivered = upto;
        self.pace = Some(pace);
        self.resume_clock(now.waited);
        Ok(Some(report))
    }
}
