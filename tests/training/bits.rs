//! The same bits again, eager and recorded, stopped and resumed.

use simqat::gpu::KernelFamily;
use simqat::nn::models::{ModelInit, lenet5};
use simqat::quant::SimQat;
use simqat::train::checkpoint::{Checkpoint, save_training};
use simqat::train::{RunMode, Trainer, TrainerOptions};

use super::common::open;
use super::{assert_same_bits, bits, device, few_digits, options, steps, trainer};

/// One uninterrupted run of 300 steps beside others that must end in the same bits.
fn assert_repeatable(delay: Option<u32>) {
    let gpu = device();
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
    let other = lenet5(10, ModelInit::ModelZoo).build(&gpu, 99).unwrap();
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
    let gpu = device();
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
    let gpu = device();
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
    let gpu = device();
    let run = |seed| {
        let mut trainer = trainer(&gpu, None, TrainerOptions { seed, ..options() });
        steps(&mut trainer, 3);
        bits(&trainer)
    };
    assert_ne!(run(1), run(2));
}

#[test]
fn memory_stays_what_it_is() {
    let gpu = open(KernelFamily::Auto);
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
