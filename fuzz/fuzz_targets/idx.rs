//! Images and labels of MNIST's form, plain and gzipped.
#![no_main]

use libfuzzer_sys::fuzz_target;
use simqat::data::idx::{read_images, read_labels};
use simqat_fuzz::file;

fuzz_target!(|bytes: &[u8]| {
    for name in ["bytes-idx", "bytes-idx.gz"] {
        let path = file(name, bytes);
        let _ = (read_images(&path), read_labels(&path));
    }
});
