//! Calibration and what follows it; statistics estimated anew; trainings that start from a checkpoint's values.

use std::path::Path;

use simqat::data::Dataset;
use simqat::gpu::Gpu;
use simqat::nn::models::ModelInit;
use simqat::nn::{BnFold, Network};
use simqat::quant::{Observer, SimQat};
use simqat::tensor::DType;
use simqat::train::checkpoint::{Checkpoint, save_network, save_training};
use simqat::train::{
    Callback, Job, PostTraining, Recipe, RunFolder, RunMode, StopFlag, Trainer, TrainerOptions, Variant,
};

use super::stages::{normed, small_digits};
use super::{assert_same_bits, bits, device, digits, few_digits, network, options, steps, told};

/// LeNet5 on few digits.
fn recipe() -> Recipe {
    let mut recipe = Recipe::default();
    recipe.model.init = ModelInit::He;
    recipe.train.calibrate_batches = 4;
    recipe
}

fn few() -> Dataset {
    Dataset::new("few", digits().train.first(960), digits().test.first(250), 10).unwrap()
}

/// A checkpoint of the float network after 60 steps.
fn trained(gpu: &Gpu, folder: &Path) -> Checkpoint {
    let file = folder.join("float");
    let mut trainer = Trainer::new(network(gpu, None), few_digits(gpu), options()).unwrap();
    steps(&mut trainer, 60);
    save_training(&trainer, &file, &[]).unwrap();
    Checkpoint::read(&file).unwrap()
}

fn counters(network: &Network) -> Vec<(&str, u32)> {
    let counters = network.parameters().iter().filter(|p| p.tensor.dtype() == DType::U32);
    counters.map(|p| (p.name.as_str(), p.tensor.read_u32().unwrap()[0])).collect()
}

#[test]
fn calibration_alone_keeps_the_accuracy_and_makes_a_checkpoint() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let float = trained(&gpu, folder.path());
    let (recipe, data) = (recipe(), few());
    let done = PostTraining::of(&gpu, &recipe, &float, &data).unwrap();
    // 2 of 250 images when this was written.
    assert!((done.after.top1() - done.before.top1()).abs() <= 0.04, "{:?} {:?}", done.before, done.after);
    assert!(done.before.top1() > 0.6 && done.after.loss != done.before.loss);
    assert!(done.findings.is_empty());
    let file = folder.path().join("calibrated");
    done.save(&file).unwrap();
    let saved = Checkpoint::read(&file).unwrap();
    assert_eq!((saved.metadata("variant"), saved.step(), saved.is_quantized()), (Some("simqat"), None, true));
    assert_eq!(saved.metadata("calibrated"), Some("4 batches of 32 images"));
    assert_eq!(Recipe::parse(saved.metadata("recipe").unwrap()).unwrap(), recipe);

    // The same ranges as those of a training that calibrates first.
    let quantized = recipe.simqat.apply(&recipe.network(&gpu, 10).unwrap()).unwrap();
    float.load_into(&quantized).unwrap();
    let mut trainer = Trainer::new(quantized, few_digits(&gpu), options()).unwrap();
    trainer.calibrate(4).unwrap();
    let of = |network: &Network, name: &str| network.parameter(name).unwrap().tensor.read_f32().unwrap();
    for name in ["conv1.input_quantizer.max", "relu4.output_quantizer.max", "fc3.weight_quantizer.min"] {
        assert_eq!(of(&done.network, name), of(trainer.network(), name), "{name}");
    }

    // What pictures go through for training is not for a network that is not trained.
    let mut augmented = recipe.clone();
    (augmented.data.augment.flip, augmented.data.augment.random_crop) = (true, 20);
    let same = PostTraining::of(&gpu, &augmented, &float, &data).unwrap();
    for parameter in done.network.parameters().iter().filter(|p| p.tensor.dtype() == DType::F32) {
        assert_eq!(
            of(&same.network, &parameter.name),
            parameter.tensor.read_f32().unwrap(),
            "{}",
            parameter.name
        );
    }

    let refused = |change: fn(&mut Recipe), parts: &[&str]| {
        let mut recipe = recipe.clone();
        change(&mut recipe);
        let error = told(PostTraining::of(&gpu, &recipe, &float, &data));
        assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
    };
    refused(|r| r.train.calibrate_batches = 0, &["train.calibrate_batches = 0", "at least 1"]);
    refused(|r| r.train.calibrate_batches = 31, &["train.calibrate_batches = 31", "at most 30"]);
    refused(|r| r.simqat.weights.bits = 9, &["simqat.weights.bits = 9"]);
    refused(|r| r.model.name = "convbn".into(), &["another network (LeNet5)", "ConvBn", "conv1.weight"]);
    let error = told(PostTraining::of(&gpu, &recipe, &saved, &data));
    assert!(error.contains("quantized already"), "{error}");
}

#[test]
fn a_training_from_calibrated_values_counts_its_own_steps() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let float = trained(&gpu, folder.path());
    let (recipe, data) = (recipe(), few());
    let file = folder.path().join("calibrated");
    PostTraining::of(&gpu, &recipe, &float, &data).unwrap().save(&file).unwrap();
    let from = Checkpoint::read(&file).unwrap();
    let mut recipe = recipe;
    recipe.train.calibrate_batches = 0;
    let run = RunFolder::new(folder.path(), &recipe).unwrap();
    let stop = StopFlag::default();
    let job = Job {
        recipe: &recipe,
        variant: Variant::SimQat,
        data: &data,
        folder: &run,
        resume: None,
        from: Some(&from),
        stop: &stop,
    };
    let mut trainer = job.trainer(&gpu).unwrap();
    assert!(trainer.steps_done() == 0 && counters(trainer.network()).iter().all(|(_, count)| *count == 1));
    let max = |trainer: &Trainer| {
        trainer.network().parameter("conv1.input_quantizer.max").unwrap().tensor.read_f32().unwrap()[0]
    };
    let before = max(&trainer);
    let after = {
        trainer.step().unwrap();
        max(&trainer)
    };
    // A moving average of what all batches of digits have: nearly nothing.
    assert!((after - before).abs() < 0.02 * before, "{before} {after}");
    trainer.check_finite().unwrap();
}

#[test]
fn a_start_from_a_checkpoint_clears_counters_and_marks() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    let float = normed(&gpu, 1);
    let mut trainer = Trainer::new(float, small_digits(&gpu, 8), options()).unwrap();
    steps(&mut trainer, 5);
    trainer.network().freeze_batch_norm(true).unwrap();
    save_network(trainer.network(), &file).unwrap();
    let from = Checkpoint::read(&file).unwrap();
    let mut simqat = SimQat::default().observer(Observer::LearnedStep, Observer::LearnedStep);
    simqat.freeze_bn = 3;
    let quantized = simqat.apply(&normed(&gpu, 2)).unwrap();
    from.start(&quantized).unwrap();
    assert!(counters(&quantized).iter().all(|(_, count)| *count == 0), "{:?}", counters(&quantized));
    let values = |network: &Network, name: &str| network.parameter(name).unwrap().tensor.read_f32().unwrap();
    for name in ["conv1.weight", "bn2.gamma", "bn1.running_var"] {
        assert_eq!(values(&quantized, name), values(trainer.network(), name), "{name}");
    }
    // With the float training's count, the statistics would stand still from the first step.
    let mut second = Trainer::new(quantized, small_digits(&gpu, 8), options()).unwrap();
    let before = values(second.network(), "bn1.running_var");
    second.step().unwrap();
    assert_ne!(values(second.network(), "bn1.running_var"), before);
}

#[test]
fn statistics_estimated_anew_behind_a_training_move_weight_ranges_and_nothing_else() {
    let gpu = device();
    for fold in [BnFold::TwoConv, BnFold::OneConv] {
        let run = |mode, again: bool| {
            let network = SimQat::default().fold(fold).apply(&normed(&gpu, 1)).unwrap();
            let feed = small_digits(&gpu, 8);
            let mut trainer = Trainer::new(network, feed, TrainerOptions { mode, ..options() }).unwrap();
            steps(&mut trainer, 8);
            if again {
                trainer.reestimate_batch_norm(3).unwrap();
                trainer.reestimate_batch_norm(3).unwrap();
            }
            bits(&trainer)
        };
        let (plain, anew) = (run(RunMode::Graph, false), run(RunMode::Graph, true));
        assert_same_bits("eager", &run(RunMode::Eager, true), &anew);
        let changed: Vec<&str> =
            plain.iter().zip(&anew).filter(|(a, b)| a != b).map(|((name, _), _)| name.as_str()).collect();
        let statistics: Vec<String> =
            ["bn1.running_mean", "bn1.running_var", "bn2.running_mean", "bn2.running_var"]
                .map(String::from)
                .into();
        // Weights are folded with the statistics, and the last step moved them; so their ranges follow.
        let follows = |name: &&str| name.contains(".weight_quantizer.") || name.ends_with(".steps");
        let moved: Vec<&str> = changed.into_iter().filter(|name| !follows(name)).collect();
        assert_eq!(moved, statistics);
    }
}

struct Nobody;
impl Callback for Nobody {}

#[test]
fn a_job_estimates_statistics_anew_before_its_last_checkpoint() {
    let gpu = device();
    let folder = tempfile::tempdir().unwrap();
    let data = Dataset::new("few", digits().train.first(96), digits().test.first(64), 10).unwrap();
    let run = |batches: usize| {
        let mut recipe = Recipe::parse(include_str!("../../recipes/convbn-mnist.toml")).unwrap();
        recipe.name = format!("anew-{batches}");
        (recipe.data.batch, recipe.train.epochs, recipe.train.reestimate_batches) = (32, 1, batches);
        let run = RunFolder::new(folder.path(), &recipe).unwrap();
        let (variant, stop) = (Variant::SimQat, StopFlag::default());
        let job = Job {
            recipe: &recipe,
            variant,
            data: &data,
            folder: &run,
            resume: None,
            from: None,
            stop: &stop,
        };
        let done = job.run(&gpu, &mut Nobody).unwrap();
        let network = recipe.variant_network(&gpu, 10, variant).unwrap();
        Checkpoint::read(&done.checkpoint).unwrap().load_into(&network).unwrap();
        (network, done.summary.unwrap().top1)
    };
    let ((plain, _), (anew, top1)) = (run(0), run(2));
    let of = |network: &Network, name: &str| network.parameter(name).unwrap().tensor.read_f32().unwrap();
    assert_eq!(of(&plain, "conv1.weight"), of(&anew, "conv1.weight"));
    assert_ne!(of(&plain, "bn1.running_mean"), of(&anew, "bn1.running_mean"));
    // The accuracy that is told is that of the checkpoint.
    let recipe = Recipe::parse(include_str!("../../recipes/convbn-mnist.toml")).unwrap();
    let test = recipe.test_feed(&anew, &data).unwrap();
    assert_eq!(simqat::train::evaluate(&anew, &test).unwrap().top1(), top1);
}
