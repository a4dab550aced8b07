//! The loop on real digits: the same bits however it is run, checkpoints, and what goes wrong.

mod common;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use simqat::data::{self, DataOptions, Dataset};
use simqat::gpu::Gpu;
use simqat::nn::models::{LeNet5Init, lenet5};
use simqat::nn::{Conv2d, Dense, Network};
use simqat::optim::MomentumOptions;
use simqat::quant::SimQat;
use simqat::tensor::{DType, Tensor};
use simqat::train::checkpoint::{Checkpoint, save_network, save_training};
use simqat::train::{
    Callback, EpochReport, Feed, ModelCheckpoint, Normalization, Outcome, RunMode, StepReport, StopFlag,
    Trainer, TrainerOptions, evaluate,
};
use simqat::{Error, Result};

/// The device, for one test at a time: a recording takes in whatever is asked of its device meanwhile, and
/// memory is counted.
fn device() -> (Gpu, MutexGuard<'static, ()>) {
    static ONE: Mutex<()> = Mutex::new(());
    let alone = ONE.lock().unwrap_or_else(|e| e.into_inner());
    (common::gpu(), alone)
}

/// The shipped sample: 4000 and 1000 digits.
fn digits() -> &'static Dataset {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    DATA.get_or_init(|| data::load("mnist-5k", &DataOptions::default()).unwrap())
}

fn mnist_feed(gpu: &Gpu, split: &data::Split, batch: usize) -> Feed {
    let normalization = Normalization { mean: vec![0.1307], deviation: vec![0.3081] };
    Feed::new(gpu, split, batch, [32, 32], &normalization).unwrap()
}

/// 960 digits: 30 steps in an epoch.
fn few_digits(gpu: &Gpu) -> Feed {
    mnist_feed(gpu, &digits().train.first(960), 32)
}

fn options() -> TrainerOptions {
    TrainerOptions {
        epochs: 10,
        seed: 1,
        mode: RunMode::Graph,
        log_every: 50,
        optimizer: MomentumOptions { learning_rate: 0.01, momentum: 0.9, weight_decay: 1e-4 },
    }
}

/// LeNet5, quantized from step `delay` on where there is one.
fn network(gpu: &Gpu, delay: Option<u32>) -> Network {
    let float = lenet5(10, LeNet5Init::He).build(gpu, 1).unwrap();
    match delay {
        Some(delay) => SimQat::default().quant_delay(delay).apply(&float).unwrap(),
        None => float,
    }
}

fn trainer(gpu: &Gpu, delay: Option<u32>, options: TrainerOptions) -> Trainer {
    Trainer::new(network(gpu, delay), few_digits(gpu), options).unwrap()
}

fn steps(trainer: &mut Trainer, count: usize) {
    (0..count).for_each(|_| trainer.step().unwrap());
}

/// Bits of everything that training changes, by name.
fn bits(trainer: &Trainer) -> Vec<(String, Vec<u32>)> {
    let velocities = trainer.velocities().map(|(name, t)| (format!("velocity of {name}"), t.clone()));
    let parameters = trainer.network().parameters().iter().map(|p| (p.name.clone(), p.tensor.clone()));
    parameters.chain(velocities).map(|(name, tensor)| (name, words(&tensor))).collect()
}

fn words(tensor: &Tensor) -> Vec<u32> {
    match tensor.dtype() {
        DType::F32 => tensor.read_f32().unwrap().into_iter().map(f32::to_bits).collect(),
        DType::U32 => tensor.read_u32().unwrap(),
    }
}

#[track_caller]
fn assert_same_bits(what: &str, a: &[(String, Vec<u32>)], b: &[(String, Vec<u32>)]) {
    assert_eq!(a.len(), b.len(), "{what}");
    for ((name, a), (other, b)) in a.iter().zip(b) {
        let differ = a.iter().zip(b).filter(|(a, b)| a != b).count();
        assert!(name == other && differ == 0, "{what}: {differ} of {} values of {name} differ", a.len());
    }
}

fn told<T>(outcome: Result<T>) -> String {
    outcome.err().expect("this must fail").to_string()
}

// The same bits

/// One uninterrupted run of 300 steps beside others that must end in the same bits.
fn assert_repeatable(delay: Option<u32>) {
    let (gpu, _alone) = device();
    let run = |mode| {
        let mut trainer = trainer(&gpu, delay, TrainerOptions { mode, ..options() });
        steps(&mut trainer, 300);
        bits(&trainer)
    };
    let whole = run(RunMode::Graph);
    assert_same_bits("a second run", &run(RunMode::Graph), &whole);
    assert_same_bits("eager", &run(RunMode::Eager), &whole);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("150.safetensors");
    let mut first = trainer(&gpu, delay, options());
    steps(&mut first, 150);
    save_training(&first, &file, &[]).unwrap();
    drop(first);
    // Other values, to see that all of them are replaced.
    let other = lenet5(10, LeNet5Init::ModelZoo).build(&gpu, 99).unwrap();
    let other = match delay {
        Some(delay) => SimQat::default().quant_delay(delay).apply(&other).unwrap(),
        None => other,
    };
    let mut second = Trainer::new(other, few_digits(&gpu), options()).unwrap();
    Checkpoint::read(&file).unwrap().resume(&mut second).unwrap();
    assert_eq!(second.steps_done(), 150);
    steps(&mut second, 150);
    assert_same_bits("stopped and resumed", &bits(&second), &whole);
}

#[test]
fn float_training_has_the_same_bits_again_eager_and_resumed() {
    assert_repeatable(None);
}

#[test]
fn quantized_training_has_the_same_bits_resumed_after_its_delay() {
    assert_repeatable(Some(100));
}

#[test]
fn quantized_training_has_the_same_bits_resumed_before_its_delay_is_over() {
    assert_repeatable(Some(200));
}

#[test]
fn a_training_can_be_resumed_in_the_middle_of_an_epoch_and_with_another_mode() {
    let (gpu, _alone) = device();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let mut whole = trainer(&gpu, Some(10), options());
    steps(&mut whole, 43);
    save_training(&whole, &file, &[]).unwrap();
    steps(&mut whole, 24);
    let mut resumed = trainer(&gpu, Some(10), TrainerOptions { mode: RunMode::Eager, ..options() });
    Checkpoint::read(&file).unwrap().resume(&mut resumed).unwrap();
    steps(&mut resumed, 24);
    assert_same_bits("resumed", &bits(&resumed), &bits(&whole));
}

#[test]
fn a_recording_follows_the_learning_rate() {
    let (gpu, _alone) = device();
    let run = |mode| {
        let mut trainer = trainer(&gpu, None, TrainerOptions { mode, ..options() });
        steps(&mut trainer, 5);
        trainer.optimizer_mut().set_learning_rate(0.002).unwrap();
        steps(&mut trainer, 5);
        bits(&trainer)
    };
    let changed = run(RunMode::Graph);
    assert_same_bits("eager", &run(RunMode::Eager), &changed);
    let mut unchanged = trainer(&gpu, None, options());
    steps(&mut unchanged, 10);
    assert_ne!(bits(&unchanged), changed);
}

#[test]
fn another_seed_is_another_order() {
    let (gpu, _alone) = device();
    let run = |seed| {
        let mut trainer = trainer(&gpu, None, TrainerOptions { seed, ..options() });
        steps(&mut trainer, 3);
        bits(&trainer)
    };
    assert_ne!(run(1), run(2));
}

#[test]
fn memory_stays_what_it_is() {
    let (gpu, _alone) = device();
    let last = if cfg!(feature = "slow-tests") { 2000 } else { 300 };
    for mode in [RunMode::Eager, RunMode::Graph] {
        let mut trainer = trainer(&gpu, Some(20), TrainerOptions { mode, ..options() });
        steps(&mut trainer, 50);
        trainer.finish_reports(&mut []).unwrap();
        let early = gpu.memory();
        steps(&mut trainer, last - 50);
        trainer.finish_reports(&mut []).unwrap();
        let late = gpu.memory();
        assert_eq!((late.reserved, late.live), (early.reserved, early.live), "{mode:?}");
    }
}

// Learning

#[test]
fn lenet5_learns_digits_in_float_and_quantized() {
    let (gpu, _alone) = device();
    let test = mnist_feed(&gpu, &digits().test, 250);
    for delay in [None, Some(100)] {
        // 375 steps gave 95 and 96 % when this was written; another adapter rounds differently, by a few
        // images of the thousand and not by fifty.
        let feed = mnist_feed(&gpu, &digits().train, 32);
        let options = TrainerOptions { epochs: 3, ..options() };
        let mut trainer = Trainer::new(network(&gpu, delay), feed, options).unwrap();
        let outcome = trainer.fit(&test, &mut [], &StopFlag::default()).unwrap();
        assert_eq!((outcome, trainer.steps_done()), (Outcome::Finished, 375));
        let top1 = trainer.evaluate(&test).unwrap().top1();
        assert!(top1 >= 0.9, "{top1} with delay {delay:?}");
    }
}

/// The published set-up on all of MNIST; minutes, so only where it is asked for and the data is there.
#[cfg(feature = "slow-tests")]
#[test]
fn lenet5_reaches_the_published_accuracy() {
    let (gpu, _alone) = device();
    if std::env::var_os("SIMQAT_DATA").is_none() {
        eprintln!("SIMQAT_DATA names no folder with mnist/ in it: the full-size accuracy is not measured");
        return;
    }
    let data = data::load("mnist", &DataOptions::default()).unwrap();
    assert!(!data.is_sample);
    let recipe = simqat::train::Recipe::default();
    for simqat in [None, Some(recipe.simqat.clone())] {
        let float = recipe.network(&gpu, data.classes).unwrap();
        let network =
            simqat.as_ref().map_or(Ok(float), |simqat| simqat.apply(&recipe.network(&gpu, 10)?)).unwrap();
        let feed = recipe.feed(&network, &data.train, recipe.data.batch).unwrap();
        let test = recipe.feed(&network, &data.test, recipe.data.eval_batch).unwrap();
        let mut trainer = Trainer::new(network, feed, recipe.trainer_options()).unwrap();
        trainer.fit(&test, &mut [], &StopFlag::default()).unwrap();
        let top1 = trainer.evaluate(&test).unwrap().top1();
        // Published are 98.82 and 98.94 %; what is asked of every seed is 98.8.
        assert!(top1 >= 0.988, "{top1}, quantized: {}", simqat.is_some());
    }
}

#[test]
fn an_evaluation_counts_its_last_short_batch_too() {
    let (gpu, _alone) = device();
    let network = network(&gpu, None);
    let by = |batch| evaluate(&network, &mnist_feed(&gpu, &digits().test, batch)).unwrap();
    let (even, uneven) = (by(250), by(300));
    assert_eq!((even.images, even.correct), (1000, uneven.correct));
    assert_eq!(uneven.images, 1000);
    // The mean of batch means is rounded differently: f32 sums of up to 300 losses.
    assert!((even.loss - uneven.loss).abs() < 1e-5 * even.loss, "{even:?} {uneven:?}");
}

// Watching and stopping

#[derive(Default)]
struct Watch {
    reports: Vec<StepReport>,
    epochs: Vec<EpochReport>,
    steps: usize,
    ends: usize,
    stop_at: Option<(usize, StopFlag)>,
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
    let (gpu, _alone) = device();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let mut trainer = trainer(&gpu, None, TrainerOptions { epochs: 2, log_every: 20, ..options() });
    let mut watch = Watch::default();
    trainer.fit(&test, &mut [&mut watch], &StopFlag::default()).unwrap();
    // Every twentieth step, and each epoch's last.
    let places: Vec<_> = watch.reports.iter().map(|r| (r.step, r.epoch, r.step_in_epoch)).collect();
    assert_eq!(places, [(20, 0, 20), (30, 0, 30), (40, 1, 10), (60, 1, 30)]);
    assert_eq!((watch.steps, watch.ends), (60, 1));
    let epochs: Vec<_> = watch.epochs.iter().map(|r| (r.epoch, r.steps, r.evaluation.images)).collect();
    assert_eq!(epochs, [(1, 30, 64), (2, 30, 64)]);
    let learnt = watch.reports[3].mean_loss < watch.reports[0].mean_loss;
    assert!(learnt && watch.reports.iter().all(|r| r.loss.is_finite() && (0.0..=1.0).contains(&r.accuracy)));
}

#[test]
fn a_raised_flag_ends_the_training_after_the_step() {
    let (gpu, _alone) = device();
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
    let (gpu, _alone) = device();
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
    let (gpu, _alone) = device();
    let mut trainer = trainer(&gpu, None, TrainerOptions { epochs: 2, ..options() });
    let mut watch = Watch::default();
    while trainer.run_for(Duration::from_millis(50), &mut [&mut watch]).unwrap() {}
    assert_eq!((trainer.steps_done(), watch.steps), (60, 60));
    assert_eq!(watch.reports.last().unwrap().step, 60);
}

// What goes wrong

fn diverging(delay: Option<u32>, gpu: &Gpu) -> Trainer {
    let mut wild = options();
    wild.optimizer.learning_rate = 1e20;
    trainer(gpu, delay, wild)
}

fn assert_explained(error: &Error, trainer: &Trainer) {
    let text = error.to_string();
    assert!(matches!(error, Error::Diverged(_)), "{text}");
    assert!(text.contains("at step ") && text.contains("learning_rate"), "{text}");
    assert!(text.contains("layer \"") || text.contains("parameter \""), "{text}");
    let broken: Vec<&str> = trainer
        .network()
        .parameters()
        .iter()
        .filter(|p| p.trainable && p.tensor.read_f32().unwrap().iter().any(|v| !v.is_finite()))
        .map(|p| p.name.as_str())
        .collect();
    assert!(broken.is_empty() || text.contains("parameter \""), "{broken:?}: {text}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_training_and_says_where() {
    let (gpu, _alone) = device();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    for delay in [None, Some(0)] {
        let mut trainer = diverging(delay, &gpu);
        let error = trainer.fit(&test, &mut [], &StopFlag::default()).unwrap_err();
        assert_explained(&error, &trainer);
    }
    // Slices go over the end of an epoch, where the order of the images changes.
    let mut trainer = diverging(None, &gpu);
    let error = loop {
        match trainer.run_for(Duration::from_millis(100), &mut []) {
            Ok(left) => assert!(left, "the training must not end well"),
            Err(error) => break error,
        }
    };
    assert_explained(&error, &trainer);
    assert!(trainer.steps_done() <= 30, "found in the epoch in which it happened");
}

#[test]
fn no_checkpoint_is_written_behind_a_loss_that_is_no_number() {
    let (gpu, _alone) = device();
    let folder = tempfile::tempdir().unwrap();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let mut trainer = trainer(&gpu, None, options());
    let mut checkpoints = ModelCheckpoint::new(folder.path(), "x", 10, 2, vec![]).unwrap();
    let stop = StopFlag::default();
    let mut watch = Watch { stop_at: Some((20, stop.clone())), ..Default::default() };
    trainer.fit(&test, &mut [&mut checkpoints, &mut watch], &stop).unwrap();
    let good = listed(folder.path());
    assert_eq!(good, ["x-10.safetensors", "x-20.safetensors"]);
    trainer.optimizer_mut().set_learning_rate(1e20).unwrap();
    let error = trainer.fit(&test, &mut [&mut checkpoints], &StopFlag::default()).unwrap_err();
    assert_explained(&error, &trainer);
    assert_eq!(listed(folder.path()), good, "the last good ones are there");
    // From there it goes on.
    Checkpoint::read(folder.path().join("x-20.safetensors")).unwrap().resume(&mut trainer).unwrap();
    trainer.optimizer_mut().set_learning_rate(0.001).unwrap();
    steps(&mut trainer, 15);
    trainer.finish_reports(&mut []).unwrap();
    trainer.check_finite().unwrap();
}

fn listed(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn labels_and_images_that_do_not_fit_are_found_before_training() {
    let (gpu, _alone) = device();
    let five = lenet5(5, LeNet5Init::He).build(&gpu, 1).unwrap();
    let test = mnist_feed(&gpu, &digits().test, 250);
    let error = told(evaluate(&five, &test));
    assert!(error.contains("is 9, outside 0..5"), "{error}");
    let error = told(Trainer::new(five, few_digits(&gpu), options()));
    assert!(error.contains("is 9, outside 0..5"), "{error}");
    let narrow = Network::builder("Narrow", [1, 28, 28]).flatten("f").dense("fc", Dense::new(784, 10));
    let error = told(Trainer::new(narrow.build(&gpu, 1).unwrap(), few_digits(&gpu), options()));
    assert!(error.contains("[1, 28, 28]") && error.contains("[1, 32, 32]"), "{error}");
    let images = Network::builder("Images", [1, 32, 32]).conv2d("conv", Conv2d::new(1, 10, 3));
    let error = told(Trainer::new(images.build(&gpu, 1).unwrap(), few_digits(&gpu), options()));
    assert!(error.contains("[10, 30, 30]"), "{error}");
}

#[test]
fn options_that_make_no_sense_are_named_with_their_value() {
    let (gpu, _alone) = device();
    let split = &digits().test.first(64);
    let normal = Normalization { mean: vec![0.1], deviation: vec![0.3] };
    for batch in [0, 65] {
        let error = told(Feed::new(&gpu, split, batch, [32, 32], &normal));
        assert!(error.contains(&format!("data.batch = {batch}")) && error.contains("64"), "{error}");
    }
    let flat = Normalization { deviation: vec![0.0], ..normal };
    assert!(told(Feed::new(&gpu, split, 32, [32, 32], &flat)).contains("deviation"));
    let refused = |change: fn(&mut TrainerOptions), part: &str| {
        let mut options = options();
        change(&mut options);
        let error = told(Trainer::new(network(&gpu, None), few_digits(&gpu), options));
        assert!(error.contains(part), "{error}");
    };
    refused(|o| o.optimizer.learning_rate = -0.1, "optimizer.learning_rate = -0.1");
    refused(|o| o.optimizer.learning_rate = f32::NAN, "optimizer.learning_rate = NaN");
    refused(|o| o.optimizer.momentum = 1.0, "optimizer.momentum = 1");
    refused(|o| o.optimizer.weight_decay = -1.0, "optimizer.weight_decay = -1");
    refused(|o| o.log_every = 0, "train.log_every = 0");
    refused(|o| o.log_every = 513, "train.log_every = 513");
    let error = told(trainer(&gpu, None, options()).optimizer_mut().set_learning_rate(0.0));
    assert!(error.contains("optimizer.learning_rate = 0"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    assert!(told(ModelCheckpoint::new(folder.path(), "x", 0, 1, vec![])).contains("every_steps = 0"));
    assert!(told(ModelCheckpoint::new(folder.path(), "x", 1, 0, vec![])).contains("keep = 0"));
}

// Checkpoints

#[test]
fn the_newest_few_checkpoints_are_kept() {
    let (gpu, _alone) = device();
    let folder = tempfile::tempdir().unwrap();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let mut trainer = trainer(&gpu, Some(5), TrainerOptions { epochs: 2, ..options() });
    let metadata = vec![("recipe".to_string(), "mine".to_string())];
    let mut checkpoints =
        ModelCheckpoint::new(folder.path().join("deep/er"), "lenet5", 8, 3, metadata).unwrap();
    trainer.fit(&test, &mut [&mut checkpoints], &StopFlag::default()).unwrap();
    let folder = folder.path().join("deep/er");
    // 8, 16, ..., 56 and the end at 60.
    let kept = ["lenet5-48.safetensors", "lenet5-56.safetensors", "lenet5-60.safetensors"];
    assert_eq!(listed(&folder), kept);
    assert_eq!(checkpoints.newest().unwrap(), folder.join(kept[2]));
    let last = Checkpoint::read(checkpoints.newest().unwrap()).unwrap();
    assert_eq!((last.step(), last.metadata("recipe"), last.is_quantized()), (Some(60), Some("mine"), true));
}

/// A checkpoint of a float training after 3 steps.
fn saved(gpu: &Gpu, folder: &Path, delay: Option<u32>) -> std::path::PathBuf {
    let file = folder.join(format!("{delay:?}.safetensors"));
    let mut trainer = trainer(gpu, delay, options());
    steps(&mut trainer, 3);
    save_training(&trainer, &file, &[]).unwrap();
    file
}

#[test]
fn damaged_files_are_refused_by_name() {
    let (gpu, _alone) = device();
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(saved(&gpu, folder.path(), None)).unwrap();
    let file = folder.path().join("damaged");
    let refused = |content: &[u8], parts: &[&str]| {
        std::fs::write(&file, content).unwrap();
        let error = Checkpoint::read(&file).err().unwrap();
        assert!(error.is_bad_input());
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)) && text.contains("damaged"), "{text}");
    };
    for length in [0, 5, 8, 100, whole.len() / 2, whole.len() - 1] {
        refused(&whole[..length], &["truncated"]);
    }
    refused(b"no checkpoint at all, but text of some length", &[]);
    let broken = |bits: u32| {
        let mut bytes = whole.clone();
        let end = bytes.len() - 4;
        bytes[end..].copy_from_slice(&bits.to_le_bytes());
        bytes
    };
    refused(&broken(0x7fc0_0000), &["NaN", "earlier"]);
    refused(&broken(0xff80_0000), &["infinity", "earlier"]);
    let foreign = safetensors_of_another_program();
    refused(&foreign, &["not a checkpoint of this program"]);
    let missing = Checkpoint::read(folder.path().join("nowhere")).err().unwrap();
    assert!(missing.is_bad_input() && missing.to_string().contains("nowhere"));
}

/// An empty file of the format.
fn safetensors_of_another_program() -> Vec<u8> {
    let mut bytes = 8u64.to_le_bytes().to_vec();
    bytes.extend(b"{}      ");
    bytes
}

#[test]
fn checkpoints_that_do_not_fit_change_nothing() {
    let (gpu, _alone) = device();
    let folder = tempfile::tempdir().unwrap();
    let float = Checkpoint::read(saved(&gpu, folder.path(), None)).unwrap();
    let quantized = Checkpoint::read(saved(&gpu, folder.path(), Some(0))).unwrap();
    let alone_file = folder.path().join("alone");
    let small = |width| {
        Network::builder("Small", [1, 32, 32])
            .max_pool2d("pool", 4)
            .flatten("flatten")
            .dense("fc1", Dense::new(64, width))
            .dense("fc3", Dense::new(width, 10))
            .build(&gpu, 1)
            .unwrap()
    };
    save_network(&small(7), &alone_file).unwrap();
    let other = Checkpoint::read(&alone_file).unwrap();
    let more = network(&gpu, None);
    let more_file = folder.path().join("more");
    save_network(&more, &more_file).unwrap();

    let unchanged = |trainer: &mut Trainer, act: &dyn Fn(&mut Trainer) -> Result<()>, parts: &[&str]| {
        let before = bits(trainer);
        let error = act(trainer).unwrap_err();
        let text = error.to_string();
        assert!(parts.iter().all(|part| text.contains(part)) && error.is_bad_input(), "{parts:?}: {text}");
        assert_same_bits(&text, &bits(trainer), &before);
    };
    let mut float_training = trainer(&gpu, None, options());
    let mut quantized_training = trainer(&gpu, Some(0), options());
    // Another network: a layer is missing, has another shape, or is too many.
    unchanged(&mut float_training, &|t| other.load_into(t.network()), &["another network", "conv1.weight"]);
    let mut narrow = Trainer::new(small(8), few_digits(&gpu), options()).unwrap();
    unchanged(&mut narrow, &|t| other.load_into(t.network()), &["another network", "fc1", "[7, 64]"]);
    unchanged(&mut narrow, &|t| float.load_into(t.network()), &["another network", "fc1"]);
    // A network alone is no training.
    unchanged(&mut float_training, &|t| Checkpoint::read(&more_file)?.resume(t), &["network alone"]);
    // Values go from quantized to float and back; trainings do not.
    quantized.load_into(float_training.network()).unwrap();
    float.load_into(quantized_training.network()).unwrap();
    unchanged(&mut float_training, &|t| quantized.resume(t), &["another training", "_quantizer"]);
    unchanged(&mut quantized_training, &|t| float.resume(t), &["_quantizer"]);
    // Another seed would go on with another order.
    let mut seeded = trainer(&gpu, None, TrainerOptions { seed: 2, ..options() });
    unchanged(&mut seeded, &|t| float.resume(t), &["seed 1", "2"]);
}

#[test]
fn values_that_are_no_numbers_are_not_saved_over_good_ones() {
    let (gpu, _alone) = device();
    let folder = tempfile::tempdir().unwrap();
    let file = saved(&gpu, folder.path(), None);
    let before = std::fs::read(&file).unwrap();
    let broken = network(&gpu, None);
    let bias = &broken.parameter("fc2.bias").unwrap().tensor;
    bias.write_f32(&vec![f32::NAN; bias.count()]).unwrap();
    let error = told(save_network(&broken, &file));
    assert!(error.contains("fc2.bias"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(listed(folder.path()).len(), 1, "nothing is left beside it");
}

#[cfg(unix)]
#[test]
fn checkpoints_may_be_read_by_whom_other_files_may() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let [ours, other] = ["ours", "other"].map(|name| folder.path().join(name));
    save_network(&network(&Gpu::noop(), None), &ours).unwrap();
    std::fs::write(&other, "").unwrap();
    let [ours, other] = [ours, other].map(|file| std::fs::metadata(file).unwrap().permissions().mode());
    assert_eq!(ours, other);
}

/// Set for a process whose files may not grow.
const LIMITED: &str = "SIMQAT_TEST_LIMITED";

/// A disk that is full: this test starts itself again in a process that may write no more than a few blocks.
#[cfg(unix)]
#[test]
fn a_write_that_fails_leaves_the_old_file() {
    if let Some(file) = std::env::var_os(LIMITED) {
        // A software driver keeps its memory in files too, so this process has a device of nothing.
        let error = save_network(&network(&Gpu::noop(), None), &file).unwrap_err();
        assert!(matches!(error, Error::Io { .. }) && error.is_bad_input(), "{error}");
        return;
    }
    let (gpu, _alone) = device();
    let folder = tempfile::tempdir().unwrap();
    let file = saved(&gpu, folder.path(), None);
    let before = std::fs::read(&file).unwrap();
    // Ignored, the signal of the limit becomes an error of the write.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact a_write_that_fails_leaves_the_old_file";
    // Its words come through a pipe: a file that they went to would be limited too.
    let child = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, &file)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(listed(folder.path()).len(), 1, "nothing is left beside it");
}
