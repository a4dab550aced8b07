//! Accuracy on digits.

#[cfg(feature = "slow-tests")]
use simqat::data::{self, DataOptions};
use simqat::nn::models::{ModelInit, lenet5};
use simqat::train::{Feed, Outcome, StopFlag, Trainer, TrainerOptions, evaluate};

use super::{device, digits, mnist_feed, network, options};

#[test]
fn lenet5_learns_digits_in_float_and_quantized() {
    let gpu = device();
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

/// The published set-up on all of MNIST, which takes minutes.
#[cfg(feature = "slow-tests")]
#[test]
#[ignore = "wants all of MNIST in the data folder that SIMQAT_DATA names"]
fn lenet5_reaches_the_published_accuracy() {
    let gpu = device();
    let data = data::load("mnist", &DataOptions::default()).unwrap();
    assert!(!data.is_sample);
    let recipe = simqat::train::Recipe::default();
    for simqat in [None, Some(recipe.simqat.clone())] {
        let float = recipe.network(&gpu, data.classes).unwrap();
        let network =
            simqat.as_ref().map_or(Ok(float), |simqat| simqat.apply(&recipe.network(&gpu, 10)?)).unwrap();
        let feed = recipe.train_feed(&network, &data).unwrap();
        let test = recipe.test_feed(&network, &data).unwrap();
        let mut trainer = Trainer::new(network, feed, recipe.trainer_options()).unwrap();
        trainer.fit(&test, &mut [], &StopFlag::default()).unwrap();
        let top1 = trainer.evaluate(&test).unwrap().top1();
        // Published are 98.82 and 98.94 %; what is asked of every seed is 98.8.
        assert!(top1 >= 0.988, "{top1}, quantized: {}", simqat.is_some());
    }
}

#[test]
fn an_evaluation_counts_its_last_short_batch_too() {
    let gpu = device();
    let network = network(&gpu, None);
    let by = |batch| evaluate(&network, &mnist_feed(&gpu, &digits().test, batch)).unwrap();
    let (even, uneven) = (by(250), by(300));
    assert_eq!((even.images, even.correct, even.in_top5), (1000, uneven.correct, uneven.in_top5));
    assert_eq!(uneven.images, 1000);
    // The mean of batch means is rounded differently: f32 sums of up to 300 losses.
    assert!((even.loss - uneven.loss).abs() < 1e-5 * even.loss, "{even:?} {uneven:?}");
}

#[test]
fn the_first_five_classes_are_counted_where_there_are_more() {
    let gpu = device();
    let (data, network) = (digits().test.first(60), network(&gpu, None));
    let feed = mnist_feed(&gpu, &data, 60);
    let found = evaluate(&network, &feed).unwrap();
    let (images, labels) = feed.gather(&Feed::progress(&gpu).unwrap(), 60).unwrap();
    let logits = network.predict(&images).unwrap().read_f32().unwrap();
    let first = |count: usize| {
        let rows = logits.chunks(10).zip(labels.read_u32().unwrap());
        let right = rows.filter(|(row, label)| {
            let mut order: Vec<usize> = (0..10).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            order[..count].contains(&(*label as usize))
        });
        right.count()
    };
    assert_eq!((found.correct, found.in_top5), (first(1), Some(first(5))));
    assert_eq!(found.top5(), Some(first(5) as f64 / 60.0));

    let mut few = data;
    few.labels.iter_mut().for_each(|label| *label %= 5);
    let five = lenet5(5, ModelInit::He).build(&gpu, 1).unwrap();
    let found = evaluate(&five, &mnist_feed(&gpu, &few, 60)).unwrap();
    assert_eq!((found.in_top5, found.top5()), (None, None));
}
