//! Integer networks: their file, their arithmetic, and the engines against a plain interpreter.
//!
//! `cargo test --no-default-features --features deploy --test deploy` runs what needs no GPU.

mod cpu;
mod file;
mod models;
mod oracle;
