//! The lanes that join partial results.

use crate::gpu::{Gpu, VECTOR_LANES};
use crate::shader::ShaderSpec;

/// How many lanes of a workgroup join partial results, and whether they are one subgroup. Where shaders run on a CPU,
/// barriers are dear and subgroups free.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    pub(super) count: u32,
    pub(super) subgroup: bool,
}

impl Lanes {
    const SHARED: Lanes = Lanes { count: 64, subgroup: false };

    /// Every kind, for the catalogue.
    pub(super) fn kinds() -> impl Iterator<Item = Lanes> {
        let subgroups = VECTOR_LANES.map(|count| Lanes { count, subgroup: true });
        [Lanes::SHARED].into_iter().chain(subgroups)
    }

    /// The shader for these lanes.
    pub(super) fn give(self, spec: ShaderSpec) -> ShaderSpec {
        spec.with("lanes", self.count).with("subgroup", self.subgroup)
    }

    /// Values that one workgroup reduces and rounds by itself: a dispatch costs a CPU adapter some 30 to 100 us.
    pub(super) fn alone(self) -> usize {
        if self.subgroup { 16_384 } else { 2048 }
    }

    /// Those that suit the adapter.
    pub(super) fn of(gpu: &Gpu) -> Self {
        match gpu.caps().subgroup_size {
            Some(count) if gpu.caps().prefers_broadcast() => Lanes { count, subgroup: true },
            _ => Lanes::SHARED,
        }
    }
}
