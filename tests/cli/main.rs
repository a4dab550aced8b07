//! The program from outside: what it prints where, with which exit code, and what it leaves alone.
#![cfg(feature = "cli")]

mod bad_input;
mod bench;
mod check;
mod classes;
mod data;
mod deploy;
mod files;
mod inspect;
mod interrupt;
mod quantization;
mod training;

use std::collections::BTreeMap;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
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
            assert!(says(errors[0], part), "{arguments:?}: {part:?} is not in: {}", errors[0]);
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

/// True where the text has this part, in which a slash also stands for what separates folders on this system.
fn says(text: &str, part: &str) -> bool {
    text.contains(part) || text.replace(MAIN_SEPARATOR, "/").contains(part)
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(says(text, part), "{part:?} is not in: {text}");
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
    let commands: [&[&str]; 18] = [
        &[],
        &["info"],
        &["data"],
        &["data", "fetch"],
        &["run"],
        &["train"],
        &["eval"],
        &["calibrate"],
        &["inspect"],
        &["bench"],
        &["bench", "step"],
        &["bench", "loader"],
        &["bench", "infer"],
        &["convert"],
        &["parity"],
        &["infer"],
        &["import"],
        &["export"],
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
    let wrong: [&[&str]; 12] = [
        &[],
        &["fly"],
        &["run"],
        &["train"],
        &["run", "tiny.toml", "--epochs", "-1"],
        &["run", "tiny.toml", "--mode", "fast"],
        &["run", "tiny.toml", "--float-only", "--simqat-only"],
        &["train", "tiny.toml", "--from", "a", "--resume", "b"],
        &["train", "--from", "a"],
        &["run", "tiny.toml", "--set"],
        &["calibrate"],
        &["inspect"],
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
