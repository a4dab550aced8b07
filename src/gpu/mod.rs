//! The device floor: finding an adapter, buffers from a pool, the stream of dispatches, recording and
//! replaying it, transfers, timing. It knows bytes and shaders, and nothing of tensors or gradients.
//! Files, clocks (except in `profile`) and threads may not live here: a browser has none.

mod adapter;
mod choice;
mod device;
mod health;
pub(crate) mod mebibytes;
mod needs;
mod pool;
mod probe;
mod profile;
mod recording;
mod stream;
mod transfer;

pub use crate::shader::Fault;
pub use adapter::{ADAPTER_VARIABLE, AdapterSummary, GpuOptions, KernelFamily, adapters};
pub(crate) use device::VECTOR_LANES;
pub use device::{Caps, Gpu};
pub use needs::{NEEDS, Needs};
#[cfg(feature = "check")]
pub(crate) use pool::POISON;
pub use pool::{Buffer, MemoryUse};
pub use profile::KernelTime;
pub use recording::Recording;
pub use stream::Launch;
pub use transfer::Readback;
