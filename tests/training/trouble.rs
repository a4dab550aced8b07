//! What goes wrong: losses that are no numbers, data and options that do not fit.

use std::time::Duration;

use simqat::Error;
use simqat::gpu::Gpu;
use simqat::nn::models::{ModelInit, lenet5};
use simqat::nn::{BatchNorm2d, Conv2d, Dense, Network};
use simqat::optim::Schedule;
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{Feed, ModelCheckpoint, Normalization, StopFlag, Trainer, TrainerOptions, evaluate};

use super::watching::Watch;
use super::{device, digits, few_digits, listed, mnist_feed, network, options, steps, told, trainer};

fn diverging(delay: Option<u32>, gpu: &Gpu) -> Trainer {
    let mut wild = options();
    wild.optimizer.learning_rate = 1e38;
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
    let gpu = device();
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
fn weights_that_diverge_behind_normalization_and_relu_are_noticed() {
    // max(NaN, 0) is 0: the loss of such a network stays finite whatever becomes of its weights.
    let gpu = device();
    let normalized = Network::builder("Normalized", [1, 28, 28])
        .conv2d("conv", Conv2d::new(1, 8, 5).stride(4).no_bias())
        .batch_norm2d("bn", BatchNorm2d::new(8))
        .relu("relu")
        .flatten("flatten")
        .dense("fc", Dense::new(8 * 36, 10))
        .build(&gpu, 1)
        .unwrap();
    let normalization = Normalization { mean: vec![0.1307], deviation: vec![0.3081] };
    let feed = Feed::new(&gpu, &digits().train.first(64), 32, [28, 28], &normalization).unwrap();
    let mut wild = options();
    wild.optimizer.learning_rate = 1e30;
    let mut trainer = Trainer::new(normalized, feed, wild).unwrap();
    let mut left = 30;
    let error = loop {
        trainer.step().unwrap();
        match trainer.check_finite() {
            Ok(()) => left -= 1,
            Err(error) => break error,
        }
        assert!(left > 0, "30 steps of rate 1e30 were taken for good");
    };
    let text = error.to_string();
    assert!(matches!(error, Error::Diverged(_)) && text.contains("learning_rate"), "{text}");
    for parameter in trainer.network().parameters().iter().filter(|p| p.trainable) {
        assert!(parameter.tensor.read_f32().unwrap().iter().all(|v| v.is_finite()), "{}", parameter.name);
    }
}

#[test]
fn no_checkpoint_is_written_behind_a_loss_that_is_no_number() {
    let gpu = device();
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

#[test]
fn labels_and_images_that_do_not_fit_are_found_before_training() {
    let gpu = device();
    let five = lenet5(5, ModelInit::He).build(&gpu, 1).unwrap();
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
    let gpu = device();
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
    refused(|o| o.eval_every = 0, "train.eval_every = 0");
    refused(|o| o.accumulate = 0, "train.accumulate = 0");
    // An epoch of 30 batches.
    refused(|o| o.accumulate = 31, "train.accumulate = 31");
    refused(|o| o.label_smoothing = 1.0, "train.label_smoothing = 1");
    refused(|o| o.clip_norm = f32::NAN, "optimizer.clip_norm = NaN");
    refused(|o| o.schedule = Schedule::default().warmup(10, 0.0), "schedule.warmup_epochs = 10");
    let error = told(trainer(&gpu, None, options()).optimizer_mut().set_learning_rate(0.0));
    assert!(error.contains("optimizer.learning_rate = 0"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    assert!(told(ModelCheckpoint::new(folder.path(), "x", 0, 1, vec![])).contains("every_steps = 0"));
    assert!(told(ModelCheckpoint::new(folder.path(), "x", 1, 0, vec![])).contains("keep = 0"));
}
