//! Scripts that people run on other machines, with a made-up program in the place of `simqat`.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn script(name: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("script").join(name));
    command
}

#[test]
fn an_unknown_option_is_wrong_usage() {
    for name in ["compilers", "fuzz", "gpu-figures", "test-adapters"] {
        let output = script(name).arg("--everything").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "script/{name}: {told}");
        assert!(told.contains("--everything"), "script/{name}: {told}");
    }
}

/// Answers as `simqat` does, by its first argument.
const PROGRAM: &str = r#"#!/bin/sh
echo "text for people, {\"top1\":0.5}" >&2
case $1 in
    --version) echo simqat 9.9.9 ;;
    info) echo '{"adapters":[{"name":"Other","kind":"software (CPU)","backend":"vulkan","driver":"o","software":true}],"chosen":{"name":"Some, GPU","kind":"discrete GPU","backend":"metal","driver":"driver 7","software":false},"subgroup_size":null,"timestamps":true,"f16":false,"max_groups":65535}' ;;
    check) exit CHECK ;;
    run) echo '{"recipe":"lenet5-mnist","data":"MNIST from here","sample":false,"adapter":"Some, GPU","seed":1,"first_step_s":0.75,"float":{"top1":0.98765,"ms_per_step":1.234,"checkpoint_bytes":5},"simqat":{"top1":0.9912,"ms_per_step":2.345,"checkpoint_bytes":6},"int8":{"top1":0.9911,"bytes":7,"cpu_us":22.26,"gpu_us":310.5}}' ;;
    bench) echo '{"rows":[{"model":"LeNet5","recipe":"r","batch":32,"size":32,"quant":"float","mode":"eager","ms_median":4.0,"ms_min":3.5,"ms_max":5.25,"images_per_s":8000.0},{"model":"LeNet5","recipe":"r","batch":256,"size":32,"quant":"simqat","mode":"graph","ms_median":14.0,"ms_min":13.5,"ms_max":15.25,"images_per_s":8000.0,"ratio":1.5}],"adapter":"Some, GPU"}' ;;
esac
"#;

/// What the script prints where `simqat check` ends with this code.
fn figures(check: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("simqat");
    fs::write(&program, PROGRAM.replace("CHECK", check)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let out = folder.path().join("out");
    let mut command = script("gpu-figures");
    command.arg("--out").arg(&out).env("SIMQAT", &program).output().unwrap()
}

#[test]
fn figures_of_a_gpu_come_as_tables() {
    let output = figures("0");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "| adapter | Some, GPU (discrete GPU, metal) |",
        "| driver | driver 7 |",
        "| subgroups, timestamps, f16 | none, true, false |",
        "| `simqat check` | passed |",
        "| data | MNIST from here |",
        "| test accuracy | 98.77 % | 99.12 % | 99.11 % |",
        "| ms per step | 1.23 | 2.35 | - |",
        "| one image: CPU, adapter | | | 22.3 us, 310.5 us |",
        "| first step after | 0.8 s | | |",
        "| float, eager, batch 32 | 4.00 | 3.50 | 5.25 |",
        "| simqat, graph, batch 256 | 14.00 | 13.50 | 15.25 |",
        "    simqat bench step",
    ] {
        assert!(told.lines().any(|found| found == line), "{line} is not in:\n{told}");
    }
}

#[test]
fn figures_are_made_of_an_adapter_that_fails_its_check_and_say_so() {
    for (code, said) in [("1", "| `simqat check` | **FAILED**: see its report |"), ("2", "could not be run")]
    {
        let output = figures(code);
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(said), "{said} is not in:\n{told}");
        assert!(told.contains("| test accuracy | 98.77 % |"), "{told}");
    }
}
