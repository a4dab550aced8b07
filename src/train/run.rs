//! Carrying a recipe out: one training from data to checkpoint, in a run folder.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::callback::{Callback, EpochReport, MetricsLog, ModelCheckpoint};
use super::checkpoint::Checkpoint;
use super::feed::{Feed, FeedOptions};
use super::recipe::{Recipe, Validation};
use super::report::{Summary, TrainingSummary};
use super::trainer::{Outcome, StopFlag, Trainer};
use crate::data::folder::read_split;
use crate::data::{Dataset, Skipped, Split, Transform};
use crate::gpu::Gpu;
use crate::nn::Network;
use crate::quant::{Finding, Length};
use crate::{Error, Result};

/// Which of a recipe's two trainings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Without quantizers.
    Float,
    /// With them, from scratch.
    SimQat,
}

impl Variant {
    /// As it stands in file names and reports.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Float => "float",
            Variant::SimQat => "simqat",
        }
    }
}

/// `runs/NAME/`: recipe, metrics, checkpoints, summary, the integer network, and which pictures could not be decoded.
pub struct RunFolder {
    path: PathBuf,
    recipe: String,
}

impl RunFolder {
    /// The folder of `recipe` under `runs`. Nothing is written before a job has found that it can start: a
    /// mistake leaves what an earlier run of that name left. Later that is replaced piece by piece.
    ///
    /// # Errors
    /// Never for a recipe that was read.
    pub fn new(runs: impl AsRef<Path>, recipe: &Recipe) -> Result<RunFolder> {
        Ok(RunFolder { path: runs.as_ref().join(&recipe.name), recipe: recipe.to_toml()? })
    }

    /// Makes the folder, with the recipe in it.
    fn create(&self) -> Result<()> {
        let checkpoints = self.checkpoints();
        std::fs::create_dir_all(&checkpoints).map_err(Error::io(&checkpoints))?;
        crate::whole_file::write_whole(&self.path.join("recipe.toml"), self.recipe.as_bytes())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its metrics are.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Where its checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Where its integer network is.
    pub fn int8_model(&self) -> PathBuf {
        self.path.join("model.int8.safetensors")
    }

    /// Takes away the integer network that an earlier run of that name left, where there is one.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn remove_int8_model(&self) -> Result<()> {
        let path = self.int8_model();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path)(e)),
            _ => Ok(()),
        }
    }

    fn skipped(&self) -> PathBuf {
        self.path.join("skipped.txt")
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_summary(&self, summary: &Summary) -> Result<()> {
        let text = serde_json::to_string_pretty(summary).unwrap_or_default();
        crate::whole_file::write_whole(&self.path.join("summary.json"), text.as_bytes())
    }
}

/// What a training needs besides its recipe.
pub struct Job<'a> {
    /// Everything that decides.
    pub recipe: &'a Recipe,
    /// Float or quantized.
    pub variant: Variant,
    /// The images.
    pub data: &'a Dataset,
    /// Where the results go.
    pub folder: &'a RunFolder,
    /// A checkpoint to go on from.
    pub resume: Option<&'a Checkpoint>,
    /// A checkpoint to take the values from at the start, such as a float one for a quantized training; see
    /// [`Checkpoint::start`].
    pub from: Option<&'a Checkpoint>,
    /// Ends it after the step under way.
    pub stop: &'a StopFlag,
}

/// How a job ended.
pub struct Done {
    /// Finished or stopped.
    pub outcome: Outcome,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// The numbers; none where it was stopped.
    pub summary: Option<TrainingSummary>,
}

impl Recipe {
    /// The network of a variant.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn variant_network(&self, gpu: &Gpu, classes: usize, variant: Variant) -> Result<Network> {
        let network = self.network(gpu, classes)?;
        match variant {
            Variant::Float => Ok(network),
            Variant::SimQat => self.simqat.apply(&network),
        }
    }

    /// The network of a variant, all values of its layers 0: for those who read others into it or need shapes and names
    /// alone. Quantizers are as in a fresh network.
    ///
    /// # Errors
    /// Where the options cannot be used, or the device has failed.
    pub fn blank_network(&self, gpu: &Gpu, classes: usize, variant: Variant) -> Result<Network> {
        let network = self.model.builder(classes)?.build_blank(gpu)?;
        match variant {
            Variant::Float => Ok(network),
            Variant::SimQat => self.simqat.apply(&network),
        }
    }

    /// Options that have no effect in a training of so many steps.
    ///
    /// # Errors
    /// Where the options cannot be used.
    pub fn lint_for(&self, variant: Variant, classes: usize, steps: usize) -> Result<Vec<Finding>> {
        // Shapes and names need no driver.
        let gpu = Gpu::noop();
        let length = Length { steps, accumulate: self.train.accumulate };
        let mut findings = match variant {
            Variant::Float => Vec::new(),
            Variant::SimQat => {
                self.simqat.lint_for(&self.blank_network(&gpu, classes, Variant::Float)?, length)
            }
        };
        findings.extend(self.model.lint());
        findings.extend(self.lint_training());
        findings.extend(self.data.lint());
        let batches = self.train.reestimate_batches;
        if batches > 0 {
            let network = self.blank_network(&gpu, classes, variant)?;
            let reason = match network.norms().next() {
                None => Some("the network has no BatchNorm2d".into()),
                Some(_) => network.norms().all(|(_, norm)| norm.freeze as usize <= length.batches()).then(|| {
                    format!(
                        "every BatchNorm2d is frozen when the training's {length} are done; make simqat.freeze_bn larger"
                    )
                }),
            };
            let option = format!("train.reestimate_batches = {batches}");
            findings.extend(reason.map(|reason| Finding { option, reason }));
        }
        Ok(findings)
    }

    /// What stands in a checkpoint of this recipe besides values.
    pub(super) fn metadata(&self, variant: Variant, data: &Dataset) -> Result<Vec<(String, String)>> {
        Ok(vec![
            ("variant".into(), variant.name().into()),
            ("recipe".into(), self.to_toml()?),
            ("data".into(), data.name.clone()),
            ("classes".into(), data.classes.to_string()),
            ("class_names".into(), serde_json::json!(data.class_names).to_string()),
        ])
    }

    /// All test images, in batches for evaluating.
    ///
    /// # Errors
    /// As [`Recipe::feed`].
    pub fn test_feed(&self, network: &Network, data: &Dataset) -> Result<Feed> {
        let batch = self.data.eval_batch.min(data.test.len());
        self.feed(network, &data.test, batch, self.data.evaluate.transform())
    }

    /// The images that are trained on, in batches for training.
    ///
    /// # Errors
    /// As [`Recipe::feed`].
    pub fn train_feed(&self, network: &Network, data: &Dataset) -> Result<Feed> {
        self.feed(network, self.trained_on(data)?.as_ref(), self.data.batch, self.data.augment.transform())
    }

    /// The images that are trained on, in batches for training, but cut and resized as for evaluating: what the observers of a
    /// network that is not trained any more are to see.
    ///
    /// # Errors
    /// As [`Recipe::feed`].
    pub fn calibration_feed(&self, network: &Network, data: &Dataset) -> Result<Feed> {
        self.feed(network, self.trained_on(data)?.as_ref(), self.data.batch, self.data.evaluate.transform())
    }

    /// The images that are trained on, in batches for evaluating, as [`Recipe::test_feed`] takes test images: nothing is
    /// left to chance. What training accuracy is measured on.
    ///
    /// # Errors
    /// As [`Recipe::feed`].
    pub fn train_feed_for_evaluation(&self, network: &Network, data: &Dataset) -> Result<Feed> {
        let split = self.trained_on(data)?;
        let batch = self.data.eval_batch.min(split.len());
        self.feed(network, &split, batch, self.data.evaluate.transform())
    }

    /// The images that `data.validation` names, in batches for evaluating; none if it names none.
    ///
    /// # Errors
    /// If too many or too few would be held back, a folder has other classes than the data, or as [`Recipe::feed`].
    pub fn validation_feed(&self, network: &Network, data: &Dataset) -> Result<Option<Feed>> {
        let split = match &self.data.validation {
            Validation::None => return Ok(None),
            Validation::Folder(folder) => read_split(folder, &data.class_names)?,
            drawn => data.train.held_back(self.seed, drawn.held_back(data.train.len())?).1,
        };
        let batch = self.data.eval_batch.min(split.len());
        let feed = self.feed(network, &split, batch, self.data.evaluate.transform())?;
        Ok(Some(feed.with_role("validation")))
    }

    /// The training images without those that are held back, or those of them that `data.limit` leaves.
    fn trained_on<'a>(&self, data: &'a Dataset) -> Result<Cow<'a, Split>> {
        let left = match self.data.validation.held_back(data.train.len())? {
            0 => Cow::Borrowed(&data.train),
            count => Cow::Owned(data.train.held_back(self.seed, count).0),
        };
        Ok(match self.data.limit {
            0 => left,
            limit => Cow::Owned(left.first(limit)),
        })
    }

    /// A split in batches of `batch`, as large as the network wants the images.
    ///
    /// # Errors
    /// Where the batch does not fit, or the device has failed.
    pub fn feed(&self, network: &Network, split: &Split, batch: usize, transform: Transform) -> Result<Feed> {
        let channels = split.shape().map_or(self.data.normalization.mean.len(), |[channels, ..]| channels);
        let size = match network.input_shape()[..] {
            [wanted, height, width] if wanted == channels => [height, width],
            _ => {
                return Err(Error::Invalid(format!(
                    "{} takes images of shape {}, and those of \"{}\" have {channels} channels",
                    network.name(),
                    network.input_shape(),
                    self.data.name,
                )));
            }
        };
        let normalization = self.data.normalization.clone();
        let options = FeedOptions { batch, size, normalization, transform, loader: self.data.loader() };
        Feed::with_options(network.gpu(), split, &options)
    }
}

impl Job<'_> {
    /// A trainer at the step where the job begins.
    ///
    /// # Errors
    /// Where recipe, data and checkpoint do not fit each other, or the device has failed.
    pub fn trainer(&self, gpu: &Gpu) -> Result<Trainer> {
        for checkpoint in [self.resume, self.from].into_iter().flatten() {
            checkpoint.check_classes(self.data)?;
        }
        let network = self.recipe.variant_network(gpu, self.data.classes, self.variant)?;
        let feed = self.recipe.train_feed(&network, self.data)?;
        let mut options = self.recipe.trainer_options();
        if self.data.is_sample {
            options.epochs = self.recipe.data.sample_epochs;
        }
        let mut trainer = Trainer::new(network, feed, options)?;
        for finding in self.recipe.lint_for(self.variant, self.data.classes, trainer.total_steps())? {
            log::warn!("{finding}");
        }
        if let Some(checkpoint) = self.resume {
            checkpoint.resume(&mut trainer)?;
            return Ok(trainer);
        }
        if let Some(checkpoint) = self.from {
            checkpoint.start(trainer.network())?;
        }
        let batches = self.recipe.train.calibrate_batches;
        if self.variant == Variant::SimQat && batches > 0 {
            trainer.calibrate(batches)?;
        }
        Ok(trainer)
    }

    /// Trains, evaluates, and leaves metrics and checkpoints in the folder.
    ///
    /// # Errors
    /// Where anything fails; what was written before stays.
    pub fn run(&self, gpu: &Gpu, watch: &mut dyn Callback) -> Result<Done> {
        let mut trainer = self.trainer(gpu)?;
        let test = self.recipe.test_feed(trainer.network(), self.data)?;
        let validation = self.recipe.validation_feed(trainer.network(), self.data)?;
        // What the best checkpoint and the curves go by.
        let watched = validation.as_ref().unwrap_or(&test);
        if self.recipe.checkpoint.best && validation.is_none() {
            log::warn!(
                "checkpoint.best = true without data.validation: the best checkpoint is picked by the test images, so its \
                 accuracy on them flatters; data.validation = 0.1 holds a tenth of the training images back for that"
            );
        }
        self.folder.create()?;
        let variant = self.variant.name();
        let metadata = self.recipe.metadata(self.variant, self.data)?;
        let settings = self.recipe.checkpoint;
        let mut checkpoints = ModelCheckpoint::new(
            self.folder.checkpoints(),
            variant,
            settings.every_steps,
            settings.keep,
            metadata,
        )?
        .keeping_best(settings.best)
        .going_on_from(trainer.steps_done())?;
        let mut metrics = MetricsLog::continue_from(self.folder.metrics(), variant, trainer.steps_done())?;
        let mut times = EpochTimes::default();
        let mut skipped = SkippedLog::new(self.folder.skipped(), [watched, &test], self.resume.is_some())?;
        let ended = trainer
            .fit(watched, &mut [&mut metrics, &mut checkpoints, &mut times, &mut skipped, watch], self.stop)
            .map_err(|e| self.with_last_good(e, checkpoints.newest()));
        let written = skipped.finish(&trainer);
        // Where both failed, the training's own error is the one to tell.
        let outcome = ended?;
        written?;
        let batches = self.recipe.train.reestimate_batches;
        if outcome == Outcome::Finished && batches > 0 {
            trainer.reestimate_batch_norm(batches)?;
            checkpoints.save_again(&trainer)?;
            let evaluation = trainer.evaluate(watched)?;
            checkpoints.keep_if_best(&trainer, &evaluation)?;
            times.last = Some(evaluation);
        }
        let checkpoint = checkpoints.newest().map(Path::to_path_buf).unwrap_or_default();
        let summary = match outcome {
            Outcome::Stopped { .. } => None,
            Outcome::Finished => {
                let last = match times.last {
                    Some(evaluation) => evaluation,
                    // Resumed at the very end, there was no epoch left.
                    None => {
                        let evaluation = trainer.evaluate(watched)?;
                        checkpoints.keep_if_best(&trainer, &evaluation)?;
                        evaluation
                    }
                };
                let evaluation = if validation.is_some() { trainer.evaluate(&test)? } else { last };
                Some(TrainingSummary {
                    top1: evaluation.top1(),
                    validation_top1: validation.is_some().then(|| last.top1()),
                    top5: evaluation.top5(),
                    ms_per_step: times.median(),
                    checkpoint_bytes: std::fs::metadata(&checkpoint).map_or(0, |m| m.len()),
                })
            }
        };
        Ok(Done { outcome, checkpoint, summary })
    }

    /// Says in an error about lost values which checkpoint is from before.
    fn with_last_good(&self, error: Error, written: Option<&Path>) -> Error {
        let Error::Diverged(message) = error else { return error };
        Error::Diverged(match written.or(self.resume.map(Checkpoint::path)) {
            Some(path) => format!("{message}; the last good checkpoint is {}", path.display()),
            None => format!("{message}; there is no checkpoint yet"),
        })
    }
}

/// Keeps `skipped.txt`, a line for each picture that could not be decoded; there is none where there is no such picture.
struct SkippedLog<'a> {
    path: PathBuf,
    evaluated: [&'a Feed; 2],
    lines: BTreeSet<String>,
}

impl<'a> SkippedLog<'a> {
    /// A training that goes on keeps the names that its earlier part left.
    fn new(path: PathBuf, evaluated: [&'a Feed; 2], goes_on: bool) -> Result<SkippedLog<'a>> {
        let lines = match std::fs::read_to_string(&path) {
            Ok(text) if goes_on => text.lines().map(String::from).collect(),
            Ok(_) => {
                // What an earlier run of that name left.
                std::fs::remove_file(&path).map_err(Error::io(&path))?;
                BTreeSet::new()
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(e) => return Err(Error::io(&path)(e)),
        };
        Ok(SkippedLog { path, evaluated, lines })
    }

    /// Writes the file where there are new names.
    fn update(&mut self, trainer: &Trainer) -> Result<()> {
        let before = self.lines.len();
        let line = |s: Skipped| format!("{}: {}", s.path.display(), s.reason).replace('\n', " ");
        let evaluated = self.evaluated.iter().flat_map(|feed| feed.skipped());
        self.lines.extend(trainer.skipped().into_iter().chain(evaluated).map(line));
        if self.lines.len() == before {
            return Ok(());
        }
        let text: String = self.lines.iter().flat_map(|line| [line, "\n"]).collect();
        crate::whole_file::write_whole(&self.path, text.as_bytes())
    }

    /// The same for the last time, also behind an error; says how many there are.
    fn finish(&mut self, trainer: &Trainer) -> Result<()> {
        self.update(trainer)?;
        if !self.lines.is_empty() {
            let path = self.path.display();
            log::warn!("{} pictures could not be decoded; {path} names them", self.lines.len());
        }
        Ok(())
    }
}

impl Callback for SkippedLog<'_> {
    fn on_epoch(&mut self, trainer: &Trainer, _: &EpochReport) -> Result<()> {
        self.update(trainer)
    }
}

#[derive(Default)]
struct EpochTimes {
    ms_per_step: Vec<f64>,
    last: Option<super::evaluate::Evaluation>,
}

impl Callback for EpochTimes {
    fn on_epoch(&mut self, _: &Trainer, report: &EpochReport) -> Result<()> {
        self.ms_per_step.push(report.ms_per_step());
        self.last = report.evaluation.or(self.last);
        Ok(())
    }
}

impl EpochTimes {
    fn median(&self) -> f64 {
        let mut sorted = self.ms_per_step.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
    }
}
