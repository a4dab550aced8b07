//! Where a network first stops being finite.

use crate::Result;
use crate::nn::Network;
use crate::tensor::Tensor;

/// A sentence that names the first parameter or layer with a value that is not finite, if there is one.
pub(super) fn first_non_finite(network: &Network, images: &Tensor) -> Result<Option<String>> {
    let broken = |t: &Tensor| -> Result<bool> { Ok(t.read_f32()?.iter().any(|v| !v.is_finite())) };
    for parameter in network.parameters().iter().filter(|p| p.trainable) {
        if broken(&parameter.tensor)? {
            return Ok(Some(format!("the parameter \"{}\" is not finite", parameter.name)));
        }
    }
    for (name, output) in network.activations(images)? {
        if broken(&output)? {
            return Ok(Some(format!("layer \"{name}\" is the first whose output is not finite")));
        }
    }
    Ok(None)
}
