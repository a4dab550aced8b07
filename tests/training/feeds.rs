//! Batches that are decoded on the way, against those of a set that lies on the device.

use std::time::Duration;

use simqat::data::{Crop, LoaderOptions, Transform};
use simqat::gpu::Gpu;
use simqat::nn::{Conv2d, Dense, Network};
use simqat::train::{Feed, FeedOptions, Normalization, Recipe, RunMode, Trainer, TrainerOptions, evaluate};

use super::{assert_same_bits, bits, device, digits, options, told};

/// Digits that are moved by up to two pixels, and mirrored: on the device, or on `workers` threads. The first step of the
/// transform leaves 28 x 28 as it is, but only the host can do it.
fn feed(gpu: &Gpu, workers: Option<usize>, batch: usize) -> Feed {
    let options = FeedOptions {
        batch,
        size: [28, 28],
        normalization: Normalization { mean: vec![0.1307], deviation: vec![0.3081] },
        transform: Transform {
            resize: if workers.is_some() { 28 } else { 0 },
            crop: Crop::Random { pad: 2, side: 28 },
            flip: true,
        },
        loader: LoaderOptions { workers: workers.unwrap_or(0), prefetch: 2 },
    };
    let feed = Feed::with_options(gpu, &digits().train.first(100), &options).unwrap();
    assert_eq!(feed.is_streamed(), workers.is_some());
    feed
}

fn network(gpu: &Gpu) -> Network {
    Network::builder("Tiny", [1, 28, 28])
        .conv2d("conv", Conv2d::new(1, 4, 5).stride(3))
        .relu("relu")
        .flatten("flatten")
        .dense("fc", Dense::new(4 * 8 * 8, 10))
        .build(gpu, 1)
        .unwrap()
}

fn trainer(gpu: &Gpu, workers: Option<usize>, options: TrainerOptions) -> Trainer {
    Trainer::new(network(gpu), feed(gpu, workers, 16), options).unwrap()
}

#[test]
fn streamed_batches_are_those_of_the_device() {
    let gpu = device();
    let (resident, streamed) = (feed(&gpu, None, 16), feed(&gpu, Some(3), 16));
    let progress = Feed::progress(&gpu).unwrap();
    for (epoch, step) in
        [(None, 0), (None, 6), (Some(0), 0), (Some(0), 1), (Some(0), 5), (Some(3), 2), (Some(3), 0)]
    {
        if let Some(epoch) = epoch {
            resident.shuffle(9, epoch).unwrap();
            streamed.shuffle(9, epoch).unwrap();
        }
        let rows = if step == 6 { 4 } else { 16 };
        let batch = |feed: &Feed| {
            progress.write_u32(&[step as u32, 0, 0, 0]).unwrap();
            feed.supply(step).unwrap();
            let (images, labels) = feed.gather(&progress, rows).unwrap();
            (images.read_f32().unwrap(), labels.read_u32().unwrap())
        };
        let (resident, streamed) = (batch(&resident), batch(&streamed));
        assert_eq!(resident.1, streamed.1, "{epoch:?}, {step}");
        super::common::assert_bits(&format!("{epoch:?}, {step}"), &streamed.0, &resident.0);
    }
    assert_eq!(resident.waited(), Duration::ZERO);
    assert!(streamed.waited() > Duration::ZERO);
    assert!(told(streamed.supply(7)).contains("no batch 7"));
}

#[test]
fn trainings_end_in_the_same_bits_wherever_their_pictures_come_from() {
    let gpu = device();
    let train = |workers, mode, accumulate, stop: Option<usize>| {
        let options = TrainerOptions { epochs: 2, mode, accumulate, ..options() };
        let mut trainer = self::trainer(&gpu, workers, options.clone());
        let steps = trainer.total_steps();
        for step in 0..steps {
            if stop == Some(step) {
                // A new feed that starts in the middle of an epoch.
                let mut resumed = self::trainer(&gpu, workers, options.clone());
                for (new, old) in
                    std::iter::zip(resumed.network().parameters(), trainer.network().parameters())
                {
                    new.tensor.write_f32(&old.tensor.read_f32().unwrap()).unwrap();
                }
                for (new, old) in std::iter::zip(resumed.velocities(), trainer.velocities()) {
                    new.1.write_f32(&old.1.read_f32().unwrap()).unwrap();
                }
                resumed.seek(step).unwrap();
                trainer = resumed;
            }
            trainer.step().unwrap();
        }
        trainer.check_finite().unwrap();
        bits(&trainer)
    };
    let expected = train(None, RunMode::Graph, 1, None);
    for (workers, mode, stop) in [
        (1, RunMode::Graph, None),
        (4, RunMode::Graph, Some(8)),
        (2, RunMode::Eager, None),
        (2, RunMode::Eager, Some(3)),
    ] {
        let what = format!("{workers} threads, {mode:?}, stopped at {stop:?}");
        assert_same_bits(&what, &train(Some(workers), mode, 1, stop), &expected);
    }
    let expected = train(None, RunMode::Graph, 2, None);
    assert_same_bits("two batches in a step", &train(Some(2), RunMode::Graph, 2, Some(4)), &expected);
}

#[test]
fn evaluations_see_every_streamed_picture_once() {
    let gpu = device();
    let network = network(&gpu);
    let (resident, streamed) = (feed(&gpu, None, 32), feed(&gpu, Some(2), 32));
    let expected = evaluate(&network, &resident).unwrap();
    for _ in 0..2 {
        let found = evaluate(&network, &streamed).unwrap();
        assert_eq!((found.images, found.correct, found.loss), (100, expected.correct, expected.loss));
    }
}

#[test]
fn a_crop_that_does_not_fit_is_refused_with_its_key() {
    let gpu = device();
    let options = FeedOptions {
        batch: 4,
        size: [28, 28],
        normalization: Normalization { mean: vec![0.1307], deviation: vec![0.3081] },
        transform: Transform { resize: 0, crop: Crop::Random { pad: 1, side: 31 }, flip: false },
        loader: LoaderOptions::default(),
    };
    let error = told(Feed::with_options(&gpu, &digits().train.first(8), &options));
    for part in ["data.augment", "28 x 28", "a border of 1", "a random crop of 31"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn training_accuracy_is_measured_without_chance() {
    let gpu = device();
    let text = "model.init = \"he\"\n[data]\nname = \"mnist-5k\"\nlimit = 100\neval_batch = 64\n\
                [data.augment]\npad = 4\nrandom_crop = 28\nflip = true";
    let recipe = Recipe::parse(text).unwrap();
    let network = recipe.network(&gpu, 10).unwrap();
    let seen = recipe.train_feed_for_evaluation(&network, digits()).unwrap();
    assert_eq!((seen.len(), seen.batch()), (100, 64));
    // The pictures themselves, in the order of the data set: as test pictures are taken.
    let as_test = recipe.feed(&network, &digits().train.first(100), 64, Transform::default()).unwrap();
    assert_eq!(evaluate(&network, &seen).unwrap(), evaluate(&network, &as_test).unwrap());
    let augmented = recipe.train_feed(&network, digits()).unwrap();
    augmented.shuffle(1, 0).unwrap();
    assert_ne!(evaluate(&network, &seen).unwrap().loss, evaluate(&network, &augmented).unwrap().loss);
}
