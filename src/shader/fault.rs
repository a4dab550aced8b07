//! Faults that are put into shaders on purpose.

/// A fault to plant in one of the library's shaders: wherever the rendered text of `file` has `sound`, it gets `broken`.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Path under `shaders/`.
    pub file: &'static str,
    /// What is there.
    pub sound: &'static str,
    /// What is put in its place.
    pub broken: &'static str,
}
