//! Data sets from outside: files good and bad, where they are looked for, and how they are downloaded.
//! Nothing here needs the internet: the mirrors are small servers of our own.

mod bad_input;
mod cifar;
#[cfg(feature = "fetch")]
mod download;
mod folder;
mod lookup;
mod pictures;
#[cfg(feature = "fetch")]
mod server;

use std::io::Write;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use simqat::Result;

/// The folder of the shipped data sets.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets")
}

/// A plain IDX file: magic number, sizes, values.
fn idx(magic: u32, sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_be_bytes().to_vec();
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend_from_slice(values);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Two pictures of 2 x 3, as a plain IDX file.
fn two_images() -> Vec<u8> {
    idx(0x803, &[2, 2, 3], &(0..12).collect::<Vec<u8>>())
}

/// The four files of a set with `train` and 2 test pictures, labels given.
fn write_set(folder: &Path, train: &[u8], train_labels: &[u8], test: &[u8], test_labels: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    let labels = |labels: &[u8]| idx(0x801, &[labels.len() as u32], labels);
    write("train-images-idx3-ubyte", train);
    write("train-labels-idx1-ubyte.gz", &gzip(&labels(train_labels)));
    write("t10k-images-idx3-ubyte.gz", &gzip(test));
    write("t10k-labels.idx1-ubyte", &labels(test_labels));
}

/// The sentence of an error, which must count as bad input (exit code 2 in the program).
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.expect_err("this must be refused");
    assert!(error.is_bad_input(), "{error}");
    error.to_string()
}

/// Fails unless the text has all these parts. A slash also stands for what separates folders on this system.
#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        let says = text.contains(part) || text.replace(MAIN_SEPARATOR, "/").contains(part);
        assert!(says, "{part:?} is not in: {text}");
    }
}
