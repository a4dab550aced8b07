//! Microsoft's compilers of HLSL: DXC makes DXIL, FXC the older bytecode that wgpu takes where there is no DXC. Both are
//! called as wgpu-hal calls them, by the program in microsoft.cpp, which `script/compilers` builds.

use std::fs;
use std::process::Command;
use std::time::Instant;

use naga::back::hlsl::ShaderModel;

use crate::batch::{self, Job, Written};
use crate::report::{Run, conclude};
use crate::scratch;
use crate::translate::Form;

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
    let written = batch::write(scratch(compiler).join(form.to_string()), form);
    let planted = plant(&written);
    let mut jobs: Vec<Job> = written.jobs.clone();
    jobs.push(planted.clone());
    let target = format!("cs_{}", model.to_str());
    let start = Instant::now();
    let told = batch::run(&written.folder, &jobs, |list| {
        let mut command = Command::new(&program);
        command.arg(&target);
        if compiler == "DXC" {
            command.args(DXC.into_iter().chain([extra]).filter(|argument| !argument.is_empty()));
        }
        command.arg(list);
        command
    });
    let time = start.elapsed();
    let given = if extra.is_empty() { form.to_string() } else { format!("{form}, {extra}") };
    Run { time, ..told.into_run(compiler, given, written, Some(&planted)) }
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
