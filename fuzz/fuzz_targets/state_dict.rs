//! Weights from PyTorch, as far as putting them into a network.
#![no_main]

use libfuzzer_sys::fuzz_target;
use simqat::train::weights::StateDict;
use simqat_fuzz::{file, network};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(weights) = StateDict::read(file("weights.safetensors", bytes)) {
        let _ = weights.load_into(network(), &[]);
    }
});
