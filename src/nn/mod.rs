//! Networks as data: a graph of named layers and the parameters they own. What is done with a network
//! (running, printing, quantizing, saving) is a pass over this graph; the exhaustive `match` on [`Layer`] in
//! each pass tells whoever adds a layer where to go.

mod build;
mod display;
mod forward;
mod layer;
pub mod models;
mod network;
mod plan;
mod quantizer;

pub use build::NetworkBuilder;
pub use forward::{Mode, Pass};
pub use layer::{Conv2d, CustomLayer, Dense, Layer};
pub use network::{Network, Node, NodeId, Parameter};
pub use quantizer::{FakeQuantizer, Quantizers, Slot};
