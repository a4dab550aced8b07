//! The program from outside: what it prints where, with which exit code, and what it leaves alone.
#![cfg(feature = "cli")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

/// The shipped sample, 8 steps of 500 images, initial values with which something is learnt in them.
const RECIPE: &str = r#"
name = "tiny"
[model]
init = "he"
[data]
name = "mnist-5k"
batch = 500
sample_epochs = 1
[simqat.activations]
quant_delay = 2
[simqat.weights]
quant_delay = 2
"#;

/// A folder in which the program is started, with a recipe in it.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        place.write("tiny.toml", RECIPE.as_bytes());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("simqat"));
        command.args(arguments).current_dir(self.0.path()).env_remove("SIMQAT_DATA").env_remove("RUST_LOG");
        command
    }

    fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).output().unwrap())
    }

    /// Runs what must be refused: the exit code, one sentence, and every file as it was.
    #[track_caller]
    fn refused(&self, code: i32, arguments: &[&str], parts: &[&str]) {
        let before = self.files();
        let done = self.run(arguments);
        assert_eq!(done.code, Some(code), "{arguments:?}: {}", done.stderr);
        let errors: Vec<&str> = done.stderr.lines().filter(|line| line.starts_with("error:")).collect();
        assert_eq!(errors.len(), 1, "{arguments:?}: {}", done.stderr);
        assert_eq!(done.stderr.lines().last(), errors.last().copied(), "the error is the last line");
        for part in parts {
            assert!(errors[0].contains(part), "{arguments:?}: {part:?} is not in: {}", errors[0]);
        }
        assert!(done.stdout.is_empty(), "{}", done.stdout);
        assert_eq!(self.files().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        assert!(self.files() == before, "{arguments:?} changed a file");
    }

    /// Every file with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.0.path().to_path_buf()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
        }
        files
    }

    /// A checkpoint of the float network after 8 steps.
    fn with_checkpoint(self) -> Place {
        self.run(&["train", "tiny.toml"]).succeeded();
        self
    }
}

const CHECKPOINT: &str = "runs/tiny/checkpoints/float-8.safetensors";

struct Done {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Done {
    fn of(output: Output) -> Done {
        Done {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn succeeded(self) -> Done {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// The last line of stdout.
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(self.stdout.lines().last().unwrap_or_default()).expect("a line of JSON")
    }
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// Tensors of a checkpoint, to the bit.
fn tensors(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let content = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&content).unwrap();
    file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect()
}

/// The checkpoint with one tensor changed.
fn forge(content: &[u8], tensor: &str, change: impl Fn(&mut Vec<usize>, &mut Vec<u8>)) -> Vec<u8> {
    let file = SafeTensors::deserialize(content).unwrap();
    let (_, header) = SafeTensors::read_metadata(content).unwrap();
    let mut parts: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        .collect();
    let part = parts.iter_mut().find(|part| part.0 == tensor).unwrap();
    change(&mut part.2, &mut part.3);
    let views = parts.iter().map(|(name, dtype, shape, data)| {
        (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize(views, header.metadata().clone()).unwrap()
}

#[test]
fn every_command_has_help() {
    let place = Place::new();
    let commands: [&[&str]; 9] = [
        &[],
        &["info"],
        &["data"],
        &["data", "fetch"],
        &["run"],
        &["train"],
        &["eval"],
        &["bench"],
        &["bench", "step"],
    ];
    for command in commands {
        let done = place.run(&[command, &["--help"]].concat()).succeeded();
        assert!(done.stdout.contains("Usage:"), "{command:?}: {}", done.stdout);
    }
    assert_says(&place.run(&["--help"]).stdout, &["Exit codes: 0 done, 1 failed, 2 wrong usage or input"]);
}

#[test]
fn wrong_usage_ends_with_2() {
    let place = Place::new();
    let wrong: [&[&str]; 7] = [
        &[],
        &["fly"],
        &["run"],
        &["train"],
        &["run", "tiny.toml", "--epochs", "-1"],
        &["run", "tiny.toml", "--mode", "fast"],
        &["run", "tiny.toml", "--float-only", "--simqat-only"],
    ];
    for arguments in wrong {
        let done = place.run(arguments);
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.stderr);
    }
}

#[test]
fn info_lists_the_adapters_and_the_chosen_one() {
    let done = Place::new().run(&["info", "--json"]).succeeded();
    let info = done.json();
    let adapters = info["adapters"].as_array().unwrap();
    let names: Vec<&Value> = adapters.iter().map(|adapter| &adapter["name"]).collect();
    assert!(names.contains(&&info["chosen"]["name"]), "{info}");
    assert!(info["max_binding_bytes"].as_u64().unwrap() >= 128 << 20, "{info}");
    let text = Place::new().run(&["info"]).succeeded().stdout;
    assert_says(&text, &["* ", info["chosen"]["name"].as_str().unwrap(), "subgroups", "timestamps"]);
}

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
fn bench_step_times_every_configuration() {
    let place = Place::new();
    let done = place
        .run(&[
            "bench",
            "step",
            "--data",
            "mnist-5k",
            "--batch",
            "16,32",
            "--repetitions",
            "2",
            "--steps",
            "2",
            "--warm-up",
            "1",
            "--profile",
            "--json",
        ])
        .succeeded();
    let rows = done.json()["rows"].as_array().unwrap().clone();
    let mut seen: Vec<String> = rows
        .iter()
        .map(|row| {
            assert_eq!((&row["model"], &row["size"]), (&"lenet5".into(), &32.into()));
            let ms = |key: &str| row[key].as_f64().unwrap();
            assert!(0.0 < ms("ms_min") && ms("ms_min") <= ms("ms_median") && ms("ms_median") <= ms("ms_max"));
            format!("{} {} {}", row["batch"], row["quant"], row["mode"])
        })
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 8, "{seen:?}");
    assert_says(&done.stderr, &["warm-up that are not counted", "conv/", "us/step"]);
}

#[test]
fn recipes_with_mistakes_are_refused() {
    let place = Place::new().with_checkpoint();
    let cases: [(&str, &[&str]); 7] = [
        ("[trian]\nepochs = 2", &["bad.toml", "\"trian\"", "\"train\""]),
        ("[optimizer]\nlearning_rte = 0.1", &["\"optimizer.learning_rte\"", "\"learning_rate\""]),
        ("[data]\nbatch = 0", &["data.batch = 0", "at least 1"]),
        ("[optimizer]\nlearning_rate = -0.1", &["optimizer.learning_rate = -0.1"]),
        ("[optimizer]\nlearning_rate = nan", &["optimizer.learning_rate = NaN"]),
        ("[data]\nname = \"mnits\"", &["mnits", "did you mean mnist"]),
        ("[model]\ninit = \"hee\"", &["bad.toml", "hee"]),
    ];
    for (text, parts) in cases {
        place.write("bad.toml", format!("name = \"tiny\"\n{text}").as_bytes());
        place.refused(2, &["run", "bad.toml"], parts);
    }
    place.refused(2, &["run", "nowhere.toml"], &["nowhere.toml", "No such file"]);
    place.refused(2, &["run", "runs"], &["runs"]);
}

#[test]
fn options_with_mistakes_are_refused() {
    let place = Place::new().with_checkpoint();
    place.refused(2, &["run", "tiny.toml", "--batch", "0"], &["data.batch = 0"]);
    place.refused(2, &["run", "tiny.toml", "--batch", "4001"], &["data.batch = 4001", "4000 images"]);
    place.refused(2, &["run", "tiny.toml", "--epochs", "0"], &["train.epochs = 0"]);
    place.refused(2, &["run", "tiny.toml", "--name", "../up"], &["../up"]);
    place.refused(2, &["bench", "step", "--data", "mnist-5k", "--batch", "0"], &["data.batch = 0"]);
    place.refused(2, &["bench", "step", "--repetitions", "0"], &["--repetitions 0"]);

    let info = place.run(&["info", "--json"]).succeeded().json();
    let there = info["adapters"][0]["name"].as_str().unwrap().to_string();
    for command in [&["info"][..], &["run", "tiny.toml"], &["eval", CHECKPOINT]] {
        let arguments = [command, &["--adapter", "Voodoo 2"]].concat();
        place.refused(2, &arguments, &["\"Voodoo 2\"", &there]);
    }
}

#[test]
fn damaged_data_is_refused() {
    let place = Place::new().with_checkpoint();
    place.write("full.toml", RECIPE.replace("mnist-5k", "mnist").as_bytes());
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/mnist-5k");
    let names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
    let good: Vec<Vec<u8>> =
        names.iter().map(|name| std::fs::read(sample.join(format!("{name}-ubyte.gz"))).unwrap()).collect();
    let restore = || {
        for (name, bytes) in names.iter().zip(&good) {
            place.write(&format!("data/mnist/{name}-ubyte.gz"), bytes);
        }
    };
    let refused = |parts: &[&str]| place.refused(2, &["run", "full.toml", "--data-dir", "data"], parts);
    let images = "data/mnist/train-images-idx3-ubyte.gz";
    let labels = "data/mnist/train-labels-idx1-ubyte.gz";

    refused(&["data", "no such data folder", "--data-dir"]);
    restore();
    refused(&["this is not MNIST's file", "SHA-256"]);
    std::fs::remove_file(place.path(labels)).unwrap();
    refused(&["train-labels-idx1-ubyte", "missing"]);
    restore();
    place.write(images, &good[0][..good[0].len() / 2]);
    refused(&[images, "truncated"]);
    let mut flipped = good[0].clone();
    let crc = flipped.len() - 8;
    flipped[crc] ^= 1;
    place.write(images, &flipped);
    refused(&[images, "gzip stream is damaged"]);
    place.write(images, &good[1]);
    refused(&[images, "holds labels", "images"]);
    restore();
    place.write(labels, &good[3]);
    refused(&[labels, "1000 labels", "4000 images"]);
    let mut outside = [&[0, 0, 8, 1, 0, 0, 0x0f, 0xa0][..], &[3; 4000]].concat();
    outside[8 + 17] = 10;
    place.write(labels, &outside);
    refused(&[labels, "the label of picture 17 is 10, outside 0..10"]);
}

#[test]
fn damaged_checkpoints_are_refused() {
    let place = Place::new().with_checkpoint();
    let good = std::fs::read(place.path(CHECKPOINT)).unwrap();
    let refused = |bytes: &[u8], parts: &[&str]| {
        place.write("bad.safetensors", bytes);
        place.refused(2, &["eval", "bad.safetensors"], parts);
        place.refused(2, &["train", "tiny.toml", "--resume", "bad.safetensors"], parts);
    };
    refused(&good[..good.len() / 2], &["bad.safetensors", "truncated"]);
    refused(&good[..5], &["bad.safetensors", "truncated"]);
    refused(&[], &["bad.safetensors", "truncated"]);
    refused(b"no checkpoint at all, but some text", &["bad.safetensors"]);
    let poisoned =
        forge(&good, "fc2.weight", |_, data| data[40..44].copy_from_slice(&f32::NAN.to_le_bytes()));
    refused(&poisoned, &["\"fc2.weight\"", "NaN", "earlier checkpoint"]);
    let other = forge(&good, "fc1.weight", |shape, data| {
        shape[0] /= 2;
        data.truncate(data.len() / 2);
    });
    refused(&other, &["of another network", "\"fc1.weight\""]);

    place.refused(2, &["eval", "nowhere.safetensors"], &["nowhere.safetensors", "No such file"]);
    let resume = |options: &[&str], parts: &[&str]| {
        let arguments = [&["train", "tiny.toml", "--resume", CHECKPOINT][..], options].concat();
        place.refused(2, &arguments, parts);
    };
    resume(&["--seed", "2"], &["seed 1", "recipe says 2"]);
    resume(&["--batch", "250"], &["data.batch = 500", "250"]);
    resume(&["--simqat"], &["trained in float"]);
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
    use simqat::nn::models::{LeNet5Init, lenet5};
    use simqat::train::checkpoint::save_network;

    const LIMITED: &str = "SIMQAT_TEST_LIMITED";
    let network = lenet5(10, LeNet5Init::He).build(&simqat::gpu::Gpu::noop(), 1).unwrap();
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
            "trap '' XFSZ; ulimit -f 100; exec \"$0\" --exact a_full_disk_leaves_the_old_checkpoint",
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
#[cfg(unix)]
#[test]
fn ctrl_c_writes_a_checkpoint_from_which_the_same_bits_come() {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let place = Place::new();
    // A report after each step shows when the training is under way.
    place.write("tiny.toml", format!("{RECIPE}\n[train]\nlog_every = 1").as_bytes());
    let train = ["train", "tiny.toml", "--simqat", "--epochs", "4"];
    let child = place.command(&train).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    let metrics = place.path("runs/tiny/metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(start.elapsed() < Duration::from_secs(120), "the training does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
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
