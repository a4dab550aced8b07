//! Integer networks of random layers, as the check has them.

use simqat::check::int8::models;
pub use simqat::check::int8::{Builder, ConvShape, Random};
use simqat::deploy::Int8Model;

pub fn lenet5(seed: u64) -> Int8Model {
    models::lenet5(seed).unwrap()
}

pub fn mixed(seed: u64) -> Int8Model {
    models::mixed(seed).unwrap()
}

pub fn any_graph(seed: u64, layers: usize) -> Int8Model {
    models::any_graph(seed, layers).unwrap()
}
