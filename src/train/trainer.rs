//! The training loop. Steps are asked of the device and not waited for; losses come back later, through a
//! history that lies on the device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::callback::{Callback, EpochReport, StepReport};
use super::diagnose::first_non_finite;
use super::evaluate::{Evaluation, evaluate};
use super::feed::Feed;
use crate::gpu::{Gpu, Readback, Recording};
use crate::kernel::loss::{HISTORY, tally};
use crate::nn::Network;
use crate::ops::softmax_cross_entropy;
use crate::optim::{Momentum, MomentumOptions};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// How steps run. Both give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// Each step is built anew.
    Eager,
    /// The first step is recorded and replayed.
    #[default]
    Graph,
}

/// Options of a [`Trainer`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainerOptions {
    /// Passes over the training images.
    pub epochs: usize,
    /// Draws the order of the images.
    pub seed: u64,
    /// Eager or recorded.
    pub mode: RunMode,
    /// Steps between two reports, at most 512.
    pub log_every: usize,
    /// Of the optimizer.
    pub optimizer: MomentumOptions,
}

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
    feed: Feed,
    options: TrainerOptions,
    /// u32 [batch of the epoch, step, halted, -]
    progress: Tensor,
    history: Tensor,
    recording: Option<Recording>,
    steps_done: usize,
    /// The epoch whose order the device holds.
    shuffled: Option<usize>,
    reports: Reports,
}

/// Steps whose losses were asked for or delivered.
struct Reports {
    reading: Option<(usize, Readback)>,
    delivered: usize,
    since: Instant,
}

impl Trainer {
    /// A training of `network` with the images of `feed`, from step 0.
    ///
    /// # Errors
    /// Where an option makes no sense, the network does not take the feed's images or has no output for a
    /// label, or the device has failed.
    pub fn new(network: Network, feed: Feed, options: TrainerOptions) -> Result<Trainer> {
        if options.log_every == 0 || options.log_every > HISTORY / 2 {
            return Err(Error::Invalid(format!(
                "train.log_every = {}: it must be at least 1 and at most {}",
                options.log_every,
                HISTORY / 2
            )));
        }
        feed.check_fits(&network)?;
        let gpu = network.gpu().clone();
        let progress = Feed::progress(&gpu)?;
        let trainable: Vec<usize> =
            (0..network.parameters().len()).filter(|&i| network.parameters()[i].trainable).collect();
        let moved: Vec<Tensor> = trainable.iter().map(|&i| network.parameters()[i].tensor.clone()).collect();
        // Weights alone decay: a bias, the scale and shift of a normalization or a learned step, all of them with one axis,
        // would lose what they are for.
        let is_weight = |tensor: &Tensor| tensor.shape().len() > 1;
        let optimizer = Momentum::new(&moved, options.optimizer)?.guarded_by(&progress).decaying(is_weight);
        Ok(Trainer {
            history: Tensor::zeros(&gpu, [HISTORY, 2], DType::F32)?,
            network,
            optimizer,
            trainable,
            feed,
            options,
            progress,
            recording: None,
            steps_done: 0,
            shuffled: None,
            reports: Reports { reading: None, delivered: 0, since: Instant::now() },
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

    /// Images in a step, and in the whole training split: what a step means depends on both.
    pub fn batch_of(&self) -> (usize, usize) {
        (self.feed.batch(), self.feed.len())
    }

    /// The optimizer, to change its learning rate.
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

    /// Steps in an epoch: whole batches.
    pub fn steps_per_epoch(&self) -> usize {
        self.feed.whole_batches()
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
        self.reports = Reports { reading: None, delivered: step, since: Instant::now() };
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
        let batch = self.steps_done % self.steps_per_epoch();
        // Only the batch: a flag that was raised stays up until somebody hears of it.
        self.gpu().write(self.progress.buffer(), &(batch as u32).to_le_bytes())?;
        self.shuffled = Some(epoch);
        Ok(())
    }

    /// Asks the device for one step and returns without waiting for it.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn step(&mut self) -> Result<()> {
        self.shuffle()?;
        self.feed.supply(self.steps_done % self.steps_per_epoch())?;
        match self.options.mode {
            RunMode::Eager => self.compute()?,
            RunMode::Graph => {
                if self.recording.is_none() {
                    let gpu = self.gpu().clone();
                    self.recording = Some(gpu.record(|| self.compute())?.0);
                }
                if let Some(recording) = &self.recording {
                    recording.replay()?;
                }
            }
        }
        self.steps_done += 1;
        Ok(())
    }

    /// One step, as the device is to do it.
    fn compute(&self) -> Result<()> {
        let (images, labels) = self.feed.gather(&self.progress, self.feed.batch())?;
        let pass = self.network.train_pass(&images)?;
        let loss = softmax_cross_entropy(&pass.output, &labels)?;
        tally(&loss.rows, &self.history, &self.progress)?;
        let gradients = pass.tape.backward(&loss.mean)?;
        for (place, &index) in self.trainable.iter().enumerate() {
            if let Some(gradient) = pass.leaf(index).and_then(|leaf| gradients.of(leaf)) {
                self.optimizer.update(place, gradient)?;
            }
        }
        Ok(())
    }

    /// Steps until `slice` has passed or the training is over, for a host that has other things to do. True
    /// while there are steps left. Callbacks hear of steps and reports; evaluating, and what is done at the end of
    /// an epoch or of the training, is the host's to ask for.
    ///
    /// # Errors
    /// Where the device has failed, or the loss is not finite.
    pub fn run_for(&mut self, slice: Duration, callbacks: &mut [&mut dyn Callback]) -> Result<bool> {
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
        let history: Vec<[f32; 2]> = bytemuck::pod_collect_to_vec(bytes);
        let from = self.reports.delivered.max(upto.saturating_sub(HISTORY));
        if upto <= from {
            return Ok(());
        }
        let entries = (from..upto).map(|step| history[step % HISTORY]);
        if let Some(place) = entries.clone().position(|[loss, _]| !loss.is_finite()) {
            return Err(self.diverged(from + place)?);
        }
        let steps = upto - from;
        let (losses, hits) =
            entries.fold((0.0, 0.0), |(l, h), [loss, hit]| (l + f64::from(loss), h + f64::from(hit)));
        let [last_loss, _] = history[(upto - 1) % HISTORY];
        let now = Instant::now();
        let report = StepReport {
            step: upto,
            epoch: (upto - 1) / self.steps_per_epoch(),
            step_in_epoch: (upto - 1) % self.steps_per_epoch() + 1,
            steps_per_epoch: self.steps_per_epoch(),
            total_steps: self.total_steps(),
            loss: f64::from(last_loss),
            mean_loss: losses / steps as f64,
            accuracy: hits / (steps * self.feed.batch()) as f64,
            learning_rate: self.optimizer.learning_rate(),
            ms_per_step: (now - self.reports.since).as_secs_f64() * 1e3 / steps as f64,
        };
        self.reports.delivered = upto;
        self.reports.since = now;
        callbacks.iter_mut().try_for_each(|callback| callback.on_report(&report))
    }

    /// Waits for all steps asked for, and fails where the loss of one was not finite. Updates are held back
    /// from there on, so what the counters say and what the parameters are would not belong together.
    ///
    /// # Errors
    /// See above, or where the device has failed.
    pub fn check_finite(&self) -> Result<()> {
        match self.progress.read_u32()?[..] {
            [_, step, halted, _] if halted != 0 => Err(self.diverged(step as usize)?),
            _ => Ok(()),
        }
    }

    /// The error that says at which step and in which layer. The tally has held the update back, so the
    /// parameters are those with which the step was computed.
    fn diverged(&self, step: usize) -> Result<Error> {
        self.feed.supply(self.progress.read_u32()?[0] as usize)?;
        let (images, _) = self.feed.gather(&self.progress, self.feed.batch())?;
        let place = first_non_finite(&self.network, &images)?;
        let place = place.unwrap_or_else(|| "every layer's output is still finite".into());
        Ok(Error::Diverged(format!(
            "the loss became NaN or infinite at step {}: {place}; lower optimizer.learning_rate (now {}), or go on \
             from the last good checkpoint",
            step + 1,
            self.optimizer.learning_rate()
        )))
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

    /// Trains to the end, or until `stop` is raised; after each epoch the network is evaluated on `test`.
    ///
    /// # Errors
    /// Where the device has failed, the loss is not finite, or a callback fails.
    pub fn fit(
        &mut self,
        test: &Feed,
        callbacks: &mut [&mut dyn Callback],
        stop: &StopFlag,
    ) -> Result<Outcome> {
        self.reports.since = Instant::now();
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
            let evaluation = self.evaluate(test)?;
            let report = EpochReport {
                epoch: end / self.steps_per_epoch(),
                epochs: self.options.epochs,
                steps: end - start.1,
                train_time,
                evaluation,
            };
            callbacks.iter_mut().try_for_each(|callback| callback.on_epoch(self, &report))?;
            // The evaluation and whatever the callbacks did is not part of a step.
            self.reports.since = Instant::now();
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
        evaluate(&self.network, test)
    }
}
