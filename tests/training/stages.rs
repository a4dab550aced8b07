//! Trainings whose quantizers go through stages: delay, observing, freezing. Stopped in the middle of any and resumed,
//! eager or recorded, they end in the bits of the training without a stop.

use std::time::Duration;

use simqat::gpu::Gpu;
use simqat::kernel::counter::FROZEN;
use simqat::kernel::geometry::Padding;
use simqat::nn::models::{ModelInit, lenet5};
use simqat::nn::{BatchNorm2d, BnFold, Conv2d, Dense, Network};
use simqat::quant::{LayerOptions, Observer, SimQat};
use simqat::train::checkpoint::Checkpoint;
use simqat::train::{Feed, Freeze, ModelCheckpoint, Normalization, RunMode, Trainer, TrainerOptions};

use super::{assert_same_bits, bits, device, digits, options};

/// Two convolutions with normalization, and a dense layer, for digits of 8 x 8.
pub fn normed(gpu: &Gpu, seed: u64) -> Network {
    let conv = |inputs| Conv2d::new(inputs, 4, 3).padding(Padding::all(1)).no_bias();
    Network::builder("Normed", [1, 8, 8])
        .conv2d("conv1", conv(1))
        .batch_norm2d("bn1", BatchNorm2d::new(4))
        .relu("relu1")
        .conv2d("conv2", conv(4).stride(2))
        .batch_norm2d("bn2", BatchNorm2d::new(4))
        .relu("relu2")
        .flatten("flatten")
        .dense("fc", Dense::new(64, 10))
        .build(gpu, seed)
        .unwrap()
}

/// 96 digits of that size, 6 steps in an epoch.
pub fn small_digits(gpu: &Gpu, size: usize) -> Feed {
    let normalization = Normalization { mean: vec![0.1307], deviation: vec![0.3081] };
    Feed::new(gpu, &digits().train.first(96), 16, [size, size], &normalization).unwrap()
}

/// 12 steps of a network, and what is done to them.
struct Course {
    simqat: SimQat,
    network: fn(&Gpu, u64) -> Network,
    freeze: Freeze,
    /// Batches that the observers see before the first step.
    calibrate: usize,
}

impl Course {
    fn of(simqat: SimQat) -> Course {
        Course { simqat, network: normed, freeze: Freeze::default(), calibrate: 0 }
    }

    fn trainer(&self, gpu: &Gpu, seed: u64, mode: RunMode) -> Trainer {
        let network = self.simqat.apply(&(self.network)(gpu, seed)).unwrap();
        let feed = small_digits(gpu, network.input_shape()[1]);
        Trainer::new(network, feed, TrainerOptions { epochs: 2, mode, ..options() }).unwrap()
    }

    /// Takes what is left of the 12 steps.
    fn finish(
        &self,
        mut trainer: Trainer,
        checkpoints: Option<&mut ModelCheckpoint>,
    ) -> Vec<(String, Vec<u32>)> {
        let mut freeze = self.freeze;
        let minutes = Duration::from_secs(600);
        let left = match checkpoints {
            Some(checkpoints) => trainer.run_for(minutes, &mut [&mut freeze, checkpoints]),
            None => trainer.run_for(minutes, &mut [&mut freeze]),
        };
        assert!(!left.unwrap() && trainer.steps_done() == 12);
        trainer.check_finite().unwrap();
        let end = bits(&trainer);
        let floats =
            trainer.network().parameters().iter().zip(&end).filter(|(_, (name, _))| !is_counter(name));
        for (_, (name, bits)) in floats {
            assert!(bits.iter().all(|&b| f32::from_bits(b).is_finite()), "{name}");
        }
        end
    }

    /// Stopped after each of `stops` steps and resumed, in both modes.
    fn assert_resumes(&self, stops: &[usize]) -> Vec<(String, Vec<u32>)> {
        let gpu = device();
        let folder = tempfile::tempdir().unwrap();
        let begun = |mode| {
            let mut trainer = self.trainer(&gpu, 1, mode);
            if self.calibrate > 0 {
                trainer.calibrate(self.calibrate).unwrap();
            }
            trainer
        };
        let mut checkpoints = ModelCheckpoint::new(folder.path(), "x", 1, 12, vec![]).unwrap();
        let whole = self.finish(begun(RunMode::Graph), Some(&mut checkpoints));
        assert_same_bits("eager", &self.finish(begun(RunMode::Eager), None), &whole);
        for stop in stops {
            let file = Checkpoint::read(folder.path().join(format!("x-{stop}.safetensors"))).unwrap();
            for mode in [RunMode::Graph, RunMode::Eager] {
                // Other values, to see that all of them are replaced.
                let mut trainer = self.trainer(&gpu, 99, mode);
                file.resume(&mut trainer).unwrap();
                assert_same_bits(
                    &format!("stopped after {stop}, {mode:?}"),
                    &self.finish(trainer, None),
                    &whole,
                );
            }
        }
        whole
    }
}

fn is_counter(name: &str) -> bool {
    name.ends_with(".steps")
}

fn value(end: &[(String, Vec<u32>)], name: &str) -> u32 {
    end.iter().find(|(n, _)| n == name).unwrap().1[0]
}

/// A delay, then freezing of statistics, then of ranges.
fn staged(fold: BnFold) -> SimQat {
    let mut simqat = SimQat::default().quant_delay(3).fold(fold);
    (simqat.freeze_bn, simqat.freeze_observers) = (6, 9);
    simqat
}

#[test]
fn lenet5_resumes_in_every_stage() {
    let mut simqat = SimQat::default().quant_delay(4);
    simqat.freeze_observers = 8;
    let network = |gpu: &Gpu, seed| lenet5(10, ModelInit::He).build(gpu, seed).unwrap();
    Course { network, ..Course::of(simqat) }.assert_resumes(&[2, 6, 10]);
}

#[test]
fn the_fold_of_two_convolutions_resumes_in_every_stage() {
    Course::of(staged(BnFold::TwoConv)).assert_resumes(&[2, 5, 7, 10]);
}

#[test]
fn the_fold_of_one_convolution_resumes_in_every_stage() {
    Course::of(staged(BnFold::OneConv)).assert_resumes(&[2, 5, 7, 10]);
}

#[test]
fn a_network_without_fold_resumes_in_every_stage() {
    Course::of(staged(BnFold::Without)).assert_resumes(&[2, 7]);
}

#[test]
fn learned_steps_resume_before_and_after_their_delay() {
    let simqat =
        SimQat::default().quant_delay(4).observer(Observer::LearnedStep, Observer::LearnedStep).bits(4, 4);
    let end = Course::of(simqat).assert_resumes(&[2, 4, 8]);
    assert!(f32::from_bits(value(&end, "fc.weight_quantizer.scale")) > 0.0);
}

#[test]
fn layers_with_options_of_their_own_resume() {
    let last = LayerOptions { weight_quant_delay: Some(8), weight_bits: Some(3), ..Default::default() };
    let first = LayerOptions { skip: Some(true), ..Default::default() };
    let simqat = staged(BnFold::TwoConv).for_layers("fc", last).for_layers("conv1", first);
    Course::of(simqat).assert_resumes(&[5, 9]);
}

#[test]
fn the_freeze_callback_resumes_before_and_after_it_acted() {
    for fold in [BnFold::TwoConv, BnFold::OneConv] {
        let simqat = SimQat::default().quant_delay(2).fold(fold);
        let course = Course { freeze: Freeze::default().observers(5).batch_norm(8), ..Course::of(simqat) };
        let end = course.assert_resumes(&[4, 5, 6, 8, 10]);
        assert_eq!(value(&end, "conv1.input_quantizer.steps"), FROZEN | 12);
        assert_eq!(value(&end, "bn1.steps"), FROZEN | 12);
    }
}

#[test]
fn a_calibrated_training_resumes() {
    let course = Course { calibrate: 3, ..Course::of(staged(BnFold::TwoConv)) };
    let end = course.assert_resumes(&[1, 7]);
    // Together, the batches of the calibration count as one step, for the observers alone.
    assert_eq!(value(&end, "conv1.input_quantizer.steps"), 13);
    assert_eq!(value(&end, "bn1.steps"), 12);
}
