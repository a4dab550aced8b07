//! Every shader variant that the library may launch, for tests that compile them all without a device.

use crate::shader::ShaderSpec;

/// A variant and the layout of its parameter block on the Rust side.
pub struct Entry {
    /// Source and constants.
    pub spec: ShaderSpec,
    /// Names and byte offsets of the fields of `struct Params`; empty where the shader has none.
    pub params: &'static [(&'static str, usize)],
}

/// All of them.
pub fn catalogue() -> Vec<Entry> {
    let families = [
        super::augment::variants(),
        super::conv::variants(),
        super::counter::variants(),
        super::elementwise::variants(),
        super::gemm::variants(),
        super::gradient::variants(),
        super::int8::variants(),
        super::learned_step::variants(),
        super::loss::variants(),
        super::momentum::variants(),
        super::norm::variants(),
        super::pool::variants(),
        super::quantize::variants(),
        super::random::variants(),
        super::reduce::variants(),
    ];
    families.into_iter().flatten().collect()
}

pub(super) fn entry(spec: ShaderSpec, params: &'static [(&'static str, usize)]) -> Entry {
    Entry { spec, params }
}
