//! Training as a whole: the same bits however the steps are run, and a loss that falls.

use std::time::{Duration, Instant};

use super::{Case, Trial};
use crate::data::Split;
use crate::deploy::parity::Comparison;
use crate::deploy::{CpuEngine, Engine, GpuEngine, convert};
use crate::gpu::Gpu;
use crate::nn::Network;
use crate::nn::models::{ModelInit, convbn, lenet5};
use crate::optim::MomentumOptions;
use crate::quant::SimQat;
use crate::tensor::DType;
use crate::train::checkpoint::{Checkpoint, save_training};
use crate::train::{Feed, Normalization, RunMode, Trainer, TrainerOptions, evaluate};
use crate::{Error, Result};

pub(super) const FAMILY: &str = "training";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "LeNet5 in float: eager, recorded and resumed", float_steps),
    Case::new(FAMILY, "LeNet5 with SimQAT: eager, recorded and resumed", quantized_steps).on_both(),
    Case::new(FAMILY, "BatchNorm folded by two convolutions: eager, recorded and resumed", folded_steps),
    Case::new(FAMILY, "a quantized LeNet5 learns, and its integer network agrees on CPU and GPU", learns),
];

const IMAGES: usize = 320;
const BATCH: usize = 32;
const CLASSES: usize = 10;
/// [H, W] as LeNet5 takes them.
const SIZE: [usize; 2] = [32, 32];

/// Pictures [1, 28, 28] that can be told apart: a bright bar whose place is the class, in noise.
fn pictures(t: &Trial<'_>) -> Result<Split> {
    let mut draw = t.draw(60);
    let labels: Vec<u32> = (0..IMAGES as u32).map(|i| i % CLASSES as u32).collect();
    let mut bytes = Vec::with_capacity(IMAGES * 28 * 28);
    for &label in &labels {
        let (vertical, place) = (label % 2 == 1, 2 + 5 * (label as usize / 2));
        for pixel in 0..28 * 28 {
            let along = if vertical { pixel % 28 } else { pixel / 28 };
            let lit = (place..place + 4).contains(&along);
            bytes.push(draw.between(0, 60) as u8 + if lit { 180 } else { 0 });
        }
    }
    Split::new([1, 28, 28], bytes, labels, CLASSES)
}

/// The pictures resized to `size` [H, W].
fn feed(t: &Trial<'_>, size: [usize; 2]) -> Result<Feed> {
    let normalization = Normalization { mean: vec![0.2], deviation: vec![0.3] };
    Feed::new(t.gpu(), &pictures(t)?, BATCH, size, &normalization)
}

fn options(mode: RunMode) -> TrainerOptions {
    let optimizer = MomentumOptions { learning_rate: 0.01, momentum: 0.9, weight_decay: 1e-4 };
    TrainerOptions { mode, optimizer, ..TrainerOptions::default() }
}

fn float_steps(t: &mut Trial<'_>) -> Result<()> {
    let gpu = t.gpu();
    same_bits(t, SIZE, || lenet5(CLASSES, ModelInit::He).build(gpu, 1))
}

fn quantized_steps(t: &mut Trial<'_>) -> Result<()> {
    let gpu = t.gpu();
    // Quantization begins between the stop and the end.
    let simqat = SimQat::default().quant_delay(3);
    same_bits(t, SIZE, || simqat.apply(&lenet5(CLASSES, ModelInit::He).build(gpu, 1)?))
}

fn folded_steps(t: &mut Trial<'_>) -> Result<()> {
    let gpu = t.gpu();
    same_bits(t, [28, 28], || SimQat::default().apply(&convbn(CLASSES).build(gpu, 1)?))
}

/// How long it takes from `start` to the end of a first step, and how long the second step takes: a user's cold start.
pub(super) fn first_steps(gpu: &Gpu, start: Instant) -> Result<[Duration; 2]> {
    let t = &Trial::new(gpu, 0);
    let network = SimQat::default().apply(&lenet5(CLASSES, ModelInit::He).build(gpu, 1)?)?;
    let mut trainer = Trainer::new(network, feed(t, SIZE)?, options(RunMode::Eager))?;
    trainer.step()?;
    gpu.wait()?;
    let first = start.elapsed();
    trainer.step()?;
    gpu.wait()?;
    Ok([first, start.elapsed() - first])
}

/// Four steps in one go and recorded, eager, and stopped half way and resumed from the file.
fn same_bits(t: &mut Trial<'_>, size: [usize; 2], network: impl Fn() -> Result<Network>) -> Result<()> {
    let steps = 4;
    let trainer = |t: &Trial<'_>, mode| Trainer::new(network()?, feed(t, size)?, options(mode));
    let run = |trainer: &mut Trainer, steps: usize| (0..steps).try_for_each(|_| trainer.step());
    let mut recorded = trainer(t, RunMode::Graph)?;
    let untrained = bits(&recorded)?;
    run(&mut recorded, steps)?;
    // A step that gives NaN is left out, and runs that all stand still are alike.
    recorded.check_finite()?;
    let expected = bits(&recorded)?;
    t.that("every parameter that trains has moved", has_moved(&recorded, &untrained, &expected))?;
    drop(recorded);
    let mut eager = trainer(t, RunMode::Eager)?;
    run(&mut eager, steps)?;
    compare(t, "eager", &bits(&eager)?, &expected)?;
    drop(eager);
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let file = folder.path().join("half.safetensors");
    let mut first = trainer(t, RunMode::Graph)?;
    run(&mut first, steps / 2)?;
    save_training(&first, &file, &[])?;
    drop(first);
    let mut second = trainer(t, RunMode::Graph)?;
    Checkpoint::read(&file)?.resume(&mut second)?;
    run(&mut second, steps - steps / 2)?;
    compare(t, "resumed", &bits(&second)?, &expected)
}

/// Bits of everything that training changes, by name.
fn bits(trainer: &Trainer) -> Result<Vec<(String, Vec<u32>)>> {
    let velocities = trainer.velocities().map(|(name, tensor)| (format!("velocity of {name}"), tensor));
    let parameters = trainer.network().parameters().iter().map(|p| (p.name.clone(), &p.tensor));
    parameters
        .chain(velocities)
        .map(|(name, tensor)| {
            let words = match tensor.dtype() {
                DType::F32 => tensor.read_f32()?.into_iter().map(f32::to_bits).collect(),
                DType::U32 => tensor.read_u32()?,
            };
            Ok((name, words))
        })
        .collect()
}

/// True if no trainable parameter has all its bits from before.
fn has_moved(trainer: &Trainer, before: &[(String, Vec<u32>)], after: &[(String, Vec<u32>)]) -> bool {
    let parameters = trainer.network().parameters().iter();
    parameters.zip(before.iter().zip(after)).all(|(p, (before, after))| !p.trainable || before != after)
}

fn compare(
    t: &mut Trial<'_>,
    what: &str,
    found: &[(String, Vec<u32>)],
    expected: &[(String, Vec<u32>)],
) -> Result<()> {
    let names = |all: &[(String, Vec<u32>)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    t.same(format_args!("{what}: names"), &names(found), &names(expected))?;
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        t.same(format_args!("{what}: {name}"), found, expected)?;
    }
    Ok(())
}

/// Ninety steps tell ten plain patterns apart, on any device that computes gradients rightly.
fn learns(t: &mut Trial<'_>) -> Result<()> {
    let network =
        SimQat::default().quant_delay(20).apply(&lenet5(CLASSES, ModelInit::He).build(t.gpu(), 1)?)?;
    let mut trainer = Trainer::new(network, feed(t, SIZE)?, options(RunMode::Graph))?;
    (0..90).try_for_each(|_| trainer.step())?;
    let test = feed(t, SIZE)?;
    let wrong = 1.0 - evaluate(trainer.network(), &test)?.top1();
    t.within("share of pictures that the trained network gets wrong", wrong, 0.02)?;

    let conversion = convert(trainer.network())?;
    let engines: Vec<(String, Box<dyn Engine>)> = vec![
        ("CPU".into(), Box::new(CpuEngine::new(&conversion.model)?)),
        ("GPU".into(), Box::new(GpuEngine::new(t.gpu(), &conversion.model)?)),
    ];
    let mut comparison = Comparison::new(trainer.network(), &conversion, engines)?;
    test.each_batch(t.gpu(), |images, labels| comparison.add(images, labels).map(|_| ()))?;
    let found = comparison.found();
    t.same("codes of the GPU engine that differ from the CPU engine's", &[found.engines[0].differ], &[0])?;
    // Sums of the simulated layers are rounded to f32, so a value within their last digits of the middle between two
    // codes may get the other one: about one in a million.
    let (codes, differ) = found
        .layers
        .iter()
        .fold((0, 0), |(codes, differ), layer| (codes + layer.codes, differ + layer.differ));
    t.within("share of codes that differ from the simulated network's", differ as f64 / codes as f64, 1e-4)
}
