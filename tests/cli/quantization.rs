//! From a float network to a quantized one: `calibrate`, `--from`, and options that are set for one run.

use super::{CHECKPOINT, Place, assert_says, tensors};

const CALIBRATED: &str = "runs/tiny/checkpoints/float-8-calibrated.safetensors";

#[test]
fn a_calibrated_checkpoint_can_be_evaluated_and_trained_on() {
    let place = Place::new().with_checkpoint();
    let set = ["--set", "simqat.layer.\"fc*\".weight_bits=5"];
    let done = place.run(&[&["calibrate", CHECKPOINT, "--batches", "4"][..], &set].concat()).succeeded();
    assert_says(
        &done.stdout,
        &["float", "calibrated", "test accuracy", "top-5 accuracy", "4 batches of 500 images", CALIBRATED],
    );
    let done = place.run(&[&["calibrate", CHECKPOINT, "--json", "--batches", "4"][..], &set].concat());
    let json = done.succeeded().json();
    let top1 = |variant: &str| json[variant]["top1"].as_f64().unwrap();
    // Five bits in three layers cost some of what eight steps have taught.
    assert!((top1("float") - top1("simqat")).abs() < 0.1, "{json}");
    assert_eq!((&json["batches"], &json["batch"], &json["images"]), (&4.into(), &500.into(), &1000.into()));
    let float = place.run(&["eval", CHECKPOINT, "--json"]).succeeded().json();
    assert_eq!((&float["top1"], &float["top5"]), (&json["float"]["top1"], &json["float"]["top5"]));
    assert!(float["top5"].as_f64().unwrap() > top1("float"));
    let evaluated = place.run(&["eval", CALIBRATED, "--json"]).succeeded().json();
    assert_eq!((&evaluated["top1"], &evaluated["variant"]), (&json["simqat"]["top1"], &"simqat".into()));
    assert_says(&place.run(&["eval", CALIBRATED]).succeeded().stdout, &["SimQAT, calibrated with 4 batches"]);

    // Weights are the float ones; a recipe's own number of batches is the default.
    let (before, after) = (tensors(&place.path(CHECKPOINT)), tensors(&place.path(CALIBRATED)));
    assert_eq!(before["fc1.weight"], after["fc1.weight"]);
    let elsewhere = ["calibrate", CHECKPOINT, "--set", "train.calibrate_batches=2", "--out", "here"];
    place.run(&[&elsewhere[..], &set].concat()).succeeded();
    assert_ne!(tensors(&place.path("here")), after);

    let from = ["train", "tiny.toml", "--simqat", "--from", CALIBRATED, "--name", "tuned", "--json"];
    let tuned = place.run(&[&from[..], &set].concat()).succeeded().json();
    assert!(tuned["simqat"]["top1"].as_f64().unwrap() > top1("simqat"), "{tuned} {json}");
    // It is a network, not a training.
    place.refused(2, &["train", "--resume", CALIBRATED], &[CALIBRATED, "network alone"]);
    place.refused(2, &["calibrate", CALIBRATED], &[CALIBRATED, "quantized already"]);
}

#[test]
fn calibrations_that_cannot_be_are_refused() {
    let place = Place::new().with_checkpoint();
    let refused = |options: &[&str], parts: &[&str]| {
        place.refused(2, &[&["calibrate", CHECKPOINT][..], options].concat(), parts);
    };
    refused(&["--batches", "0"], &["train.calibrate_batches = 0", "at least 1"]);
    refused(&["--batches", "9"], &["train.calibrate_batches = 9", "at most 8"]);
    refused(&["--out", CHECKPOINT], &[CHECKPOINT, "--out"]);
    refused(&["--batches", "1", "--out", "no/such/folder"], &["no/such/folder"]);
    refused(&["--set", "model.name=convbn"], &["another network (LeNet5)", "ConvBn", "conv1.weight"]);
    place.refused(2, &["calibrate", "nowhere"], &["nowhere", "(os error 2)"]);
    place.refused(2, &["calibrate", "tiny.toml"], &["tiny.toml"]);
}

#[test]
fn a_training_starts_from_the_values_of_a_checkpoint() {
    let place = Place::new().with_checkpoint();
    let start = place.run(&["eval", CHECKPOINT, "--json"]).succeeded().json()["top1"].as_f64().unwrap();
    let run = ["run", "tiny.toml", "--from", CHECKPOINT, "--name", "second", "--json"];
    let summary = place.run(&run).succeeded().json();
    for variant in ["float", "simqat"] {
        assert!(summary[variant]["top1"].as_f64().unwrap() > start, "{summary}, from {start}");
    }
    let other = ["--set", "model.name=convbn", "--from", CHECKPOINT];
    for command in [&["train", "tiny.toml", "--simqat"][..], &["train", "tiny.toml"], &["run", "tiny.toml"]] {
        let arguments = [command, &other].concat();
        place.refused(2, &arguments, &[CHECKPOINT, "another network (LeNet5)", "ConvBn"]);
    }
    place.refused(2, &["train", "tiny.toml", "--from", "nowhere"], &["nowhere", "(os error 2)"]);
}

#[test]
fn a_resumed_training_takes_assignments_over_its_checkpoint_s_recipe() {
    let place = Place::new().with_checkpoint();
    let more =
        ["train", "--resume", CHECKPOINT, "--set", "data.sample_epochs=2", "--set", "optimizer.momentum=0.8"];
    let done = place.run(&more).succeeded();
    assert_says(&done.stderr, &["warning: [optimizer] is not what the checkpoint was trained with"]);
    assert!(place.path("runs/tiny/checkpoints/float-16.safetensors").exists());
    let recipe = std::fs::read_to_string(place.path("runs/tiny/recipe.toml")).unwrap();
    assert_says(&recipe, &["momentum = 0.8"]);
}
