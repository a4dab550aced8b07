//! The training loop. Steps are asked of the device and not waited for; losses come back later, through a
//! history that lies on the device.

mod saved;
mod step;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use saved::Saved;
use step::Work;

use super::callback::{Callback, EpochReport};
use super::diagnose::first_non_finite;
use super::evaluate::{Evaluation, evaluate};
use super::feed::Feed;
use super::memory::advised;
use super::options::TrainerOptions;
use super::reports::{Circumstances, Culprit, NotFinite, Reports, not_finite};
use crate::data::Skipped;
use crate::gpu::{Gpu, Readback, Recording};
use crate::kernel::loss::{ENTRY, HISTORY};
use crate::nn::Network;
use crate::optim::{GradientClip, GradientSums, Momentum, Span};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Asks a training to end after the step under way; a signal handler may hold a clone.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// From now on, trainings that hold this flag end.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once asked.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// The stop flag was raised after so many steps.
    Stopped {
        /// Steps done in all.
        step: usize,
    },
}

/// A network in training.
pub struct Trainer {
    network: Network,
    optimizer: Momentum,
    /// Which of the network's parameters the optimizer moves, in its order.
    trainable: Vec<usize>,
    /// Where a step takes several passes: the sums of their gradients, and which of them there are.
    sums: Option<GradientSums>,
    summed: Vec<bool>,
    clip: Option<GradientClip>,
    feed: Feed,
    options: TrainerOptions,
    /// u32 [batch of the epoch, step, halted, passes of the step that are done]
    progress: Tensor,
    history: Tensor,
    recordings: [Option<Recording>; 2],
    steps_done: usize,
    /// The epoch whose order the device holds.
    shuffled: Option<usize>,
    reports: Reports,
    saved: Saved,
}

impl Trainer {
    /// A training of `network` with the images of `feed`, from step 0.
    ///
    /// # Errors
    /// Where an option makes no sense, the network does not take the feed's images or has no output for a
    /// label, an epoch has fewer batches than a step, or the device has failed.
    pub fn new(network: Network, feed: Feed, options: TrainerOptions) -> Result<Trainer> {
        options.validate()?;
        feed.check_fits(network.name(), network.input_shape(), network.output_shape())?;
        if feed.whole_batches() < options.accumulate {
            return Err(Error::Invalid(format!(
                "train.accumulate = {}: a step takes so many batches, and an epoch has {} of {} images",
                options.accumulate,
                feed.whole_batches(),
                feed.batch()
            )));
        }
        let gpu = network.gpu().clone();
        let progress = Feed::progress(&gpu)?;
        let trainable: Vec<usize> =
            (0..network.parameters().len()).filter(|&i| network.parameters()[i].trainable).collect();
        let names: Vec<&str> = trainable.iter().map(|&i| network.parameters()[i].name.as_str()).collect();
        let moved: Vec<Tensor> = trainable.iter().map(|&i| network.parameters()[i].tensor.clone()).collect();
        for pattern in options.unmatched(&names) {
            log::warn!(
                "optimizer.no_decay: no parameter of {} has a name like \"{pattern}\"",
                network.name()
            );
        }
        // Weights alone decay: a bias, the scale and shift of a normalization or a learned step, all of them with one axis,
        // would lose what they are for.
        let decays =
            |index: usize, tensor: &Tensor| tensor.shape().len() > 1 && options.may_decay(names[index]);
        let mut optimizer = Momentum::new(&moved, options.optimizer)?.guarded_by(&progress).decaying(decays);
        let clip =
            (options.clip_norm > 0.0).then(|| GradientClip::new(&moved, options.clip_norm)).transpose()?;
        if let Some(clip) = &clip {
            optimizer = optimizer.scaled_by(clip.factor());
        }
        Ok(Trainer {
            history: Tensor::zeros(&gpu, [HISTORY, ENTRY], DType::F32)?,
            sums: (options.accumulate > 1).then(|| GradientSums::new(&moved)).transpose()?,
            summed: vec![false; moved.len()],
            network,
            optimizer,
            trainable,
            clip,
            feed,
            options,
            progress,
            recordings: [None, None],
            steps_done: 0,
            shuffled: None,
            reports: Reports::from(0),
            saved: Saved::default(),
        })
    }

    /// The network as it is after the steps asked for so far.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Gives the network back.
    pub fn into_network(self) -> Network {
        self.network
    }

    /// The optimizer, for its state.
    pub fn optimizer(&self) -> &Momentum {
        &self.optimizer
    }

    /// The optimizer's state as a checkpoint holds it: the velocity of each parameter by the parameter's name.
    pub fn velocities(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let names = self.trainable.iter().map(|&i| self.network.parameters()[i].name.as_str());
        names.zip(self.optimizer.velocities())
    }

    /// Images in a step, and in the whole training split, in words: what a step means depends on both.
    pub(super) fn step_in_words(&self) -> String {
        let (batch, images) = (self.feed.batch(), self.feed.len());
        match self.options.accumulate {
            1 => format!("{batch} of {images} images"),
            passes => format!("{passes} x {batch} of {images} images"),
        }
    }

    /// The optimizer, to change its learning rate. A schedule that is not constant sets it again before each step.
    pub fn optimizer_mut(&mut self) -> &mut Momentum {
        &mut self.optimizer
    }

    /// The options that it was made with.
    pub fn options(&self) -> &TrainerOptions {
        &self.options
    }

    /// Steps asked for so far.
    pub fn steps_done(&self) -> usize {
        self.steps_done
    }

    /// Steps in an epoch, of whole batches; what is left over waits for the next shuffle.
    pub fn steps_per_epoch(&self) -> usize {
        self.feed.whole_batches() / self.options.accumulate
    }

    /// Steps of the whole training.
    pub fn total_steps(&self) -> usize {
        self.steps_per_epoch() * self.options.epochs
    }

    /// True once a loss was not finite: parameters are left alone from then on, and the next report is an
    /// error. Waits for the steps asked for.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn is_halted(&self) -> Result<bool> {
        Ok(self.progress.read_u32()?[2] != 0)
    }

    /// How long the steps have waited for images, in all; see [`Feed::waited`].
    pub fn waited(&self) -> Duration {
        self.feed.waited()
    }

    /// The training pictures that could not be decoded so far; see [`Feed::skipped`].
    pub fn skipped(&self) -> Vec<Skipped> {
        self.feed.skipped()
    }

    fn gpu(&self) -> &Gpu {
        self.network.gpu()
    }

    /// Goes on from `step`, as a checkpoint says; parameters and velocities are the caller's to restore.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn seek(&mut self, step: usize) -> Result<()> {
        self.steps_done = step;
        self.shuffled = None;
        self.progress.write_u32(&[0, step as u32, 0, 0])?;
        self.reports = Reports::from(step);
        Ok(())
    }

    /// Shows the observers `batches` batches of the training images, in the order of the epoch under way; see
    /// [`calibrate`](super::calibrate()).
    ///
    /// # Errors
    /// As there.
    pub fn calibrate(&mut self, batches: usize) -> Result<()> {
        self.shuffle()?;
        super::calibrate(&self.network, &self.feed, batches)
    }

    /// Estimates the statistics of normalizations anew over `batches` batches of the training images, in the order of
    /// the epoch under way; see [`reestimate_batch_norm`](super::reestimate_batch_norm()).
    ///
    /// # Errors
    /// As there.
    pub fn reestimate_batch_norm(&mut self, batches: usize) -> Result<()> {
        self.shuffle()?;
        super::reestimate_batch_norm(&self.network, &self.feed, batches)
    }

    /// Puts the images into the order of the epoch that the next step is in.
    fn shuffle(&mut self) -> Result<()> {
        let epoch = self.steps_done / self.steps_per_epoch();
        if self.shuffled == Some(epoch) {
            return Ok(());
        }
        self.feed.shuffle(self.options.seed, epoch)?;
        let batch = self.steps_done % self.steps_per_epoch() * self.options.accumulate;
        // Only the batch: a flag that was raised stays up until somebody hears of it.
        self.gpu().write(self.progress.buffer(), &(batch as u32).to_le_bytes())?;
        self.shuffled = Some(epoch);
        Ok(())
    }

    /// The learning rate of step number `step`, from 0.
    fn rate_of(&self, step: usize) -> f32 {
        if self.options.schedule.is_constant() {
            // Somebody may have changed it.
            return self.optimizer.learning_rate();
        }
        let span = Span { steps_per_epoch: self.steps_per_epoch(), epochs: self.options.epochs };
        self.options.schedule.rate(self.options.optimizer.learning_rate, step, span)
    }

    /// Asks the device for one step and returns without waiting for it. After an error, the next call begins the same step
    /// anew; what quantizers and normalizations saw of the passes before the error stays seen.
    ///
    /// # Errors
    /// Where images cannot be had, memory does not suffice, or the device has failed. Where it is gone, here and in whatever else
    /// is asked of this training, [`Error::Lost`] names the checkpoint that was written last.
    pub fn step(&mut self) -> Result<()> {
        self.one_step().map_err(|error| self.with_checkpoint(error))
    }

    fn one_step(&mut self) -> Result<()> {
        self.shuffle()?;
        self.optimizer.set_learning_rate(self.rate_of(self.steps_done))?;
        if let Err(error) = self.passes_and_update() {
            // A device that has failed says so again; the first error is the one to tell.
            let _ = self.rewind();
            return Err(error);
        }
        self.steps_done += 1;
        Ok(())
    }

    fn passes_and_update(&mut self) -> Result<()> {
        let (passes, images) = (self.options.accumulate, self.feed.batch());
        let first = self.steps_done % self.steps_per_epoch() * passes;
        let before = self.gpu().memory().live;
        for batch in first..first + passes {
            self.feed.supply(batch)?;
            self.ask(Work::Pass).map_err(|error| advised(error, &self.network, images, before))?;
        }
        if passes > 1 {
            self.ask(Work::Update)?;
        }
        Ok(())
    }

    /// Puts the device's counters back to where the step under way begins. Sums of gradients need no care: the first pass of
    /// a step writes over them.
    fn rewind(&mut self) -> Result<()> {
        let halted = self.progress.read_u32()?[2];
        if halted != 0 {
            // They tell where the loss was not finite.
            return Ok(());
        }
        let batch = self.steps_done % self.steps_per_epoch() * self.options.accumulate;
        self.progress.write_u32(&[batch as u32, self.steps_done as u32, 0, 0])
    }

    /// Steps until `slice` has passed or the training is over, for a host that has other things to do. True
    /// while there are steps left. Callbacks hear of steps and reports; evaluating, and what is done at the end of
    /// an epoch or of the training, is the host's to ask for.
    ///
    /// # Errors
    /// Where the device has failed, or the loss is not finite.
    pub fn run_for(&mut self, slice: Duration, callbacks: &mut [&mut dyn Callback]) -> Result<bool> {
        self.run_slice(slice, callbacks).map_err(|error| self.with_checkpoint(error))
    }

    fn run_slice(&mut self, slice: Duration, callbacks: &mut [&mut dyn Callback]) -> Result<bool> {
        let end = Instant::now() + slice;
        while self.steps_done < self.total_steps() && Instant::now() < end {
            self.advance(callbacks)?;
            // The next epoch's order would replace the one that a loss which is not finite must be traced in.
            if self.steps_done.is_multiple_of(self.steps_per_epoch()) {
                self.finish_reports(callbacks)?;
            }
        }
        Ok(self.steps_done < self.total_steps())
    }

    fn advance(&mut self, callbacks: &mut [&mut dyn Callback]) -> Result<()> {
        for callback in callbacks.iter_mut() {
            callback.before_step(self)?;
        }
        self.step()?;
        for callback in callbacks.iter_mut() {
            callback.after_step(self)?;
        }
        let due = self.steps_done.is_multiple_of(self.options.log_every);
        self.deliver(due, callbacks)
    }

    /// Hands out reports that have arrived; with `due`, asks for those of the steps since.
    fn deliver(&mut self, due: bool, callbacks: &mut [&mut dyn Callback]) -> Result<()> {
        match self.reports.reading.take() {
            // Asking for the next while one is on the way would let the ring come around.
            Some((upto, readback)) if due => self.hand_out(upto, &readback.wait()?, callbacks)?,
            Some((upto, readback)) => self.poll(upto, readback, callbacks)?,
            None => {}
        }
        if due {
            let readback = self.gpu().start_read(self.history.buffer())?;
            self.reports.reading = Some((self.steps_done, readback));
        }
        Ok(())
    }

    fn poll(
        &mut self,
        upto: usize,
        mut readback: Readback,
        callbacks: &mut [&mut dyn Callback],
    ) -> Result<()> {
        match readback.try_take()? {
            Some(bytes) => self.hand_out(upto, &bytes, callbacks),
            None => {
                self.reports.reading = Some((upto, readback));
                Ok(())
            }
        }
    }

    /// Reports the steps up to `upto` from the history that was read after it.
    fn hand_out(&mut self, upto: usize, bytes: &[u8], callbacks: &mut [&mut dyn Callback]) -> Result<()> {
        let history: Vec<[f32; ENTRY]> = bytemuck::pod_collect_to_vec(bytes);
        let now = Circumstances {
            steps_per_epoch: self.steps_per_epoch(),
            total_steps: self.total_steps(),
            images: self.feed.batch() * self.options.accumulate,
            classes: self.network.output_shape().count(),
            learning_rate: self.rate_of(upto.saturating_sub(1)),
            clips: self.clip.is_some(),
            waited: self.waited(),
        };
        match self.reports.report(upto, &history, &now) {
            Ok(Some(report)) => callbacks.iter_mut().try_for_each(|callback| callback.on_report(&report)),
            Ok(None) => Ok(()),
            Err(found) => Err(self.diverged(&found)?),
        }
    }

    /// Waits for all steps asked for, and fails where the loss of one was not finite. Updates are held back
    /// from there on, so what the counters say and what the parameters are would not belong together.
    ///
    /// # Errors
    /// See above, or where the device has failed.
    pub fn check_finite(&self) -> Result<()> {
        self.find_non_finite().map_err(|error| self.with_checkpoint(error))
    }

    fn find_non_finite(&self) -> Result<()> {
        match self.progress.read_u32()?[..] {
            [_, step, halted, _] if halted != 0 => {
                let (step, history) = (step as usize, self.history.read_f32()?);
                let (entries, _) = history.as_chunks::<ENTRY>();
                let what = not_finite(entries[step % HISTORY]).unwrap_or(Culprit::Loss);
                Err(self.diverged(&NotFinite { step, what })?)
            }
            _ => Ok(()),
        }
    }

    /// The error that says at which step and where. The update was held back, so the parameters are those with which the step
    /// was computed; but for an update that was not finite itself, beside which others were made.
    fn diverged(&self, found: &NotFinite) -> Result<Error> {
        let what = match found.what {
            Culprit::Loss => "the loss",
            Culprit::Norm => "the norm of the gradients",
            Culprit::Update(place) => {
                let name = self.trainable.get(place).map_or("?", |&i| &self.network.parameters()[i].name);
                return Ok(self.diverged_at(found, &format!("the update of parameter \"{name}\""), ""));
            }
        };
        self.feed.supply(self.progress.read_u32()?[0] as usize)?;
        let (images, _) = self.feed.gather(&self.progress, self.feed.batch())?;
        let place = first_non_finite(&self.network, &images)?;
        let place = place.unwrap_or_else(|| "every layer's output is still finite".into());
        Ok(self.diverged_at(found, what, &format!(": {place}")))
    }

    fn diverged_at(&self, found: &NotFinite, what: &str, place: &str) -> Error {
        Error::Diverged(format!(
            "{what} became NaN or infinite at step {}{place}; lower optimizer.learning_rate (now {}), or go on from the last \
             good checkpoint",
            found.step + 1,
            self.optimizer.learning_rate()
        ))
    }

    /// Waits for all steps asked for and reports them.
    ///
    /// # Errors
    /// Where the device has failed, or the loss is not finite.
    pub fn finish_reports(&mut self, callbacks: &mut [&mut dyn Callback]) -> Result<()> {
        self.deliver(true, callbacks)?;
        if let Some((upto, readback)) = self.reports.reading.take() {
            self.hand_out(upto, &readback.wait()?, callbacks)?;
        }
        Ok(())
    }

    /// Trains to the end, or until `stop` is raised; every [`TrainerOptions::eval_every`] epochs and after the last one the
    /// network is evaluated on `test`.
    ///
    /// # Errors
    /// Where the device has failed, the loss is not finite, or a callback fails.
    pub fn fit(
        &mut self,
        test: &Feed,
        callbacks: &mut [&mut dyn Callback],
        stop: &StopFlag,
    ) -> Result<Outcome> {
        self.run_all(test, callbacks, stop).map_err(|error| self.with_checkpoint(error))
    }

    fn run_all(
        &mut self,
        test: &Feed,
        callbacks: &mut [&mut dyn Callback],
        stop: &StopFlag,
    ) -> Result<Outcome> {
        self.reports.resume_clock(self.waited());
        while self.steps_done < self.total_steps() {
            let start = (Instant::now(), self.steps_done);
            let end = (self.steps_done / self.steps_per_epoch() + 1) * self.steps_per_epoch();
            while self.steps_done < end && !stop.is_stopped() {
                self.advance(callbacks)?;
            }
            self.finish_reports(callbacks)?;
            if self.steps_done < end {
                return self.stopped(callbacks);
            }
            let train_time = start.0.elapsed();
            let (epoch, epochs) = (end / self.steps_per_epoch(), self.options.epochs);
            let due = epoch.is_multiple_of(self.options.eval_every) || epoch == epochs;
            let evaluation = due.then(|| self.evaluate(test)).transpose()?;
            let report = EpochReport {
                epoch,
                epochs,
                steps: end - start.1,
                train_time,
                evaluation,
                evaluated_on: test.role(),
            };
            callbacks.iter_mut().try_for_each(|callback| callback.on_epoch(self, &report))?;
            // The evaluation and whatever the callbacks did is not part of a step.
            self.reports.resume_clock(self.waited());
            if stop.is_stopped() && self.steps_done < self.total_steps() {
                return self.stopped(callbacks);
            }
        }
        callbacks.iter_mut().try_for_each(|callback| callback.on_end(self))?;
        Ok(Outcome::Finished)
    }

    fn stopped(&mut self, callbacks: &mut [&mut dyn Callback]) -> Result<Outcome> {
        callbacks.iter_mut().try_for_each(|callback| callback.on_end(self))?;
        Ok(Outcome::Stopped { step: self.steps_done })
    }

    /// Accuracy and loss on another split.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn evaluate(&self, test: &Feed) -> Result<Evaluation> {
        evaluate(&self.network, test).map_err(|error| self.with_checkpoint(error))
    }
}
