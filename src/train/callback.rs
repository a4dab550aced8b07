//! What watches a training: reports, and the callbacks that come with the library.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::checkpoint;
use super::evaluate::Evaluation;
use super::trainer::Trainer;
use crate::{Error, Result};

/// Steps that have been computed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Steps done in all, this one included.
    pub step: usize,
    /// Epochs done before this step.
    pub epoch: usize,
    /// The step's number in its epoch, from 1.
    pub step_in_epoch: usize,
    /// Steps in an epoch.
    pub steps_per_epoch: usize,
    /// Steps of the whole training.
    pub total_steps: usize,
    /// Loss of this step.
    pub loss: f64,
    /// Mean loss of the steps since the last report.
    pub mean_loss: f64,
    /// Share of correct training images since the last report.
    pub accuracy: f64,
    /// Share of training images since the last report whose label is among the first five classes; none where there are at
    /// most five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Norm of all gradients in this step, before they were clipped; none where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// Size of the optimizer's step in this step.
    pub learning_rate: f32,
    /// Wall-clock time since the last report for each step, in milliseconds.
    pub ms_per_step: f64,
    /// Training images since the last report by the same time, for each second.
    pub images_per_s: f64,
    /// Share of that time in which the device was not asked for anything because images were waited for: near 0, the device
    /// sets the pace, near 1 the loader does.
    pub data_wait: f64,
    /// Seconds that the steps left will take at the pace so far; evaluations come on top.
    pub seconds_left: f64,
}

/// An epoch that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochReport {
    /// Epochs done, this one included.
    pub epoch: usize,
    /// Epochs of the whole training.
    pub epochs: usize,
    /// Steps of this epoch, or those since the training was resumed in it.
    pub steps: usize,
    /// Time for them, without the evaluation.
    pub train_time: Duration,
    /// On the test images; none after an epoch that is not evaluated.
    pub evaluation: Option<Evaluation>,
    /// What the images that were evaluated are to the training: "test", or "validation".
    pub evaluated_on: &'static str,
}

impl EpochReport {
    /// Milliseconds for each step of the epoch.
    pub fn ms_per_step(&self) -> f64 {
        self.train_time.as_secs_f64() * 1e3 / self.steps.max(1) as f64
    }
}

/// Watches a training. Every method does nothing unless it is written.
pub trait Callback {
    /// A step is about to be asked of the device; [`Trainer::steps_done`] are the steps before it.
    ///
    /// # Errors
    /// What is returned ends the training.
    fn before_step(&mut self, _trainer: &Trainer) -> Result<()> {
        Ok(())
    }

    /// A step was asked of the device; its loss is not known yet.
    ///
    /// # Errors
    /// What is returned ends the training.
    fn after_step(&mut self, _trainer: &Trainer) -> Result<()> {
        Ok(())
    }

    /// Losses have arrived.
    ///
    /// # Errors
    /// What is returned ends the training.
    fn on_report(&mut self, _report: &StepReport) -> Result<()> {
        Ok(())
    }

    /// An epoch is over, and evaluated where that was due.
    ///
    /// # Errors
    /// What is returned ends the training.
    fn on_epoch(&mut self, _trainer: &Trainer, _report: &EpochReport) -> Result<()> {
        Ok(())
    }

    /// The training ends, finished or stopped; not called when it fails.
    ///
    /// # Errors
    /// What is returned becomes the training's error.
    fn on_end(&mut self, _trainer: &Trainer) -> Result<()> {
        Ok(())
    }
}

/// Lets observed ranges and running statistics stand still after so many steps, as the options `freeze_observers` and
/// `freeze_bn` of SimQAT do, for networks and moments of the host's own choice. It goes by the steps done, so a training
/// that was resumed behind them is frozen too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Freeze {
    observers: Option<usize>,
    batch_norm: Option<usize>,
}

impl Freeze {
    /// Observed ranges stand still once so many steps are done.
    pub fn observers(mut self, steps: usize) -> Self {
        self.observers = Some(steps);
        self
    }

    /// Running statistics stand still, and normalize, once so many steps are done.
    pub fn batch_norm(mut self, steps: usize) -> Self {
        self.batch_norm = Some(steps);
        self
    }
}

impl Callback for Freeze {
    fn before_step(&mut self, trainer: &Trainer) -> Result<()> {
        let due = |step: &mut usize| trainer.steps_done() >= *step;
        if self.observers.take_if(due).is_some() {
            trainer.network().freeze_observers(true)?;
        }
        if self.batch_norm.take_if(due).is_some() {
            trainer.network().freeze_batch_norm(true)?;
        }
        Ok(())
    }
}

/// Tells the loss, a line for each report, in the words of MindSpore's callback of that name.
pub struct LossMonitor<W: Write>(pub W);

impl<W: Write> Callback for LossMonitor<W> {
    fn on_report(&mut self, report: &StepReport) -> Result<()> {
        let (epoch, step) = (report.epoch + 1, report.step_in_epoch);
        say(&mut self.0, format_args!("epoch: {epoch} step: {step}, loss is {}", report.loss))
    }
}

/// Tells the time of each epoch and the accuracy after it.
pub struct TimeMonitor<W: Write>(pub W);

impl<W: Write> Callback for TimeMonitor<W> {
    fn on_epoch(&mut self, _: &Trainer, report: &EpochReport) -> Result<()> {
        let time = report.train_time.as_secs_f64() * 1e3;
        let accuracy = report.evaluation.map(|e| format!(", accuracy: {:.4}", e.top1())).unwrap_or_default();
        let each = report.ms_per_step();
        say(
            &mut self.0,
            format_args!("Train epoch time: {time:.3} ms, per step time: {each:.3} ms{accuracy}"),
        )
    }
}

fn say(to: &mut impl Write, text: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(to, "{text}").map_err(Error::io("<output>"))
}

/// Writes one JSON object for each report to `metrics.jsonl`.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    variant: String,
}

impl MetricsLog {
    /// Appends to the file at `path`; each object says `variant` besides.
    ///
    /// # Errors
    /// Where the file cannot be opened.
    pub fn append(path: impl AsRef<Path>, variant: &str) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let file = File::options().create(true).append(true).open(&path).map_err(Error::io(&path))?;
        Ok(MetricsLog { path, file, variant: variant.into() })
    }

    /// As [`MetricsLog::append`], for a training that begins or goes on after `step` steps: what a run before
    /// wrote of later steps of this variant is dropped, so that no step is there twice.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub fn continue_from(path: impl AsRef<Path>, variant: &str, step: usize) -> Result<Self> {
        let path = path.as_ref();
        match std::fs::read_to_string(path) {
            Ok(old) => {
                let stays = |line: &&str| {
                    serde_json::from_str::<serde_json::Value>(line).is_ok_and(|object| {
                        object["variant"] != variant || object["step"].as_u64() <= Some(step as u64)
                    })
                };
                let kept: String = old.lines().filter(stays).flat_map(|line| [line, "\n"]).collect();
                crate::whole_file::write_whole(path, kept.as_bytes())?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(path)(e)),
        }
        MetricsLog::append(path, variant)
    }

    fn write(&mut self, mut object: serde_json::Value) -> Result<()> {
        object["variant"] = self.variant.clone().into();
        writeln!(self.file, "{object}").map_err(Error::io(&self.path))
    }
}

impl Callback for MetricsLog {
    fn on_report(&mut self, report: &StepReport) -> Result<()> {
        self.write(serde_json::json!(report))
    }

    fn on_epoch(&mut self, trainer: &Trainer, report: &EpochReport) -> Result<()> {
        let mut object = serde_json::json!({
            "step": trainer.steps_done(),
            "epoch": report.epoch,
            "ms_per_step": report.ms_per_step(),
        });
        if let Some(evaluation) = report.evaluation {
            let mut found = serde_json::json!(evaluation);
            found["top1"] = evaluation.top1().into();
            if let Some(top5) = evaluation.top5() {
                found["top5"] = top5.into();
            }
            object[report.evaluated_on] = found;
        }
        self.write(object)
    }
}

/// Saves the training every so many steps and at its end, and keeps the newest few; if asked to, the best besides. What is due
/// at the end of an epoch is saved behind its evaluation, and where a host evaluates by itself ([`Trainer::run_for`]), before
/// the next step.
pub struct ModelCheckpoint {
    folder: PathBuf,
    prefix: String,
    every_steps: usize,
    keep: usize,
    metadata: Vec<(String, String)>,
    written: Vec<PathBuf>,
    /// The step that was asked for last is one to save, and is not saved yet.
    owed: bool,
    keeps_best: bool,
    /// The best accuracy on the images that are looked at, so far.
    best: Option<f64>,
}

/// Under this key, the best checkpoint says its accuracy.
const TOP1: &str = "top1";

impl ModelCheckpoint {
    /// Files `{prefix}-{step}.safetensors` in `folder`. `metadata` goes into each.
    ///
    /// # Errors
    /// Where the folder cannot be made, or a number is 0.
    pub fn new(
        folder: impl AsRef<Path>,
        prefix: &str,
        every_steps: usize,
        keep: usize,
        metadata: Vec<(String, String)>,
    ) -> Result<Self> {
        if every_steps == 0 || keep == 0 {
            return Err(Error::Invalid(format!(
                "checkpoint.every_steps = {every_steps} and checkpoint.keep = {keep}: both must be at least 1"
            )));
        }
        let folder = folder.as_ref().to_path_buf();
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        Ok(ModelCheckpoint {
            folder,
            prefix: prefix.into(),
            every_steps,
            keep,
            metadata,
            written: Vec::new(),
            owed: false,
            keeps_best: false,
            best: None,
        })
    }

    /// With `keep`, the training is saved as `{prefix}-best.safetensors` too whenever an evaluation finds a higher top-1
    /// accuracy than all before; of equal ones, the first stays.
    pub fn keeping_best(mut self, keep: bool) -> Self {
        self.keeps_best = keep;
        self
    }

    /// Counts the files that an earlier part of the same training left, up to `step`, as written: they take
    /// part in keeping the newest few. The best of those steps stays the best; one of a later step is of another course of
    /// the training and gives way to the next evaluation.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn going_on_from(mut self, step: usize) -> Result<Self> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(Error::io(&self.folder))? {
            let path = entry.map_err(Error::io(&self.folder))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let number =
                name.strip_prefix(&format!("{}-", self.prefix)).and_then(|n| n.strip_suffix(".safetensors"));
            if let Some(number) = number.and_then(|n| n.parse::<usize>().ok()).filter(|&n| n <= step && n > 0)
            {
                found.push((number, path));
            }
        }
        found.sort();
        self.written = found.into_iter().map(|(_, path)| path).collect();
        let best = self.best_path();
        if self.keeps_best && best.exists() {
            let best = checkpoint::Checkpoint::read(best)?;
            let is_earlier = best.step().is_some_and(|at| at <= step && step > 0);
            self.best = best.metadata(TOP1).filter(|_| is_earlier).and_then(|top1| top1.parse().ok());
        }
        Ok(self)
    }

    /// Where the best is kept.
    pub fn best_path(&self) -> PathBuf {
        self.folder.join(format!("{}-best.safetensors", self.prefix))
    }

    /// Saves the training as the best where it is asked to keep that, and `evaluation` finds it to be.
    ///
    /// # Errors
    /// Where the file cannot be written, or the device has failed.
    pub fn keep_if_best(&mut self, trainer: &Trainer, evaluation: &Evaluation) -> Result<()> {
        let top1 = evaluation.top1();
        if !self.keeps_best || self.best.is_some_and(|best| best >= top1) {
            return Ok(());
        }
        let mut metadata = self.metadata.clone();
        metadata.push((TOP1.into(), top1.to_string()));
        checkpoint::save_training(trainer, self.best_path(), &metadata)?;
        self.best = Some(top1);
        Ok(())
    }

    /// The newest file that was written.
    pub fn newest(&self) -> Option<&Path> {
        self.written.last().map(PathBuf::as_path)
    }

    fn save(&mut self, trainer: &Trainer) -> Result<()> {
        let path = self.path_of(trainer);
        // After a loss that was not finite, the step count runs on until its report arrives, and the values stand
        // still: a checkpoint would lie about its step.
        if self.written.last() == Some(&path) || trainer.is_halted()? {
            return Ok(());
        }
        self.write(trainer, path)
    }

    /// Saves the training although a file of this step is there: something has changed the network since.
    ///
    /// # Errors
    /// Where the file cannot be written, or the device has failed.
    pub fn save_again(&mut self, trainer: &Trainer) -> Result<()> {
        let path = self.path_of(trainer);
        self.written.retain(|old| *old != path);
        self.write(trainer, path)
    }

    fn save_owed(&mut self, trainer: &Trainer) -> Result<()> {
        if std::mem::take(&mut self.owed) { self.save(trainer) } else { Ok(()) }
    }

    fn path_of(&self, trainer: &Trainer) -> PathBuf {
        self.folder.join(format!("{}-{}.safetensors", self.prefix, trainer.steps_done()))
    }

    fn write(&mut self, trainer: &Trainer, path: PathBuf) -> Result<()> {
        checkpoint::save_training(trainer, &path, &self.metadata)?;
        self.written.push(path);
        while self.written.len() > self.keep {
            let oldest = self.written.remove(0);
            // Somebody may have taken it away; that is no reason to stop a training.
            if let Err(e) = std::fs::remove_file(&oldest) {
                log::warn!("{}: the old checkpoint could not be removed: {e}", oldest.display());
            }
        }
        Ok(())
    }
}

impl Callback for ModelCheckpoint {
    fn before_step(&mut self, trainer: &Trainer) -> Result<()> {
        self.save_owed(trainer)
    }

    fn after_step(&mut self, trainer: &Trainer) -> Result<()> {
        self.owed = trainer.steps_done().is_multiple_of(self.every_steps);
        // One at the end of an epoch waits for the evaluation: a training that goes on from it begins the next epoch, and
        // must not lack what came before that.
        let ends_epoch = trainer.steps_done().is_multiple_of(trainer.steps_per_epoch());
        if ends_epoch { Ok(()) } else { self.save_owed(trainer) }
    }

    fn on_epoch(&mut self, trainer: &Trainer, report: &EpochReport) -> Result<()> {
        if let Some(evaluation) = &report.evaluation {
            self.keep_if_best(trainer, evaluation)?;
        }
        self.save_owed(trainer)
    }

    fn on_end(&mut self, trainer: &Trainer) -> Result<()> {
        self.save(trainer)
    }
}
