//! The page on the format, as script/int8_reader.py understands it, against the engine: to the bit of the logits.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};

use simqat::deploy::{CpuEngine, Engine, Int8Model};

use super::models::{Random, lenet5, mixed};
use super::onnx::python;

fn read(python: &OsString, model: &Path, images: &Path, logits: &Path) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/script/int8_reader.py");
    Command::new(python).arg(script).args([model, images, logits]).output().unwrap()
}

fn compare(python: &OsString, model: &Int8Model) {
    let folder = tempfile::tempdir().unwrap();
    let [path, images, logits] = ["model", "images", "logits"].map(|name| folder.path().join(name));
    model.write(&path).unwrap();
    let input = model.input();
    let count = 3 * input.shape.iter().product::<usize>();
    // Wider than the input's grid, so that both its ends are met.
    let reach = 150.0 * input.grid.scale;
    let mut random = Random::new(5);
    let values: Vec<f32> = (0..count).map(|_| (2.0 * random.unit() as f32 - 1.0) * reach).collect();
    std::fs::write(&images, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    let output = read(python, &path, &images, &logits);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = CpuEngine::new(model).unwrap().predict(&values).unwrap();
    let expected: Vec<u8> = expected.iter().flat_map(|v| v.to_le_bytes()).collect();
    assert!(std::fs::read(&logits).unwrap() == expected, "{}", model.name);

    // A flipped bit among the weights.
    let mut damaged = model.to_bytes().unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let output = read(python, &path, &images, &logits);
    assert!(String::from_utf8_lossy(&output.stderr).contains("checksum"));
}

#[test]
#[ignore = "wants Python with numpy and safetensors: SIMQAT_ONNX_PYTHON"]
fn the_page_is_enough_for_a_reader() {
    let python = python();
    for model in [lenet5(3), mixed(4), mixed(5)] {
        compare(&python, &model);
    }
}
