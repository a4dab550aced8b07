//! Integer networks' kernels: int8 codes to int8 codes.
//!
//! Codes lie on the device in words of four channels ([`Codes`]). Sums are i32 and become codes by an exact product and one
//! rounding (`deploy/requantize.wgsl`), so every machine and every variant gives the same codes.

mod codes;
mod conv;
mod dots;
mod elementwise;
mod pool;
mod prepare;

pub use codes::Codes;
pub use conv::{Conv, ConvNumbers};
pub use dots::{BYTE_DOTS_PROBE, avoid_byte_dots};
pub use elementwise::{Table, add, flatten};
pub use pool::{max, mean};

use super::catalogue::Entry;
use super::gemm::machine;
use super::plan::Machine;
use crate::gpu::Gpu;

/// A factor: `mantissa / 2^shift`, the mantissa below 2^31, the shift from 1 to 62.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor {
    /// Multiplied by.
    pub mantissa: u32,
    /// Bits that are rounded off.
    pub shift: u32,
}

/// What becomes of numbers in the scale of a kernel's result: the zero point is added, and they end at the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The code of 0.
    pub zero_point: i8,
    /// The lowest and the highest code.
    pub ends: [i8; 2],
}

/// Invocations in a workgroup: a CPU's vector unit takes a few at once and is the busier the more workgroups there are.
fn threads(machine: Machine) -> u32 {
    match machine {
        Machine::Vector { lanes, .. } => 2 * lanes,
        Machine::Gpu => 64,
    }
}

fn threads_of(gpu: &Gpu) -> u32 {
    threads(machine(gpu))
}

pub(super) fn variants() -> Vec<Entry> {
    Machine::kinds()
        .flat_map(|machine| {
            [
                conv::variants(machine),
                pool::variants(threads(machine)),
                elementwise::variants(threads(machine)),
            ]
        })
        .flatten()
        .collect()
}
