//! Networks as data: a graph of named layers and the parameters they own. What is done with a network
//! (running, printing, quantizing, saving) is a pass over this graph; the exhaustive `match` on [`Layer`] in
//! each pass tells whoever adds a layer where to go.

mod build;
mod display;
mod forward;
mod graph;
mod layer;
mod linear;
pub mod models;
mod network;
mod norm;
mod parts;
mod plan;
mod quantizer;

pub use build::NetworkBuilder;
pub use forward::Pass;
pub use graph::{Graph, Node, NodeId};
pub use layer::{CustomLayer, Layer, ParameterSpec, Start};
pub use linear::{Conv2d, Dense};
pub use network::{Network, Parameter};
pub use norm::{BatchNorm2d, BnFold, Conv2dBn};
pub use parts::Steps;
pub use quantizer::{FakeQuantizer, QuantizerRule, Quantizers, Slot};
