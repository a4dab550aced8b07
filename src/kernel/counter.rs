//! Counters of training steps: what decides on the device, in recordings too, whether quantization has begun and
//! whether observed state still moves.

use super::catalogue::{Entry, entry};
use super::extent;
use super::params::params;
use crate::Result;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};

params!(FreezeParams { count: u32, freeze: u32 });

/// The bit of a counter that marks frozen state; the others count training steps.
pub const FROZEN: u32 = 1 << 31;

/// As a number of steps: never.
pub const NEVER: u32 = FROZEN - 1;

fn shader() -> ShaderSpec {
    ShaderSpec::new("common/freeze.wgsl")
}

/// Marks the state that belongs to `counters` (u32 `[C]`) as frozen, or clears the mark; the counts stay. Does not
/// wait for the device.
///
/// # Errors
/// Where `counters` is not u32, or the device has failed.
pub fn freeze(counters: &Tensor, frozen: bool) -> Result<()> {
    counters.expect(DType::U32)?;
    let count = extent(counters.count(), "the number of counters")?;
    counters
        .gpu()
        .launch(shader())
        .bind(counters.buffer())
        .params(&FreezeParams { count, freeze: frozen.into() })
        .threads(count.into(), 64)
}

pub(super) fn variants() -> Vec<Entry> {
    vec![entry(shader(), FreezeParams::LAYOUT)]
}
