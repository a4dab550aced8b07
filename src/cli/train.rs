//! `simqat train`, and the training of one variant that `simqat run` shares.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use simqat::data::Dataset;
use simqat::gpu::Gpu;
use simqat::nn::models::ModelInit;
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{Int8Summary, Job, Outcome, Recipe, RunFolder, StopFlag, Summary, Variant};
use simqat::{Error, Result};

use super::Global;
use super::checkpoints::{recipe_of, variant_of};
use super::console::Console;
use super::deployed::Trained;
use super::interrupt::{INTERRUPTED, stop_flag};
use super::overrides::{Overrides, Places};
use super::progress::Progress;
use super::results::Results;
use super::session::begin;

#[derive(clap::Args)]
pub struct Args {
    /// The recipe; with --resume the checkpoint knows it
    #[arg(required_unless_present = "resume")]
    recipe: Option<PathBuf>,
    /// Train with SimQAT; without it in float
    #[arg(long)]
    simqat: bool,
    /// Go on from CHECKPOINT, to the same bits as if there had been no stop
    #[arg(long, value_name = "CHECKPOINT")]
    resume: Option<PathBuf>,
    /// Start from the values of CHECKPOINT instead of initial ones, such as a float network's for --simqat
    ///
    /// Steps are counted from 0, so delays and freezing are those of the new training.
    #[arg(long, value_name = "CHECKPOINT", conflicts_with = "resume")]
    from: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    places: Places,
}

pub fn run(args: &Args, global: &Global, console: &Console, start: Instant) -> Result<ExitCode> {
    let given = args.recipe.as_ref().map(|path| args.overrides.read(path)).transpose()?;
    let from = args.from.as_ref().map(Checkpoint::read).transpose()?;
    let checkpoint = args.resume.as_ref().map(Checkpoint::read).transpose()?;
    let (recipe, variant) = match &checkpoint {
        None => (given, if args.simqat { Variant::SimQat } else { Variant::Float }),
        Some(checkpoint) => {
            let variant = variant_of(checkpoint)?;
            if args.simqat && variant != Variant::SimQat {
                let message = "it was trained in float, and --simqat was asked for; leave out one of the two";
                return Err(Error::bad_file(checkpoint.path(), message));
            }
            (Some(given.map_or_else(|| args.overrides.recipe_of(checkpoint), Ok)?), variant)
        }
    };
    let Some(recipe) = recipe else {
        return Err(Error::Invalid("name a recipe, or a checkpoint with --resume".into()));
    };
    if let Some(checkpoint) = &checkpoint {
        compare(&recipe, checkpoint, console)?;
    }
    let (data, gpu) = begin(global, console, &recipe.data.name, args.places.data_dir.clone())?;
    if let Some(checkpoint) = &checkpoint {
        same_data(&data, checkpoint)?;
    }
    let data = match checkpoint.as_ref().or(from.as_ref()) {
        Some(checkpoint) => checkpoint.in_its_classes(data)?,
        None => data,
    };
    let folder = RunFolder::new(&args.places.runs, &recipe)?;
    let mut training = Training {
        global,
        console,
        places: &args.places,
        recipe: &recipe,
        data: &data,
        gpu: &gpu,
        folder: &folder,
        from: from.as_ref(),
        stop: stop_flag()?,
        start,
        summary: earlier_summary(&folder, &recipe),
        checkpoints: Vec::new(),
    };
    if let Some(step) = training.train(variant, checkpoint.as_ref())? {
        return Ok(training.interrupted(step));
    }
    training.tell()?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a recipe with which the checkpoint's step would mean something else; says where one merely differs.
fn compare(recipe: &Recipe, checkpoint: &Checkpoint, console: &Console) -> Result<()> {
    let old = recipe_of(checkpoint, &[])?;
    if old.data.batch != recipe.data.batch {
        return Err(Error::bad_file(
            checkpoint.path(),
            format!(
                "it was trained with data.batch = {}, and now it is {}: its step count would stand for other images",
                old.data.batch, recipe.data.batch
            ),
        ));
    }
    for place in differing(&old, recipe) {
        console.warn(format!(
            "{place} is not what the checkpoint was trained with; the result will be another than without the stop"
        ));
    }
    Ok(())
}

/// Sections and keys that decide about the course of a training, where two recipes differ in them.
fn differing(old: &Recipe, new: &Recipe) -> Vec<&'static str> {
    // With a constant rate, a training may be made longer without changing what was.
    let span = |recipe: &Recipe| (!recipe.schedule.is_constant()).then_some(recipe.train.epochs);
    let places = [
        ("[model]", old.model != new.model),
        ("data.mean or data.deviation", old.data.normalization != new.data.normalization),
        ("data.limit", old.data.limit != new.data.limit),
        ("data.validation", old.data.validation != new.data.validation),
        ("[data.augment]", old.data.augment != new.data.augment),
        ("[data.evaluate]", old.data.evaluate != new.data.evaluate),
        ("train.accumulate", old.train.accumulate != new.train.accumulate),
        ("train.label_smoothing", old.train.label_smoothing != new.train.label_smoothing),
        ("[optimizer]", old.optimizer != new.optimizer),
        ("[schedule]", old.schedule != new.schedule),
        ("train.epochs, to which the schedule goes,", span(old) != span(new)),
        ("[simqat]", old.simqat != new.simqat),
    ];
    places.into_iter().filter(|(_, differs)| *differs).map(|(place, _)| place).collect()
}

fn same_data(data: &Dataset, checkpoint: &Checkpoint) -> Result<()> {
    match checkpoint.metadata("data") {
        Some(name) if name != data.name => Err(Error::bad_file(
            checkpoint.path(),
            format!(
                "it was trained on {name}, and here is {}; name the folder of {name} with --data-dir",
                data.name
            ),
        )),
        _ => Ok(()),
    }
}

/// What the other variant left in the folder, where it was trained by the same recipe.
fn earlier_summary(folder: &RunFolder, recipe: &Recipe) -> Option<Summary> {
    let same = Recipe::read(folder.path().join("recipe.toml")).is_ok_and(|old| old == *recipe);
    let text = std::fs::read_to_string(folder.path().join("summary.json")).ok()?;
    serde_json::from_str(&text).ok().filter(|_| same)
}

/// Trainings by one recipe on one device.
pub struct Training<'a> {
    pub global: &'a Global,
    pub console: &'a Console,
    pub places: &'a Places,
    pub recipe: &'a Recipe,
    pub data: &'a Dataset,
    pub gpu: &'a Gpu,
    pub folder: &'a RunFolder,
    /// Where the values come from at the start.
    pub from: Option<&'a Checkpoint>,
    pub stop: StopFlag,
    pub start: Instant,
    /// What is known so far.
    pub summary: Option<Summary>,
    /// The last checkpoint of each variant.
    pub checkpoints: Vec<PathBuf>,
}

impl Training<'_> {
    /// Trains one variant. Where it was interrupted: after how many steps.
    pub fn train(&mut self, variant: Variant, resume: Option<&Checkpoint>) -> Result<Option<usize>> {
        let job = Job {
            recipe: self.recipe,
            variant,
            data: self.data,
            folder: self.folder,
            resume,
            from: self.from,
            stop: &self.stop,
        };
        let advice = match self.recipe.model.init {
            ModelInit::ModelZoo => {
                "the model zoo's small initial values start slowly, and [model] init = \"he\" in the recipe at once"
            }
            ModelInit::He => "try another optimizer.learning_rate",
        };
        let mut progress = Progress::new(self.console, variant, self.data.classes, advice, self.start);
        let done = job.run(self.gpu, &mut progress)?;
        progress.finish();
        self.checkpoints.push(done.checkpoint);
        if let Outcome::Stopped { step } = done.outcome {
            return Ok(Some(step));
        }
        let mut summary = self.summary.take().unwrap_or_else(|| self.empty_summary());
        // Of the first training alone: the second begins late.
        summary.first_step_s = summary.first_step_s.or(progress.first_step().map(|t| t.as_secs_f64()));
        match variant {
            Variant::Float => summary.baseline = done.summary,
            Variant::SimQat => {
                summary.simqat = done.summary;
                summary.int8 = self.convert()?;
            }
        }
        self.folder.write_summary(&summary)?;
        self.summary = Some(summary);
        Ok(None)
    }

    /// Writes the integer network of the last checkpoint, and measures it.
    fn convert(&self) -> Result<Option<Int8Summary>> {
        let Some(path) = self.checkpoints.last() else { return Ok(None) };
        let checkpoint = Checkpoint::read(path)?;
        let trained = Trained::of(self.gpu, &checkpoint)?;
        let conversion = match trained.converted(&checkpoint) {
            Ok(conversion) => conversion,
            // The training is as good as before; the sentence says what stands in the way.
            Err(error) if error.is_bad_input() => {
                self.console.warn(format!("no int8 model was made: {error}"));
                self.folder.remove_int8_model()?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        conversion.notes.iter().for_each(|note| self.console.warn(note));
        conversion.model.write(self.folder.int8_model())?;
        let feed = self.recipe.test_feed(&trained.network, self.data)?;
        Int8Summary::of(self.gpu, &conversion.model, &feed).map(Some)
    }

    fn empty_summary(&self) -> Summary {
        Summary {
            recipe: self.recipe.name.clone(),
            data: self.data.source.clone(),
            sample: self.data.is_sample,
            adapter: self.gpu.caps().adapter.name.clone(),
            seed: self.recipe.seed,
            first_step_s: None,
            baseline: None,
            simqat: None,
            int8: None,
        }
    }

    /// Says how to go on.
    pub fn interrupted(&self, step: usize) -> ExitCode {
        let path = self.checkpoints.last().map(PathBuf::as_path).unwrap_or(Path::new(""));
        let mut command = format!("simqat train --resume {}", quoted(path));
        let named = [
            ("--data-dir", self.places.data_dir.clone()),
            ("--runs", (self.places.runs != Path::new("runs")).then(|| self.places.runs.clone())),
            ("--adapter", self.global.adapter.as_ref().map(PathBuf::from)),
        ];
        for (option, value) in named {
            if let Some(value) = value {
                command += &format!(" {option} {}", quoted(&value));
            }
        }
        self.console.insist(format!("stopped after step {step}; go on with: {command}"));
        ExitCode::from(INTERRUPTED)
    }

    /// The table, and the same for programs.
    pub fn tell(&self) -> Result<()> {
        let Some(summary) = &self.summary else { return Ok(()) };
        let results = Results {
            recipe: self.recipe,
            data: self.data,
            adapter: &self.gpu.caps().adapter,
            summary,
            folder: self.folder,
            checkpoints: &self.checkpoints,
        };
        self.console.result(&results.text())?;
        self.console.result_json(summary)
    }
}

/// A path as the shells of this system take it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if cfg!(windows) { for_windows(&text) } else { for_posix(&text) }
}

fn for_posix(text: &str) -> String {
    if is_plain(text, "/._-+=:,@%") {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Double quotes serve cmd and PowerShell alike. No name has one in it, but a backslash in front of one would escape it.
fn for_windows(text: &str) -> String {
    if is_plain(text, r"\/._-+=:") {
        return text.to_string();
    }
    let end = if text.ends_with('\\') { r"\" } else { "" };
    format!("\"{text}{end}\"")
}

fn is_plain(text: &str, besides: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || besides.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_about_the_course_is_compared() {
        let old = Recipe::default();
        assert!(differing(&old, &old).is_empty());
        let cases = [
            ("model.init=he", "[model]"),
            ("data.mean=[0.5]", "data.mean or data.deviation"),
            ("data.limit=100", "data.limit"),
            ("data.augment.flip=true", "[data.augment]"),
            ("data.evaluate.centre_crop=28", "[data.evaluate]"),
            ("train.accumulate=2", "train.accumulate"),
            ("train.label_smoothing=0.1", "train.label_smoothing"),
            ("optimizer.momentum=0.5", "[optimizer]"),
            ("schedule.kind=cosine", "[schedule]"),
            ("simqat.weights.bits=4", "[simqat]"),
        ];
        for (assignment, place) in cases {
            let new = Recipe::parse_with("", &[assignment.into()]).unwrap();
            assert!(differing(&old, &new).contains(&place), "{assignment}: {:?}", differing(&old, &new));
        }
        // What changes speed alone, and a longer training at a constant rate.
        let speed =
            ["data.eval_batch=8", "data.workers=1", "train.mode=eager", "train.epochs=20"].map(String::from);
        assert!(differing(&old, &Recipe::parse_with("", &speed).unwrap()).is_empty());
        let cosine = Recipe::parse("[schedule]\nkind = \"cosine\"").unwrap();
        let longer = Recipe::parse("[train]\nepochs = 20\n[schedule]\nkind = \"cosine\"").unwrap();
        assert_eq!(differing(&cosine, &longer), ["train.epochs, to which the schedule goes,"]);
    }

    #[test]
    fn paths_survive_a_shell() {
        assert_eq!(for_posix("runs/a-1.safetensors"), "runs/a-1.safetensors");
        assert_eq!(for_posix("my runs/it's"), r"'my runs/it'\''s'");
        assert_eq!(for_posix(""), "''");
        assert_eq!(for_windows(r"C:\runs\a-1.safetensors"), r"C:\runs\a-1.safetensors");
        assert_eq!(for_windows(r"D:\my runs\it's"), r#""D:\my runs\it's""#);
        assert_eq!(for_windows(r"D:\my runs\"), r#""D:\my runs\\""#);
        assert_eq!(for_windows(""), r#""""#);
    }
}
