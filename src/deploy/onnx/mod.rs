//! Files for ONNX Runtime: integer networks as QuantizeLinear / DequantizeLinear pairs, float networks as they are.
//!
//! Nothing here runs a network. A graph is built (`qdq`, `float`), held against the rules by which ONNX Runtime chooses
//! its integer kernels (`lint`), and written as a whole.

mod builder;
mod float;
mod lint;
mod operators;
pub mod proto;
mod qdq;

use std::path::Path;

use prost::Message;

pub use float::float_model;
pub use lint::lint;
pub use qdq::{OnnxOptions, WeightType, int8_model};

use super::model::Int8Model;
use crate::nn::Network;
use crate::whole_file::write_whole;
use crate::{Error, Result};

/// Largest file: protobuf counts bytes in 31 bits.
const LARGEST: usize = (1 << 31) - 1;

/// Writes an integer network for ONNX Runtime: f32 [N, ...] in and out, codes in between.
///
/// # Errors
/// Where the network is none that engines could run ([`Int8Model::check`]), two of its tensors would have one name, the
/// file would pass 2 GiB, or it cannot be written.
pub fn write_int8(model: &Int8Model, options: &OnnxOptions, path: impl AsRef<Path>) -> Result<()> {
    let model = int8_model(model, options)?;
    lint(&model)?;
    write(&model, path.as_ref())
}

/// Writes a float network for ONNX Runtime: f32 [N, ...] in and out. Reads its parameters from the device, and waits.
///
/// # Errors
/// Where a layer is a host's own, the network has fake quantizers, two of its tensors would have one name, the file would
/// pass 2 GiB, or it cannot be written.
pub fn write_float(network: &Network, path: impl AsRef<Path>) -> Result<()> {
    let model = float_model(network)?;
    lint::names(&model)?;
    write(&model, path.as_ref())
}

fn write(model: &proto::ModelProto, path: &Path) -> Result<()> {
    check_size(model.encoded_len())?;
    write_whole(path, &model.encode_to_vec())
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes > LARGEST {
        return Err(Error::Invalid(format!(
            "the network takes {bytes} bytes, and an ONNX file holds {LARGEST}; export a smaller network, or keep this one \
             in simqat's own format"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_more_than_2_gib_are_refused_with_their_size() {
        check_size(LARGEST).unwrap();
        let message = check_size(LARGEST + 1).unwrap_err().to_string();
        assert!(message.contains("2147483648"), "{message}");
    }
}
