//! Accuracy on digits.

#[cfg(feature = "slow-tests")]
use simqat::data::{self, DataOptions};
use simqat::train::{Outcome, StopFlag, Trainer, TrainerOptions, evaluate};

use super::{device, digits, mnist_feed, network, options};

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
    let (gpu, _alone) = device();
    let network = network(&gpu, None);
    let by = |batch| evaluate(&network, &mnist_feed(&gpu, &digits().test, batch)).unwrap();
    let (even, uneven) = (by(250), by(300));
    assert_eq!((even.images, even.correct), (1000, uneven.correct));
    assert_eq!(uneven.images, 1000);
    // The mean of batch means is rounded differently: f32 sums of up to 300 losses.
    assert!((even.loss - uneven.loss).abs() < 1e-5 * even.loss, "{even:?} {uneven:?}");
}
