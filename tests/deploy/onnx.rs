//! ONNX files: what ONNX Runtime makes of them.

use std::path::PathBuf;
use std::process::Command;

use simqat::deploy::onnx::{CodeType, OnnxOptions, write_int8};
use simqat::deploy::{Int8Model, Op};

use super::models::{Random, lenet5, mixed};
use super::oracle;

/// The Python of an environment with ONNX Runtime. script/test makes one; by hand the tests that need it can go without.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("SIMQAT_ONNX_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("skipped: SIMQAT_ONNX_PYTHON names no Python with onnxruntime (script/test makes one)");
    }
    python
}

/// What ONNX Runtime gave.
pub struct Ran {
    /// The tensors that were asked for.
    pub tensors: Vec<Vec<u8>>,
    /// Operators of the optimized graph.
    pub operators: Vec<String>,
}

/// Runs a file on a batch of values.
pub fn run(python: &PathBuf, model: &std::path::Path, values: &[f32], tensors: &[String], u8u8: bool) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.f32");
    std::fs::write(&input, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/script/onnx_check.py"))
        .args([model, &input, folder.path()])
        .args(tensors)
        .env("SIMQAT_ONNX_U8U8", if u8u8 { "1" } else { "0" })
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let operators = said["operators"].as_array().unwrap();
    let operators = operators.iter().map(|operator| operator[0].as_str().unwrap().to_string()).collect();
    let count = tensors.len().max(1);
    let read = |index| std::fs::read(folder.path().join(format!("{index}.bin"))).unwrap();
    Ran { tensors: (0..count).map(read).collect(), operators }
}

/// Compares the codes of every layer over random images with the oracle's; returns the operators.
fn compare(model: &Int8Model, options: OnnxOptions, u8u8: bool, images: usize) -> Option<Vec<String>> {
    let python = python()?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    write_int8(model, &options, &path).unwrap();
    let image: usize = model.input().shape.iter().product();
    let codes = Random::new(77).codes(image * images, 8);
    let values: Vec<f32> = codes.iter().map(|&code| model.input().grid.value(code)).collect();
    let tensors: Vec<String> = model.layers.iter().map(|layer| format!("{}.codes", layer.name)).collect();
    let ran = run(&python, &path, &values, &tensors, u8u8);
    let expected: Vec<_> = codes.chunks(image).map(|codes| oracle::run(model, codes)).collect();
    let (mut all, mut differ) = (0, 0);
    for (id, layer) in model.layers.iter().enumerate() {
        let flip = if options.activations == CodeType::Uint8 { 0x80 } else { 0 };
        let actual = ran.tensors[id].iter().map(|&byte| (byte ^ flip) as i8);
        let expected = expected.iter().flat_map(|layers| &layers[id]);
        let apart: Vec<i32> = actual.zip(expected).map(|(a, &e)| (i32::from(a) - i32::from(e)).abs()).collect();
        let count = apart.iter().filter(|&&apart| apart > 0).count();
        let largest = apart.iter().max().unwrap();
        println!("{options:?} {u8u8} {} {}: {count} of {} differ, by {largest} at most", layer.name, kind(&layer.op), apart.len());
        all += apart.len();
        differ += count;
        assert!(*largest <= 1, "{}", layer.name);
    }
    println!("{differ} of {all}");
    Some(ran.operators)
}

fn kind(op: &Op) -> &'static str {
    match op {
        Op::Input => "Input",
        Op::Conv2d(_) => "Conv2d",
        Op::Dense(_) => "Dense",
        Op::MaxPool2d(_) => "MaxPool2d",
        Op::AvgPool2d(_) => "AvgPool2d",
        Op::Flatten => "Flatten",
        Op::Add => "Add",
        Op::Table(_) => "Table",
    }
}

#[test]
fn probe() {
    let types = [CodeType::Uint8, CodeType::Int8];
    for activations in types {
        for weights in types {
            for model in [lenet5(5), mixed(6)] {
                let ops = compare(&model, OnnxOptions { activations, weights }, false, 8);
                println!("{ops:?}");
            }
        }
    }
}
