//! Every variant of every shader by the compilers that drivers have, on a machine without their GPUs: what naga lets pass,
//! they may refuse.
//!
//! These tests want programs that a build does not bring, so they are ignored by `cargo test`; `script/compilers` installs
//! what is missing and runs them, and ends with a table. Each gives its compiler one faulty shader too: a compiler that
//! refuses nothing, or whose refusal gets lost on the way, proves nothing.

mod batch;
mod microsoft;
#[cfg(target_os = "linux")]
mod radv;
mod report;
mod spirv;
mod tint;
mod translate;

use std::path::Path;

use translate::{Form, translate, variants};

/// Where the shaders of a test are written to.
fn scratch(test: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compilers").join(test)
}

#[test]
fn every_variant_has_every_form() {
    for form in Form::all() {
        for variant in variants().iter().filter(|v| form.takes(v)) {
            let translated =
                translate(variant, form).unwrap_or_else(|e| panic!("{} to {form}: {e}", variant.name));
            assert!(!translated.bytes.is_empty() && !translated.entry.is_empty(), "{}", variant.name);
        }
    }
}

#[test]
#[ignore = "not a test by itself: script/compilers --write FOLDER has it write files"]
fn write() {
    let folder = std::env::var("SIMQAT_WRITE_SHADERS").expect("SIMQAT_WRITE_SHADERS must name a folder");
    translate::write_all(Path::new(&folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
    println!("{} variants in {} forms are in {folder}", variants().len(), Form::all().len());
}

#[test]
#[ignore = "wants spirv-val: script/compilers spirv-val"]
fn spirv_val() {
    spirv::run();
}

#[test]
#[cfg(target_os = "linux")]
#[ignore = "wants Mesa's driver for AMD: script/compilers radv"]
fn radv() {
    radv::run();
}

#[test]
#[ignore = "wants Chromium: script/compilers tint"]
fn tint() {
    tint::run();
}

#[test]
#[ignore = "wants DXC: script/compilers dxc-1.7 dxc-1.9"]
fn dxc() {
    microsoft::run_dxc();
}

#[test]
#[ignore = "wants FXC: script/compilers fxc"]
fn fxc() {
    microsoft::run_fxc();
}
