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

use std::path::Path;

use proptest::prelude::ProptestConfig;
use simqat::check;
use simqat::tensor::random::Philox;
use simqat::tensor::{Shape, Tensor};

use common::family;

/// Few cases: each runs on the device, and the shapes that matter most are listed by hand beside.
fn few() -> ProptestConfig {
    ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() }
}

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

/// Those that `tests/check` runs.
const ELSEWHERE: [&str; 2] = ["training", "integer networks"];

/// A family that no test names would be tried by the program alone.
#[test]
fn every_family_is_called_by_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = ["kernels", "gradients"].into_iter().flat_map(|of| folder.join(of).read_dir().unwrap());
    let paths =
        files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let sources: Vec<String> = paths.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let lines: Vec<&str> = sources.iter().flat_map(|source| source.lines().map(str::trim)).collect();
    for name in check::families().into_iter().filter(|name| !ELSEWHERE.contains(name)) {
        let call = format!("family(\"{name}\");");
        let is_called =
            lines.windows(3).any(|w| w[0] == "#[test]" && w[1].starts_with("fn ") && w[2] == call);
        assert!(is_called, "no test consists of {call}");
    }
}
