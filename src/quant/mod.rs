//! SimQAT: deciding which tensors of a network are fake-quantized, and how. It rewrites the graph; the
//! quantizers themselves run with the network (`nn`), and integer models are made from the result (`deploy`).

mod fusion;
mod layer;
mod lint;
mod options;
mod placement;
mod simqat;

pub use layer::LayerOptions;
pub use lint::{Finding, Length};
pub use options::{Observer, QuantOptions};
pub use simqat::{PRACTICALLY_NEVER, SimQat, Style};
