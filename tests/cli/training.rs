//! Trainings: what they print and leave, and how they end.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{CHECKPOINT, Done, Place, RECIPE, assert_says, interrupt, tensors};

#[test]
fn run_trains_both_variants_and_ends_with_a_table() {
    let place = Place::new();
    let done = place.run(&["run", "tiny.toml"]).succeeded();
    let first = done.stderr.lines().next().unwrap();
    assert_says(first, &["MNIST sample: 4000 training and 1000 test images", "not comparable"]);
    assert_says(&done.stderr, &["adapter: ", "float   epoch 1/1  loss ", "SimQAT  epoch 1/1  loss "]);
    assert!(!done.stderr.contains('\r'), "no bar where there is no terminal");
    assert_says(
        &done.stdout,
        &[
            "test accuracy",
            "98.82 % / 98.94 %",
            "4.5 ms (CUDA GPU)",
            "kB",
            "SAMPLE",
            "not comparable",
            "first step",
            "runs/tiny",
        ],
    );

    let done = place.run(&["run", "tiny.toml", "--json", "--mode", "eager"]).succeeded();
    let summary = done.json();
    assert_eq!(done.stdout.lines().count(), 1, "the table gives way to the object");
    assert_eq!(
        (&summary["recipe"], &summary["seed"], &summary["sample"]),
        (&"tiny".into(), &1.into(), &true.into())
    );
    assert!(summary["first_step_s"].as_f64().unwrap() > 0.0);
    for variant in ["float", "simqat"] {
        let part = &summary[variant];
        assert!((0.2..1.0).contains(&part["top1"].as_f64().unwrap()), "{summary}");
        assert!(part["ms_per_step"].as_f64().unwrap() > 0.0);
        let checkpoint = place.path(&format!("runs/tiny/checkpoints/{variant}-8.safetensors"));
        assert_eq!(part["checkpoint_bytes"].as_u64().unwrap(), std::fs::metadata(checkpoint).unwrap().len());
    }
    let file = std::fs::read_to_string(place.path("runs/tiny/summary.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap(), summary);

    // The second run replaced the first one's lines: no step is there twice.
    let metrics = std::fs::read_to_string(place.path("runs/tiny/metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["loss"].is_number()).count(), 2, "{metrics}");
    assert_eq!(lines.iter().filter(|line| line["test"].is_object()).count(), 2, "{metrics}");

    let checkpoint = "runs/tiny/checkpoints/simqat-8.safetensors";
    let evaluated = place.run(&["eval", checkpoint, "--json"]).succeeded().json();
    assert_eq!(evaluated["top1"], summary["simqat"]["top1"]);
    assert_eq!((&evaluated["variant"], &evaluated["images"]), (&"simqat".into(), &1000.into()));
    assert_eq!(evaluated["split"], "test");
}

#[test]
fn the_best_checkpoint_is_picked_by_images_that_are_held_back() {
    let place = Place::new();
    let options = ["--set", "checkpoint.best=true", "--set", "data.sample_epochs=2", "--float-only"];
    let done = place.run(&[&["run", "tiny.toml"][..], &options].concat()).succeeded();
    assert_says(
        &done.stderr,
        &["checkpoint.best = true without data.validation", "picked by the test images"],
    );

    let held = ["--set", "data.validation=0.25", "--name", "held", "--json"];
    let done = place.run(&[&["run", "tiny.toml"][..], &options, &held].concat()).succeeded();
    let epochs = done.stderr.lines().filter(|line| line.contains("epoch "));
    assert!(epochs.clone().count() == 2 && epochs.clone().all(|line| line.contains("  validation accuracy")));
    assert!(!done.stderr.contains("picked by the test images"), "{}", done.stderr);
    let summary = done.json();
    let metrics = std::fs::read_to_string(place.path("runs/held/metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // 3000 of the sample's 4000 training images are left: 6 steps of 500 in an epoch.
    assert_eq!(lines.last().unwrap()["step"], 12, "{metrics}");
    let watched: Vec<&Value> =
        lines.iter().map(|line| &line["validation"]).filter(|v| v.is_object()).collect();
    assert!(watched.len() == 2 && lines.iter().all(|line| line["test"].is_null()), "{metrics}");
    assert!(watched.iter().all(|found| found["images"] == 1000), "{metrics}");
    assert_eq!(watched[1]["top1"], summary["float"]["validation_top1"]);
    // The test images are measured at the end.
    let evaluated =
        place.run(&["eval", "runs/held/checkpoints/float-12.safetensors", "--json"]).succeeded().json();
    assert_eq!((&evaluated["top1"], &evaluated["images"]), (&summary["float"]["top1"], &1000.into()));

    let all = ["run", "tiny.toml", "--name", "all", "--set", "data.validation=4000"];
    place.refused(2, &all, &["data.validation = 4000", "4000 training images"]);
    let missing = ["run", "tiny.toml", "--name", "gone", "--set", "data.validation=nowhere"];
    place.refused(2, &missing, &["nowhere"]);
}

#[test]
fn training_accuracy_is_that_of_the_images_trained_on() {
    let place = Place::new();
    let few = ["--set", "data.limit=600", "--set", "data.batch=200", "--epochs", "8"];
    place.run(&[&["train", "tiny.toml"][..], &few].concat()).succeeded();
    let checkpoint = "runs/tiny/checkpoints/float-24.safetensors";
    let on = |split: &str| place.run(&["eval", checkpoint, "--split", split, "--json"]).succeeded().json();
    let (train, test) = (on("train"), on("test"));
    assert_eq!((&train["images"], &train["split"]), (&600.into(), &"train".into()));
    assert_eq!((&test["images"], &test["split"]), (&1000.into(), &"test".into()));
    assert_ne!(train["loss"], test["loss"]);
    let text = place.run(&["eval", checkpoint, "--split", "train"]).succeeded().stdout;
    assert_says(&text, &["training accuracy", "of 600)", "training loss", "top-5 accuracy"]);
    let wrong = place.run(&["eval", checkpoint, "--split", "validation"]);
    assert_eq!(wrong.code, Some(2));
    assert_says(&wrong.stderr, &["validation", "test, train"]);
}

#[test]
fn quiet_means_results_alone() {
    let done = Place::new().run(&["run", "tiny.toml", "--quiet", "--float-only"]).succeeded();
    assert_eq!(done.stderr, "");
    assert_says(&done.stdout, &["test accuracy", "float"]);
}

#[test]
fn a_flat_loss_is_said_with_a_way_out() {
    let place = Place::new();
    place.write("flat.toml", RECIPE.replace("\"he\"", "\"model_zoo\"").as_bytes());
    let done = place.run(&["train", "flat.toml"]).succeeded();
    assert_says(&done.stderr, &["still flat after the first epoch", "init = \"he\""]);
}

#[test]
fn divergence_stops_with_step_and_layer_and_keeps_the_last_good_checkpoint() {
    let place = Place::new().with_checkpoint();
    let before = tensors(&place.path(CHECKPOINT));
    place.write("wild.toml", format!("{RECIPE}\n[optimizer]\nlearning_rate = 1e9").as_bytes());
    let done = place.run(&["train", "wild.toml", "--resume", CHECKPOINT, "--epochs", "3"]);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    let error = done.stderr.lines().last().unwrap();
    assert_says(error, &["error: the loss became NaN or infinite at step ", "optimizer.learning_rate"]);
    assert_says(error, &["layer \"", &format!("the last good checkpoint is {CHECKPOINT}")]);
    assert_eq!(tensors(&place.path(CHECKPOINT)), before);
    assert_eq!(std::fs::read_dir(place.path("runs/tiny/checkpoints")).unwrap().count(), 1);
}

/// A limit on the size of files stands in for the full disk: the write of a checkpoint fails in the middle. The
/// limited process is this test once more, on wgpu's device that computes nothing: software drivers keep the
/// GPU's memory in files, and the limit would hit them first.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_checkpoint() {
    use std::process::Command;

    use simqat::nn::models::{ModelInit, lenet5};
    use simqat::train::checkpoint::save_network;

    const LIMITED: &str = "SIMQAT_TEST_LIMITED";
    let network = lenet5(10, ModelInit::He).build(&simqat::gpu::Gpu::noop(), 1).unwrap();
    if let Some(path) = std::env::var_os(LIMITED) {
        let error = save_network(&network, &path).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        assert_says(&error.to_string(), &[path.to_str().unwrap(), "File too large"]);
        return;
    }
    let place = Place::new();
    let path = place.path("old.safetensors");
    save_network(&network, &path).unwrap();
    let before = place.files();
    let output = Command::new("bash")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 100; exec \"$0\" --exact training::a_full_disk_leaves_the_old_checkpoint",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, &path)
        .output()
        .unwrap();
    let limited = Done::of(output).succeeded();
    assert_says(&limited.stdout, &["1 passed"]);
    assert!(place.files() == before, "the old file is whole, and nothing is beside it");
}

/// Interrupted and resumed as the program says, the end is that of a training without a stop, to the bit.
#[test]
fn ctrl_c_writes_a_checkpoint_from_which_the_same_bits_come() {
    let place = Place::new();
    // A report after each step shows when the training is under way.
    place.write("tiny.toml", format!("{RECIPE}\n[train]\nlog_every = 1").as_bytes());
    let train = ["train", "tiny.toml", "--simqat", "--epochs", "4"];
    let mut command = place.command(&train);
    interrupt::prepare(&mut command);
    let child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    let metrics = place.path("runs/tiny/metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(start.elapsed() < Duration::from_secs(120), "the training does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt::press(&child);
    let done = Done::of(child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(130), "{}", done.stderr);
    let last = done.stderr.lines().last().unwrap();
    let command = last.split_once("go on with: simqat ").expect("how to go on").1;
    let mut resume: Vec<&str> = command.split(' ').collect();
    let stopped_at = tensors(&place.path(resume[2]));

    resume.push("--json");
    let resumed = place.run(&resume).succeeded().json();
    let end = "runs/tiny/checkpoints/simqat-32.safetensors";
    let with_stop = tensors(&place.path(end));
    assert!(with_stop != stopped_at, "it was stopped before the end");

    let straight = place.run(&[&train[..], &["--name", "straight", "--json"]].concat()).succeeded().json();
    assert!(tensors(&place.path(&end.replace("tiny", "straight"))) == with_stop, "the bits differ");
    assert_eq!(straight["simqat"]["top1"], resumed["simqat"]["top1"]);
}
