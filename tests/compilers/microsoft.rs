//! Microsoft's compilers of HLSL: DXC makes DXIL, FXC the older bytecode that wgpu takes where there is no DXC. Both are
//! called as wgpu-hal calls them, by the program in microsoft.cpp, which `script/compilers` builds.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use naga::back::hlsl::ShaderModel;
use simqat::kernel::int8::BYTE_DOTS_PROBE;

use crate::batch::{self, Job, Written};
use crate::report::{Run, conclude};
use crate::scratch;
use crate::translate::{Form, read, translate};

/// What wgpu passes to DXC in any case, and what for devices that have 16-bit types.
const DXC: [&str; 4] = ["-HV", "2018", "-no-warnings", "-Ges"];
const WITH_16_BIT: &str = "-enable-16bit-types";

/// Name the programs that compile a list: `script/compilers` sets them.
const DXC_PROGRAM: &str = "SIMQAT_DXC";
const FXC_PROGRAM: &str = "SIMQAT_FXC";

pub fn run_dxc() {
    let mut runs = Vec::new();
    for (model, extra) in [(ShaderModel::V6_0, ""), (ShaderModel::V6_4, ""), (ShaderModel::V6_4, WITH_16_BIT)]
    {
        for checked in [false, true] {
            runs.push(compile_all("DXC", DXC_PROGRAM, Form::Hlsl { model, checked }, extra));
        }
    }
    conclude(&runs);
}

pub fn run_fxc() {
    let form = |checked| Form::Hlsl { model: ShaderModel::V5_1, checked };
    conclude(&[false, true].map(|checked| compile_all("FXC", FXC_PROGRAM, form(checked), "")));
}

fn compile_all(compiler: &str, variable: &str, form: Form, extra: &str) -> Run {
    let Form::Hlsl { model, .. } = form else { unreachable!("these compile HLSL") };
    let program = std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} must name the program that calls {compiler}; run script/compilers")
    });
    let folder = scratch(compiler).join(form.to_string());
    let target = format!("cs_{}", model.to_str());
    let call = |list: &Path| {
        let mut command = Command::new(&program);
        command.arg(&target);
        if compiler == "DXC" {
            command.args(DXC.into_iter().chain([extra]).filter(|argument| !argument.is_empty()));
        }
        command.arg(list);
        command
    };

    // As the library does: if the compiler fails on products of bytes, they are spelled out.
    let probe = probe(&folder, form);
    let taken = batch::run(&folder, std::slice::from_ref(&probe), call).results.remove(&probe.file);
    let byte_dots = taken.expect("the compiler says nothing of the probe").is_ok();
    let written = batch::write(folder, form, |variant| byte_dots || !variant.byte_dots);
    let planted = plant(&written);
    let mut jobs: Vec<Job> = written.jobs.clone();
    jobs.push(planted.clone());
    let start = Instant::now();
    let told = batch::run(&written.folder, &jobs, call);
    let time = start.elapsed();
    let mut given = form.to_string();
    if !extra.is_empty() {
        given += &format!(", {extra}");
    }
    if !byte_dots {
        given += ", products of bytes spelled out";
    }
    Run { time, ..told.into_run(compiler, given, written, Some(&planted)) }
}

/// The shader by which the library asks whether a compiler takes products of bytes.
fn probe(folder: &Path, form: Form) -> Job {
    let name = "products of bytes".to_string();
    let translated = translate(&read(name.clone(), BYTE_DOTS_PROBE.to_string()), form).unwrap();
    let job = Job { file: "probe.hlsl".into(), entry: translated.entry, name };
    fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    fs::write(folder.join(&job.file), translated.bytes).unwrap();
    job
}

/// A shader that uses a name which nobody declared.
fn plant(written: &Written) -> Job {
    let first = &written.jobs[0];
    let text = fs::read_to_string(written.folder.join(&first.file)).unwrap();
    let planted = Job { file: "planted.hlsl".into(), ..first.clone() };
    let faulty = format!("{text}\nfloat planted() {{ return nobody_declared_this; }}\n");
    fs::write(written.folder.join(&planted.file), faulty).unwrap();
    planted
}
