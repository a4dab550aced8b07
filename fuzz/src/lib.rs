//! What the targets share: files of their own in the system's folder for temporary ones, and a network to read into.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use simqat::gpu::Gpu;
use simqat::nn::Network;
use simqat::nn::models::{ModelInit, lenet5};
use tempfile::TempDir;

/// A file of this name with these bytes; the next one of the name takes its place.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder for temporary files"));
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a temporary file can be written");
    path
}

/// LeNet5 on a device that computes nothing.
pub fn network() -> &'static Network {
    static NETWORK: OnceLock<Network> = OnceLock::new();
    NETWORK.get_or_init(|| lenet5(10, ModelInit::He).build(&Gpu::noop(), 1).expect("LeNet5 can be built"))
}
