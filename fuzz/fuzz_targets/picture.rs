//! A picture, in grey and in colour.
#![no_main]

use libfuzzer_sys::fuzz_target;
use simqat::data::picture::Picture;

fuzz_target!(|bytes: &[u8]| {
    for channels in [1, 3] {
        if let Ok(picture) = Picture::decode(bytes, channels) {
            assert_eq!(picture.pixels.len(), picture.height * picture.width * channels);
        }
    }
});
