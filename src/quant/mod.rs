//! SimQAT: deciding which tensors of a network are fake-quantized, and how. It rewrites the graph; the
//! quantizers themselves run with the network (`nn`), and integer models are made from the result (`deploy`).

mod options;
mod rewrite;
mod simqat;

pub use crate::kernel::quantize::Observer;
pub use options::QuantOptions;
pub use simqat::{Placement, SimQat};
