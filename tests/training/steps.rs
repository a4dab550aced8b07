//! What a step is made of: rates by a schedule, several passes, clipping, smoothing, decay by name.

use std::time::Duration;

use simqat::Error;
use simqat::data::{Crop, LoaderOptions, Order, Split, Transform};
use simqat::gpu::{Gpu, GpuOptions};
use simqat::optim::{MomentumOptions, Schedule, ScheduleKind, Span};
use simqat::train::checkpoint::{Checkpoint, save_training};
use simqat::train::{Feed, FeedOptions, Normalization, RunMode, Trainer, TrainerOptions};

use super::watching::Watch;
use super::{assert_same_bits, bits, device, digits, mnist_feed, network, options, steps, told, trainer};

/// 960 digits in batches of `batch`.
fn batches_of(gpu: &Gpu, batch: usize, options: TrainerOptions) -> Trainer {
    let feed = mnist_feed(gpu, &digits().train.first(960), batch);
    Trainer::new(network(gpu, None), feed, options).unwrap()
}

fn reports(trainer: &mut Trainer, count: usize) -> Watch {
    let mut watch = Watch::default();
    for _ in 0..count {
        steps(trainer, 1);
        trainer.finish_reports(&mut [&mut watch]).unwrap();
    }
    watch
}

/// All values that training moves, by name.
fn values(trainer: &Trainer) -> Vec<(String, Vec<f32>)> {
    let floats = |(name, words): (String, Vec<u32>)| (name, words.into_iter().map(f32::from_bits).collect());
    bits(trainer).into_iter().map(floats).collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

#[test]
fn four_passes_of_8_images_are_a_step_of_32() {
    let gpu = device();
    for (clip_norm, mode) in [(0.0, RunMode::Graph), (0.5, RunMode::Eager)] {
        let options = TrainerOptions { clip_norm, mode, ..options() };
        let mut whole = batches_of(&gpu, 32, options.clone());
        let mut parts = batches_of(&gpu, 8, TrainerOptions { accumulate: 4, ..options });
        assert_eq!((parts.steps_per_epoch(), parts.total_steps()), (30, 300));
        let (seen, again) = (reports(&mut whole, 10), reports(&mut parts, 10));
        for (a, b) in seen.reports.iter().zip(&again.reports) {
            assert_eq!((a.step, a.accuracy, a.top5), (b.step, b.accuracy, b.top5));
            // Sums of 32 losses in two orders, of networks that differ as below.
            assert!((a.loss - b.loss).abs() < 1e-4 * a.loss, "{a:?} {b:?}");
        }
        for ((name, a), (_, b)) in values(&whole).iter().zip(values(&parts)) {
            let difference = norm(a.iter().zip(&b).map(|(a, b)| f64::from(a - b)));
            let size = norm(a.iter().map(|&a| a.into()));
            // Each step rounds its sums differently by some units of 6e-8, and ten steps carry that on.
            assert!(difference <= 1e-4 * size, "{name}: {difference} of {size}");
        }
    }
}

#[test]
fn a_device_without_anything_optional_trains_as_the_adapters_own() {
    let own = device();
    let wanted = GpuOptions { checked: true, poison: true, least: true, ..Default::default() };
    let least = Gpu::open_with(&wanted).unwrap();
    let caps = least.caps();
    assert_eq!((caps.subgroup_size, caps.f16, caps.timestamps), (None, false, false));
    assert!(caps.max_binding_bytes <= 128 << 20 && caps.max_workgroup_size <= 256, "{caps:?}");
    for (delay, apart) in [(None, 1e-4), (Some(3), 0.02)] {
        let [seen, again] = [&own, &least].map(|gpu| reports(&mut trainer(gpu, delay, options()), 10));
        for (a, b) in seen.reports.iter().zip(&again.reports) {
            // Other kernels sum in another order, and what is quantized may fall on the other side of a tie.
            assert!((a.loss - b.loss).abs() < apart * a.loss, "{delay:?}: {a:?} {b:?}");
        }
        assert!(again.reports[9].loss < 0.8 * again.reports[0].loss, "{delay:?}: {:?}", again.reports);
    }
}

/// Everything that a step can have; 30 batches make 7 steps of 4 in an epoch, and two are left over.
fn everything() -> TrainerOptions {
    TrainerOptions {
        epochs: 3,
        schedule: Schedule::new(ScheduleKind::LinearCosine).warmup(1, 0.001),
        no_decay: vec!["fc?.weight".into()],
        clip_norm: 1.0,
        label_smoothing: 0.1,
        accumulate: 4,
        ..options()
    }
}

#[test]
fn steps_of_all_kinds_have_the_same_bits_eager_and_resumed_within_an_epoch() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    for delay in [None, Some(30)] {
        let mut whole = trainer(&gpu, delay, everything());
        assert_eq!(whole.total_steps(), 21);
        let mut files = Vec::new();
        for stop in [3, 7, 10, 17] {
            let left = stop - whole.steps_done();
            steps(&mut whole, left);
            let file = folder.path().join(format!("{delay:?}-{stop}"));
            save_training(&whole, &file, &[]).unwrap();
            files.push(file);
        }
        steps(&mut whole, 4);
        let whole = bits(&whole);
        let mut eager = trainer(&gpu, delay, TrainerOptions { mode: RunMode::Eager, ..everything() });
        steps(&mut eager, 21);
        assert_same_bits("eager", &bits(&eager), &whole);
        for (file, mode) in files.iter().zip([RunMode::Graph, RunMode::Eager].into_iter().cycle()) {
            let mut resumed = trainer(&gpu, delay, TrainerOptions { mode, ..everything() });
            // What an abandoned step leaves must not be seen.
            steps(&mut resumed, 2);
            Checkpoint::read(file).unwrap().resume(&mut resumed).unwrap();
            let left = 21 - resumed.steps_done();
            steps(&mut resumed, left);
            assert_same_bits(&format!("{} resumed, {mode:?}", file.display()), &bits(&resumed), &whole);
        }
    }
}

/// Batches that the host cuts and uploads while the recordings of passes are replayed.
#[test]
fn streamed_pictures_go_through_recorded_passes() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    let begun = |mode| {
        let crop = Crop::RandomResized { scale: [0.5, 1.0], ratio: [0.75, 1.25] };
        let feed = FeedOptions {
            batch: 32,
            size: [32, 32],
            normalization: Normalization { mean: vec![0.1307], deviation: vec![0.3081] },
            transform: Transform { crop, ..Transform::default() },
            loader: LoaderOptions::default(),
        };
        let feed = Feed::with_options(&gpu, &digits().train.first(320), &feed).unwrap();
        assert!(feed.is_streamed());
        Trainer::new(network(&gpu, None), feed, TrainerOptions { mode, ..everything() }).unwrap()
    };
    // Two steps of four batches in an epoch, and two batches left over.
    let mut whole = begun(RunMode::Graph);
    assert_eq!(whole.total_steps(), 6);
    steps(&mut whole, 3);
    save_training(&whole, &file, &[]).unwrap();
    let seen = reports(&mut whole, 3);
    let whole = bits(&whole);
    let mut eager = begun(RunMode::Eager);
    let same = reports(&mut eager, 6);
    assert_same_bits("eager", &bits(&eager), &whole);
    assert_eq!(seen.reports.last().unwrap().loss, same.reports.last().unwrap().loss);
    assert!(eager.waited() > Duration::ZERO, "the first batch at least");
    let mut resumed = begun(RunMode::Graph);
    Checkpoint::read(file).unwrap().resume(&mut resumed).unwrap();
    steps(&mut resumed, 3);
    assert_same_bits("resumed", &bits(&resumed), &whole);
}

/// The feed fails behind the first pass of a step: nothing of that pass may be in the step that is asked for again.
#[test]
fn a_step_that_failed_begins_anew() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..320).map(|i| folder.path().join(format!("{i}.png"))).collect();
    let draw = |i: usize| {
        let shade = |x: u32, y: u32| image::Luma([(i as u32 * 37 + x * 11 + y * 5) as u8]);
        image::GrayImage::from_fn(8, 8, shade).save(&files[i]).unwrap();
    };
    let begun = |mode| {
        let split = Split::of_files(files.clone(), (0..320).map(|i| i % 10).collect(), 10).unwrap();
        let feed = FeedOptions {
            batch: 2,
            size: [32, 32],
            normalization: Normalization { mean: vec![0.5], deviation: vec![0.5] },
            transform: Transform::default(),
            loader: LoaderOptions::default(),
        };
        let feed = Feed::with_options(&gpu, &split, &feed).unwrap();
        Trainer::new(network(&gpu, None), feed, TrainerOptions { mode, ..everything() }).unwrap()
    };
    (0..320).for_each(draw);
    let mut whole = begun(RunMode::Graph);
    steps(&mut whole, 3);
    for mode in [RunMode::Graph, RunMode::Eager] {
        // The first batch alone can be decoded, and hardly another picture has one of its two near enough to stand in.
        let order = Order::Shuffled { seed: options().seed, epoch: 0 }.pictures(320);
        for &picture in &order[2..] {
            std::fs::write(&files[picture as usize], "").unwrap();
        }
        let mut failing = begun(mode);
        let error = told(failing.step());
        assert!(error.contains("64 pictures in a row cannot be used"), "{error}");
        assert!(failing.steps_done() == 0 && !failing.is_halted().unwrap());
        (0..320).for_each(draw);
        steps(&mut failing, 3);
        failing.check_finite().unwrap();
        assert_same_bits(&format!("{mode:?}"), &bits(&failing), &bits(&whole));
    }
}

#[test]
fn quantizers_count_passes() {
    let gpu = device();
    let mut trainer = trainer(&gpu, Some(30), everything());
    steps(&mut trainer, 3);
    let counter = &trainer.network().parameter("conv1.input_quantizer.steps").unwrap().tensor;
    assert_eq!(counter.read_u32().unwrap(), [12]);
}

#[test]
fn a_training_goes_on_with_as_many_passes_as_it_had() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    let mut four = trainer(&gpu, None, everything());
    steps(&mut four, 1);
    save_training(&four, &file, &[]).unwrap();
    let mut two = trainer(&gpu, None, TrainerOptions { accumulate: 2, ..everything() });
    let error = told(Checkpoint::read(&file).unwrap().resume(&mut two));
    assert!(error.contains("4 x 32 of 960") && error.contains("2 x 32 of 960"), "{error}");
}

#[test]
fn steps_have_the_rate_of_their_number() {
    let gpu = device();
    let schedule = Schedule { milestones: vec![2, 3], ..Schedule::new(ScheduleKind::Step).warmup(1, 0.0) };
    let options = TrainerOptions { epochs: 4, log_every: 1, schedule: schedule.clone(), ..options() };
    let feed = |_| mnist_feed(&gpu, &digits().train.first(160), 32);
    let mut scheduled = Trainer::new(network(&gpu, None), feed(()), options.clone()).unwrap();
    let seen = reports(&mut scheduled, 20);
    let span = Span { steps_per_epoch: 5, epochs: 4 };
    let rates: Vec<f32> = (0..20).map(|step| schedule.rate(0.01, step, span)).collect();
    assert_eq!((rates[4], rates[10]), (0.01, 0.001));
    assert_eq!(seen.reports.iter().map(|r| r.learning_rate).collect::<Vec<_>>(), rates);

    let by_hand = TrainerOptions { schedule: Schedule::default(), ..options };
    let mut by_hand = Trainer::new(network(&gpu, None), feed(()), by_hand).unwrap();
    for rate in rates {
        by_hand.optimizer_mut().set_learning_rate(rate).unwrap();
        steps(&mut by_hand, 1);
    }
    assert_same_bits("rates set by hand", &bits(&by_hand), &bits(&scheduled));
}

#[test]
fn a_clipped_step_is_as_long_as_it_may_be() {
    let gpu = device();
    // Without momentum, and without decay, a step is the rate times the gradient.
    let optimizer = MomentumOptions { learning_rate: 1.0, momentum: 0.0, weight_decay: 0.0 };
    let step = |clip_norm| {
        let mut trainer = trainer(&gpu, None, TrainerOptions { optimizer, clip_norm, ..options() });
        let before = values(&trainer);
        let report = reports(&mut trainer, 1).reports.remove(0);
        let moved =
            before.iter().zip(values(&trainer)).filter(|((name, _), _)| !name.starts_with("velocity"));
        let moves = moved.flat_map(|((_, before), (_, after))| {
            before.iter().zip(after).map(|(b, a)| f64::from(a - b)).collect::<Vec<_>>()
        });
        (norm(moves), report.gradient_norm)
    };
    let (free, unknown) = step(0.0);
    assert_eq!(unknown, None);
    let (short, measured) = step(0.125);
    // Differences of parameters around 0.1 are rounded to units of 7e-9, 60 000 of them.
    assert!((short - 0.125).abs() < 1e-4, "{short}");
    assert!((measured.unwrap() - free).abs() < 1e-4 * free && free > 0.125, "{measured:?} {free}");
    let (same, _) = step(2.0 * free as f32);
    assert!((same - free).abs() < 1e-4 * free, "{same} {free}");
}

#[test]
fn a_norm_that_is_no_number_stops_the_training_and_says_so() {
    let gpu = device();
    for accumulate in [1, 3] {
        let mut trainer = trainer(&gpu, None, TrainerOptions { clip_norm: 1.0, accumulate, ..options() });
        steps(&mut trainer, 2);
        // Weights with which the logits and the loss are large, and the squares of gradients are infinite.
        let weight = trainer.network().parameter("fc3.weight").unwrap().tensor.clone();
        let huge: Vec<f32> = weight.read_f32().unwrap().iter().map(|w| w * 1e25).collect();
        weight.write_f32(&huge).unwrap();
        let before = bits(&trainer);
        steps(&mut trainer, 2);
        assert!(trainer.is_halted().unwrap());
        assert_same_bits("held back", &bits(&trainer), &before);
        for error in [trainer.check_finite().unwrap_err(), trainer.finish_reports(&mut []).unwrap_err()] {
            let text = error.to_string();
            assert!(matches!(error, Error::Diverged(_)), "{text}");
            assert!(text.contains("the norm of the gradients") && text.contains("at step 3:"), "{text}");
        }
    }
}

#[test]
fn smoothing_is_of_the_training_alone() {
    let gpu = device();
    let test = mnist_feed(&gpu, &digits().test.first(64), 64);
    let begun = |label_smoothing| {
        let mut trainer = trainer(&gpu, None, TrainerOptions { label_smoothing, ..options() });
        let before = trainer.evaluate(&test).unwrap().loss;
        (before, reports(&mut trainer, 1).reports[0].loss)
    };
    let ((plain, loss), (also_plain, smoothed)) = (begun(0.0), begun(0.5));
    assert_eq!(plain, also_plain);
    assert!((loss - smoothed).abs() > 1e-3, "{loss} {smoothed}");
}

#[test]
fn weights_are_kept_from_decaying_by_name() {
    let gpu = device();
    let run = |weight_decay, no_decay: &[&str]| {
        let optimizer = MomentumOptions { weight_decay, ..options().optimizer };
        let no_decay = no_decay.iter().map(ToString::to_string).collect();
        let mut trainer = trainer(&gpu, None, TrainerOptions { optimizer, no_decay, ..options() });
        steps(&mut trainer, 3);
        bits(&trainer)
    };
    let decayed = run(0.1, &[]);
    assert_same_bits("all by name", &run(0.1, &["conv*", "*.weight"]), &run(0.0, &[]));
    assert_ne!(run(0.1, &["fc1.weight"]), decayed);
    // Biases do not decay, named or not, and a name that is nobody's keeps nothing from decaying.
    assert_same_bits("no weight by name", &run(0.1, &["*.bias", "*.gamma"]), &decayed);
}
