//! Integer networks: their file, their arithmetic, and the engines against a plain interpreter.
//!
//! `cargo test --no-default-features --features deploy --test deploy` runs what needs no GPU.

mod file;
mod models;
#[allow(dead_code)] // until the engines
mod oracle;
