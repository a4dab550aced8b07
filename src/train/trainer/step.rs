//! What a step asks of the device: passes over batches, and an update.

use super::Trainer;
use crate::Result;
use crate::kernel::elementwise::fill;
use crate::kernel::loss::tally;
use crate::kernel::momentum::settle;
use crate::ops::smoothed_cross_entropy;
use crate::tensor::Tensor;
use crate::train::RunMode;

/// What the device is asked for at once, and what one recording holds.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// A batch forwards and backwards; the update too, where it is all of a step.
    Pass,
    /// The update from the sums of several passes.
    Update,
}

impl Trainer {
    /// Asks the device for it; in graph mode by a recording, which the first time makes.
    pub(super) fn ask(&mut self, work: Work) -> Result<()> {
        if self.options.mode == RunMode::Eager {
            // Nothing in it need reach the device at once, and a step must not be counted that never will.
            self.network.gpu().check()?;
            return self.compute(work);
        }
        let place = work as usize;
        if self.recordings[place].is_none() {
            let gpu = self.gpu().clone();
            self.recordings[place] = Some(gpu.record(|| self.compute(work))?.0);
        }
        match &self.recordings[place] {
            Some(recording) => recording.replay(),
            None => Ok(()),
        }
    }

    /// The work as the device is to do it.
    fn compute(&mut self, work: Work) -> Result<()> {
        let gradients = match (work, &self.sums) {
            (Work::Pass, None) => self.pass()?,
            (Work::Pass, Some(sums)) => {
                let gradients = self.pass()?;
                for (place, gradient) in there(&gradients) {
                    sums.add(place, gradient, &self.progress)?;
                }
                self.summed = gradients.iter().map(Option::is_some).collect();
                return Ok(());
            }
            (Work::Update, Some(sums)) => {
                let summed = self.summed.iter().enumerate();
                summed.map(|(place, &there)| there.then(|| sums.of(place).clone())).collect()
            }
            (Work::Update, None) => return Ok(()),
        };
        self.update(&gradients)
    }

    /// One batch forwards and backwards: its share of the gradient of each parameter.
    fn pass(&self) -> Result<Vec<Option<Tensor>>> {
        let passes = self.options.accumulate;
        let (images, labels) = self.feed.gather(&self.progress, self.feed.batch())?;
        let pass = self.network.train_pass(&images)?;
        let loss = smoothed_cross_entropy(&pass.output, &labels, self.options.label_smoothing)?;
        tally(&loss.rows, &self.history, &self.progress, passes)?;
        // From here on all gradients are shares of a mean over the passes, and their sum is that mean.
        let share = fill(self.gpu(), loss.mean.tensor().shape(), 1.0 / passes as f32)?;
        let gradients = pass.tape.backward_from(&loss.mean, share)?;
        let of = |&index: &usize| pass.leaf(index).and_then(|leaf| gradients.of(leaf)).cloned();
        Ok(self.trainable.iter().map(of).collect())
    }

    /// Moves each parameter that has a gradient.
    fn update(&self, gradients: &[Option<Tensor>]) -> Result<()> {
        if let Some(clip) = &self.clip {
            there(gradients).try_for_each(|(place, gradient)| clip.measure(place, gradient))?;
            clip.finish(&self.history, &self.progress, self.options.accumulate)?;
        }
        there(gradients).try_for_each(|(place, gradient)| self.optimizer.update(place, gradient))?;
        settle(&self.history, &self.progress, self.options.accumulate)
    }
}

/// The gradients that there are, with the numbers of their parameters.
fn there(gradients: &[Option<Tensor>]) -> impl Iterator<Item = (usize, &Tensor)> {
    gradients.iter().enumerate().filter_map(|(place, gradient)| Some((place, gradient.as_ref()?)))
}
