//! Faults of the kinds that a compiler, a driver or a hand makes, each planted in one shader: the family that is about it
//! must say so.

use simqat::gpu::Fault;
use simqat::shader::{SOURCES, render};

use super::{failures, run};

const fn fault(file: &'static str, sound: &'static str, broken: &'static str) -> Fault {
    Fault { file, sound, broken }
}

/// A name, the family that must find it, and the fault. The texts are those of rendered variants. (A store past the end is
/// not among them: software adapters drop it. What finds it elsewhere, the guard zones, is tested in tests/gpu.rs.)
const FAULTS: &[(&str, &str, Fault)] = &[
    (
        "a wrong tap",
        "convolutions",
        fault("conv/forward.wgsl", "weight[weights0 + tap", "weight[weights0 + tap / 2u"),
    ),
    ("a swapped sign", "convolutions", fault("conv/input_grad.wgsl", "= fma(g0,", "= fma(-g0,")),
    ("a missing barrier", "products", fault("gemm/tile.wgsl", "workgroupBarrier();", "")),
    (
        "a tie that goes to the last of equals",
        "pooling",
        fault("pool/max_forward.wgsl", "value > best", "value >= best"),
    ),
    (
        "a value that is not written",
        "elementwise",
        fault("elementwise/unary.wgsl", "(i < params.vectors)", "(i + 1u < params.vectors)"),
    ),
    ("rounding half down", "quantizers", fault("quant/fake_quant.wgsl", "+ 0.5", "+ 0.499999")),
    (
        "a range that forgets its smallest value",
        "observers",
        fault("quant/update_range.wgsl", "min(seen.x, piece.x)", "piece.x"),
    ),
    (
        "a multiplier of the generator that is off by one",
        "random numbers",
        fault("random/fill.wgsl", "0xD2511F53u", "0xD2511F52u"),
    ),
    (
        "momentum that is added twice",
        "optimizer",
        fault("optim/momentum.wgsl", "params.momentum *", "2.0 * params.momentum *"),
    ),
    (
        "a carry that is lost",
        "integer networks",
        fault("deploy/add.wgsl", "half_is_low) + carry", "half_is_low)"),
    ),
];

#[test]
fn planted_faults_are_found() {
    let mut missed = Vec::new();
    for (name, family, fault) in FAULTS {
        let report = run(family, Some(*fault)).unwrap();
        let found = failures(&report);
        if found.is_empty() {
            missed.push(*name);
        } else {
            println!("{name} ({}): {}", fault.file, found[0]);
        }
    }
    assert_eq!(missed, Vec::<&str>::new(), "no case failed");
}

/// Otherwise a fault is none, and not finding it says nothing.
#[test]
fn every_fault_changes_a_variant() {
    let catalogue = simqat::kernel::catalogue::catalogue();
    for (name, _, fault) in FAULTS {
        assert!(SOURCES.iter().any(|(path, _)| *path == fault.file), "{name}: there is no {}", fault.file);
        let changes = catalogue
            .iter()
            .filter(|entry| entry.spec.file() == fault.file)
            .any(|entry| render(&entry.spec).unwrap().contains(fault.sound));
        assert!(changes, "{name}: no variant of {} has \"{}\"", fault.file, fault.sound);
    }
}
