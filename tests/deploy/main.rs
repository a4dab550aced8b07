//! Integer networks: their file, their arithmetic, and the engines against a plain interpreter.
//!
//! `cargo test --no-default-features --features deploy,check --test deploy` runs what needs no GPU.

#[cfg(feature = "train")]
#[path = "../common/mod.rs"]
mod common;

mod allocations;
#[cfg(feature = "train")]
mod convert;
mod cpu;
mod file;
#[cfg(feature = "train")]
mod gpu;
mod models;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(feature = "onnx")]
mod onnx_lint;
mod oracle;
#[cfg(feature = "onnx")]
mod reader;
