//! Every kernel launcher against a plain function on the host that says what it should compute (`simqat::check`), and
//! what launchers must refuse.
//!
//! Fresh memory is poisoned with NaN, so a value that a kernel does not write is seen. Shapes include size 1,
//! odd sizes, sizes that are no multiple of four, and more workgroups than one dimension of a dispatch holds.

#[path = "../common/mod.rs"]
mod common;

mod augment;
mod conv;
mod counter;
mod elementwise;
mod far_out;
mod gemm;
mod learned_step;
mod loss;
mod norm;
mod observation;
mod optim;
mod pool;
mod quantize;
mod random;
mod reduce;
mod sizes;

use std::path::Path;

use simqat::check;
use simqat::tensor::random::Philox;
use simqat::tensor::{Shape, Tensor};

use common::family;

/// Values with both signs, around 1 in size, always the same for one seed.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Philox::new(seed, 77);
    (0..count).map(|_| random.uniform() * 6.0 - 3.0).collect()
}

fn tensor(shape: impl Into<Shape>, values: &[f32]) -> Tensor {
    Tensor::from_f32(&common::gpu(), shape, values).unwrap()
}

fn words(values: &[u32]) -> Tensor {
    Tensor::from_u32(&common::gpu(), [values.len()], values).unwrap()
}

/// A family that no test names would be tried by the program alone.
#[test]
fn every_family_is_called_by_a_test() {
    let mut sources = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let lines: Vec<&str> = sources.lines().map(str::trim).collect();
    for name in check::families() {
        // The whole body of a test.
        let call = format!("family(\"{name}\");");
        let is_called =
            lines.windows(3).any(|w| w[0] == "#[test]" && w[1].starts_with("fn ") && w[2] == call);
        assert!(is_called, "no test is {call}");
    }
}
