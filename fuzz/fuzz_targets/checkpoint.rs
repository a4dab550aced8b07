//! A checkpoint, as far as putting it into a network.
#![no_main]

use libfuzzer_sys::fuzz_target;
use simqat::train::checkpoint::Checkpoint;
use simqat_fuzz::{file, network};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(checkpoint) = Checkpoint::read(file("checkpoint.safetensors", bytes)) {
        let _ = (checkpoint.step(), checkpoint.is_quantized(), checkpoint.load_into(network()));
    }
});
