//! Pictures and labels on their way from a disk or a mirror to the trainer, as bytes in main memory.
//! [`load`] finds a known data set by name; [`catalog`] lists them, [`locate`] and [`fetch`] know where, what is in
//! [`idx`] and [`mnist`], [`cifar`], and any [`folder`] of pictures.
//! [`transform`] says what becomes of a picture, [`order`] when it comes; [`loader`] decodes files on threads. Nothing here
//! knows of the GPU: normalizing and mirroring happen there, and for sets that lie there also cropping and resizing.

pub mod catalog;
mod checksum;
pub mod cifar;
mod classes;
pub mod dataset;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod folder;
pub mod idx;
pub mod loader;
pub mod locate;
pub mod mnist;
pub mod order;
mod pickle;
pub mod picture;
pub mod transform;

pub use catalog::KnownSet;
pub use dataset::{Dataset, Pictures, Split};
pub use loader::{Loader, LoaderOptions, Skipped};
pub use locate::{DataOptions, count_classes, load, load_with_progress};
#[cfg(feature = "fetch")]
pub use locate::{Fetched, fetch_known};
pub use order::Order;
pub use transform::{Crop, Transform, View};
