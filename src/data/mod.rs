//! Pictures and labels on their way from a disk or a mirror to the trainer, as bytes in main memory.
//! [`load`] finds a known data set by name; [`catalog`] lists them, [`locate`] and [`fetch`] know where, [`idx`] and [`mnist`] what.
//! Nothing here knows of the GPU: normalization, resizing and augmentation happen there.

pub mod catalog;
mod checksum;
pub mod dataset;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod idx;
pub mod locate;
pub mod mnist;

pub use catalog::KnownSet;
pub use dataset::{Dataset, Split};
pub use locate::{DataOptions, load, load_with_progress};
#[cfg(feature = "fetch")]
pub use locate::{Fetched, fetch_known};
