//! What the integration tests share: one device, and comparisons that say where they fail.
#![allow(dead_code)] // each test binary uses a part

pub mod networks;

use std::sync::OnceLock;

use simqat::check::{self, Case, Trial};
use simqat::gpu::{Gpu, GpuOptions, KernelFamily};

/// The adapter of this machine, with bounds checks on and fresh memory poisoned. Without an adapter the tests
/// fail, with the reason: a suite that runs nothing must not pass.
pub fn gpu() -> Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(KernelFamily::Auto)).clone()
}

/// The same adapter with the tiled kernels, which software adapters would not choose.
pub fn tiled_gpu() -> Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| open(KernelFamily::Tiled)).clone()
}

/// A device of one's own, for what counts its memory or leaves something on it. With `SIMQAT_TEST_LEAST=1` it
/// is as small as a device may be (`script/test-adapters`).
pub fn open(kernels: KernelFamily) -> Gpu {
    let least = std::env::var("SIMQAT_TEST_LEAST").is_ok_and(|value| value == "1");
    let options = GpuOptions { checked: true, poison: true, kernels, least, ..Default::default() };
    let gpu = Gpu::open_with(&options).unwrap_or_else(|e| panic!("the tests need a GPU adapter: {e}"));
    // What that script meant to test must be what is tested.
    if let Ok(lanes) = std::env::var("SIMQAT_TEST_LANES") {
        assert_eq!(gpu.caps().subgroup_size.unwrap_or(0).to_string(), lanes, "lanes of {gpu:?}");
    }
    gpu
}

/// Runs every case of `simqat::check` about this on this machine's adapter, and those that have other shaders for GPUs
/// with them too.
#[track_caller]
pub fn family(name: &str) {
    let cases: Vec<Case> = check::cases().into_iter().filter(|case| case.family == name).collect();
    assert!(!cases.is_empty(), "no case is about {name}");
    let (own, tiled) = (gpu(), tiled_gpu());
    for case in cases {
        let both: &[&Gpu] = if case.both { &[&own, &tiled] } else { &[&own] };
        for gpu in both {
            case.run(&mut Trial::new(gpu, 0)).unwrap_or_else(|e| panic!("{case} ({gpu:?}): {e}"));
        }
    }
}

/// Fails at the first value that is farther than `relative * |expected| + absolute` from what is expected, or
/// that is NaN where none is expected.
#[track_caller]
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], relative: f32, absolute: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths differ");
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let off = (a - e).abs();
        assert!(
            off <= relative * e.abs() + absolute || a.to_bits() == e.to_bits(),
            "{what}: value {i} of {} is {a}, expected {e}",
            actual.len()
        );
    }
}

/// Fails at the first value that is not the expected one to the bit.
#[track_caller]
pub fn assert_bits(what: &str, actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths differ");
    let differ = actual.iter().zip(expected).filter(|(a, e)| a.to_bits() != e.to_bits()).count();
    if let Some(i) = (0..actual.len()).find(|&i| actual[i].to_bits() != expected[i].to_bits()) {
        let (a, e) = (actual[i], expected[i]);
        panic!("{what}: {differ} of {} values differ, first value {i}: {a:e}, expected {e:e}", actual.len());
    }
}
