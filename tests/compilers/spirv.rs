//! The rules of SPIR-V in Vulkan's dialects, by Khronos' validator.

use std::fs;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::batch::{self, Job, Written};
use crate::report::{Run, conclude};
use crate::scratch;
use crate::translate::Form;

/// What SPIR-V of each version is held to.
const TARGETS: [((u8, u8), &str); 2] = [((1, 3), "vulkan1.1"), ((1, 6), "vulkan1.3")];

pub fn run() {
    let version = version();
    let mut runs = Vec::new();
    for (spirv, target) in TARGETS {
        for checked in [false, true] {
            let form = Form::Spirv { version: spirv, checked };
            let written = batch::write(scratch("spirv-val").join(form.to_string()), form, |_| true);
            let planted = plant(&written);
            assert!(validate(&written, target, &planted).is_err(), "spirv-val takes a faulty shader");
            runs.push(validate_all(written, target, &version, format!("{form}, {target}")));
        }
    }
    conclude(&runs);
}

fn spirv_val() -> Command {
    Command::new("spirv-val")
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("spirv-val does not start ({e}); install spirv-tools"))
}

/// "SPIRV-Tools v2023.1 ..." of the first line.
fn version() -> String {
    let told = output(spirv_val().arg("--version")).stdout;
    let told = String::from_utf8_lossy(&told).to_string();
    told.split_whitespace().find(|word| word.starts_with('v')).unwrap_or("unknown").to_string()
}

/// A shader whose identifiers are beyond the bound that its header tells.
fn plant(written: &Written) -> Job {
    const BOUND: usize = 12;
    let first = &written.jobs[0];
    let mut bytes = fs::read(written.folder.join(&first.file)).unwrap();
    bytes[BOUND..BOUND + 4].copy_from_slice(&1u32.to_le_bytes());
    let planted = Job { file: "planted.spv".into(), ..first.clone() };
    fs::write(written.folder.join(&planted.file), bytes).unwrap();
    planted
}

fn validate(written: &Written, target: &str, job: &Job) -> Result<(), String> {
    let file = written.folder.join(&job.file);
    let output = output(spirv_val().args(["--target-env", target]).arg(file));
    let message = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&message).to_string()) }
}

fn validate_all(written: Written, target: &str, version: &str, given: String) -> Run {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let refused = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(job) = written.jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(message) = validate(&written, target, job) {
                        refused.lock().unwrap().push((job.name.clone(), message));
                    }
                }
            });
        }
    });
    let time = start.elapsed();
    let mut refused = refused.into_inner().unwrap();
    refused.sort();
    let variants = written.jobs.len() + written.refused.len();
    refused.splice(0..0, written.refused);
    Run { compiler: "spirv-val".into(), version: version.into(), given, variants, refused, time }
}
