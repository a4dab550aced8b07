//! What goes wrong around the library, made on purpose: each test says what it did, and that nothing else was harmed.

#[path = "../common/mod.rs"]
mod common;

mod lost;
mod shaders;
