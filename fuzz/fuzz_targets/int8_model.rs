//! An int8 model, as far as running it. What is read again from what was written is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use simqat::deploy::{CpuEngine, Engine, Int8Model};

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = Int8Model::from_bytes(bytes) else { return };
    let written = model.to_bytes().expect("a model that was read can be written");
    assert_eq!(Int8Model::from_bytes(&written).expect("and read again").to_bytes().unwrap(), written);
    let input: usize = model.input().shape.iter().product();
    if input <= 4096
        && let Ok(mut engine) = CpuEngine::new(&model)
    {
        let _ = engine.predict(&vec![0.5; input]);
    }
});
