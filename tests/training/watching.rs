//! Callbacks, reports, stopping, and slices of time.

use std::time::{Duration, Instant};

use simqat::data::{Dataset, Split};
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{
    Callback, EpochReport, Job, MetricsLog, ModelCheckpoint, Outcome, Recipe, RunFolder, StepReport,
    StopFlag, Trainer, TrainerOptions, Variant,
};
use simqat::{Error, Result};

use super::{device, digits, listed, mnist_feed, options, steps, told, trainer};

#[derive(Default)]
pub struct Watch {
    pub reports: Vec<StepReport>,
    pub epochs: Vec<EpochReport>,
    pub steps: usize,
    pub ends: usize,
    pub stop_at: Option<(usize, StopFlag)>,
}

impl Callback for Watch {
    fn after_step(&mut self, trainer: &Trainer) -> Result<()> {
        self.steps += 1;
        match &self.stop_at {
            Some((step, flag)) if trainer.steps_done() == *step => flag.stop(),
            _ => {}
        }
        Ok(())
    }
    fn on_report(&mut self, report: &StepReport) -> Result<()> {
        self.reports.push(report.clone());
        Ok(())
    }
    fn on_epoch(&mut self, _: &Trainer, report: &EpochReport) -> Result<()> {
        self.epochs.push(report.clone());
        Ok(())
    }
    fn on_end(&mut self, _: &Trainer) -> Result<()> {
        self.ends += 1;
        Ok(())
    }
}

#[test]
fn every_step_is_reported_once() {
    let gpu = device();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let mut trainer = trainer(&gpu, None, TrainerOptions { epochs: 2, log_every: 20, ..options() });
    let mut watch = Watch::default();
    trainer.fit(&test, &mut [&mut watch], &StopFlag::default()).unwrap();
    // Every twentieth step, and each epoch's last.
    let places: Vec<_> = watch.reports.iter().map(|r| (r.step, r.epoch, r.step_in_epoch)).collect();
    assert_eq!(places, [(20, 0, 20), (30, 0, 30), (40, 1, 10), (60, 1, 30)]);
    assert_eq!((watch.steps, watch.ends), (60, 1));
    let epochs: Vec<_> =
        watch.epochs.iter().map(|r| (r.epoch, r.steps, r.evaluation.map(|e| e.images))).collect();
    assert_eq!(epochs, [(1, 30, Some(64)), (2, 30, Some(64))]);
    let learnt = watch.reports[3].mean_loss < watch.reports[0].mean_loss;
    assert!(learnt && watch.reports.iter().all(|r| r.loss.is_finite() && (0.0..=1.0).contains(&r.accuracy)));
}

#[test]
fn epochs_are_evaluated_now_and_then_and_at_the_end() {
    let gpu = device();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let mut trainer = trainer(&gpu, None, TrainerOptions { epochs: 5, eval_every: 2, ..options() });
    let mut watch = Watch::default();
    trainer.fit(&test, &mut [&mut watch], &StopFlag::default()).unwrap();
    let evaluated: Vec<_> = watch.epochs.iter().map(|r| (r.epoch, r.evaluation.is_some())).collect();
    assert_eq!(evaluated, [(1, false), (2, true), (3, false), (4, true), (5, true)]);
    assert_eq!(watch.epochs[4].evaluation, Some(trainer.evaluate(&test).unwrap()));
}

#[test]
fn reports_tell_the_speed_and_the_time_left() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics.jsonl");
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let slow = TrainerOptions { epochs: 2, log_every: 10, eval_every: 2, clip_norm: 1.0, ..options() };
    let mut trainer = trainer(&gpu, None, TrainerOptions { accumulate: 2, ..slow });
    let mut watch = Watch::default();
    let mut metrics = MetricsLog::append(&file, "float").unwrap();
    trainer.fit(&test, &mut [&mut watch, &mut metrics], &StopFlag::default()).unwrap();
    for report in &watch.reports {
        // 64 images in a step.
        let by_time = 64.0 / (report.ms_per_step / 1e3);
        assert!((report.images_per_s - by_time).abs() < 1e-6 * by_time, "{report:?}");
        assert!((0.0..=1.0).contains(&report.data_wait), "{report:?}");
        assert!((report.accuracy..=1.0).contains(&report.top5.unwrap()), "{report:?}");
        assert!(report.gradient_norm.unwrap() > 0.0, "{report:?}");
        // The pace is a mean of what was seen, and so within it.
        let pace = report.seconds_left * 1e3 / (report.total_steps - report.step).max(1) as f64;
        let times = watch.reports.iter().map(|r| r.ms_per_step);
        let slowest = times.fold(0.0, f64::max);
        assert!(pace <= slowest * 1.000_001, "{report:?}");
        assert_eq!(report.step == report.total_steps, report.seconds_left == 0.0, "{report:?}");
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let keys = ["images_per_s", "data_wait", "seconds_left", "gradient_norm", "top5", "learning_rate"];
    let reports: Vec<_> = lines.iter().filter(|line| line["loss"].is_number()).collect();
    assert_eq!(reports.len(), watch.reports.len());
    assert!(reports.iter().all(|line| keys.iter().all(|&key| line[key].is_number())), "{text}");
    let epochs: Vec<_> = lines.iter().filter(|line| line["loss"].is_null()).collect();
    assert_eq!(epochs.iter().map(|line| line["test"].is_object()).collect::<Vec<_>>(), [false, true]);
    let tested = watch.epochs[1].evaluation.unwrap();
    assert_eq!(epochs[1]["test"]["top5"].as_f64(), tested.top5());
    assert_eq!(epochs[1]["test"]["top1"].as_f64(), Some(tested.top1()));
}

#[test]
fn a_raised_flag_ends_the_training_after_the_step() {
    let gpu = device();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let stop = StopFlag::default();
    let mut watch = Watch { stop_at: Some((37, stop.clone())), ..Default::default() };
    let mut trainer = trainer(&gpu, None, options());
    let outcome = trainer.fit(&test, &mut [&mut watch], &stop).unwrap();
    assert_eq!(outcome, Outcome::Stopped { step: 37 });
    assert_eq!((watch.steps, watch.ends, watch.epochs.len()), (37, 1, 1));
    assert_eq!(watch.reports.last().unwrap().step, 37);
}

#[test]
fn a_time_slice_is_kept() {
    let gpu = device();
    let mut trainer = trainer(&gpu, None, TrainerOptions { epochs: 1000, ..options() });
    // The first step compiles.
    steps(&mut trainer, 1);
    trainer.finish_reports(&mut []).unwrap();
    let slice = Duration::from_millis(200);
    let start = Instant::now();
    assert!(trainer.run_for(slice, &mut []).unwrap(), "there are steps left");
    let took = start.elapsed();
    // It ends with the step under way, which may wait for those in flight: some tens of milliseconds each here.
    assert!(took >= slice && took < slice + Duration::from_secs(1), "{took:?}");
    assert!(trainer.steps_done() > 1);
    trainer.finish_reports(&mut []).unwrap();
}

#[test]
fn time_slices_end_with_the_last_step_and_report_all() {
    let gpu = device();
    let mut trainer = trainer(&gpu, None, TrainerOptions { epochs: 2, ..options() });
    let mut watch = Watch::default();
    while trainer.run_for(Duration::from_millis(50), &mut [&mut watch]).unwrap() {}
    assert_eq!((trainer.steps_done(), watch.steps), (60, 60));
    assert_eq!(watch.reports.last().unwrap().step, 60);
}

/// Ends the training where an epoch is evaluated, as a kill would.
struct Dies {
    epoch: usize,
}

impl Callback for Dies {
    fn on_epoch(&mut self, _: &Trainer, report: &EpochReport) -> Result<()> {
        if report.epoch == self.epoch { Err(Error::Invalid("killed".into())) } else { Ok(()) }
    }
}

#[test]
fn an_evaluation_that_was_cut_off_comes_again_on_resuming() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let begun = || trainer(&gpu, None, TrainerOptions { epochs: 3, ..options() });
    let mut checkpoints = ModelCheckpoint::new(folder.path(), "x", 15, 9, vec![]).unwrap();
    let mut killed = begun();
    let stop = StopFlag::default();
    let outcome = killed.fit(&test, &mut [&mut Dies { epoch: 2 }, &mut checkpoints], &stop);
    assert_eq!(told(outcome), "killed");
    // 60 is the end of the second epoch, whose evaluation is missing.
    assert_eq!(listed(folder.path()), ["x-15.safetensors", "x-30.safetensors", "x-45.safetensors"]);
    let mut resumed = begun();
    Checkpoint::read(folder.path().join("x-45.safetensors")).unwrap().resume(&mut resumed).unwrap();
    let mut watch = Watch::default();
    resumed.fit(&test, &mut [&mut watch, &mut checkpoints], &stop).unwrap();
    let mut straight = Watch::default();
    begun().fit(&test, &mut [&mut straight], &stop).unwrap();
    let of = |watch: &Watch| watch.epochs.iter().map(|r| (r.epoch, r.evaluation)).collect::<Vec<_>>();
    assert_eq!(of(&watch), of(&straight)[1..]);
    let all = [15, 30, 45, 60, 75, 90].map(|step| format!("x-{step}.safetensors"));
    assert_eq!(listed(folder.path()), all);
}

#[test]
fn names_of_skipped_pictures_outlive_a_stop() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..40).map(|i| folder.path().join(format!("{i}.png"))).collect();
    for (i, file) in files.iter().enumerate() {
        image::GrayImage::from_pixel(8, 8, image::Luma([6 * i as u8])).save(file).unwrap();
    }
    std::fs::write(&files[7], "").unwrap();
    let split = Split::of_files(files.clone(), (0..40).map(|i| i % 10).collect(), 10).unwrap();
    let data = Dataset::new("drawn", split.clone(), split, 10).unwrap();
    let recipe = Recipe::parse("[data]\nbatch = 8\n[train]\nepochs = 3\n[model]\ninit = \"he\"").unwrap();
    let run = RunFolder::new(folder.path(), &recipe).unwrap();
    let names = run.path().join("skipped.txt");
    let job = |resume: Option<&Checkpoint>, stop: &StopFlag, watch: &mut Watch| {
        let (recipe, data, folder) = (&recipe, &data, &run);
        let job = Job { recipe, variant: Variant::Float, data, folder, resume, from: None, stop };
        job.run(&gpu, watch).unwrap()
    };
    let stop = StopFlag::default();
    let mut watch = Watch { stop_at: Some((5, stop.clone())), ..Default::default() };
    let stopped = job(None, &stop, &mut watch);
    let first = std::fs::read_to_string(&names).unwrap();
    assert!(first.lines().count() == 1 && first.contains("7.png: "), "{first}");

    let earlier = format!("earlier.png: it was mended since\n{first}");
    std::fs::write(&names, &earlier).unwrap();
    let checkpoint = Checkpoint::read(&stopped.checkpoint).unwrap();
    job(Some(&checkpoint), &StopFlag::default(), &mut Watch::default());
    let mut kept: Vec<String> = std::fs::read_to_string(&names).unwrap().lines().map(String::from).collect();
    let mut expected: Vec<String> = earlier.lines().map(String::from).collect();
    kept.sort();
    expected.sort();
    assert_eq!(kept, expected, "each once");
    // A training from the start has its own alone.
    job(None, &StopFlag::default(), &mut Watch::default());
    assert_eq!(std::fs::read_to_string(&names).unwrap(), first);
}
