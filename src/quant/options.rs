//! How one kind of tensor is quantized.

use serde::{Deserialize, Serialize};

use crate::kernel::counter::NEVER;
use crate::kernel::quantize::{GridRule, Observer};
use crate::{Error, Result};

/// Options for activations or for weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantOptions {
    /// Training steps during which ranges are observed and values pass unchanged.
    pub quant_delay: u32,
    /// 2 to 8.
    pub bits: u32,
    /// A range for each output channel instead of one for the tensor; weights only.
    pub per_channel: bool,
    /// The range reaches equally far to both sides of zero.
    pub symmetric: bool,
    /// The lowest code is left out; with a symmetric range, zero is then a code exactly.
    pub narrow_range: bool,
    /// How the range follows the data.
    pub observer: Observer,
}

impl QuantOptions {
    /// Fails with the option's name and value where one cannot be used. `kind` is `activations` or `weights`.
    pub(super) fn validate(&self, kind: &str) -> Result<()> {
        if !(2..=8).contains(&self.bits) {
            return Err(Error::Invalid(format!(
                "simqat.{kind}.bits = {}: fake quantization works with 2 to 8 bits",
                self.bits
            )));
        }
        if kind == "activations" && self.per_channel {
            return Err(Error::Invalid(
                "simqat.activations.per_channel = true is not supported: activations have one range per tensor; \
                 set it to false"
                    .into(),
            ));
        }
        Ok(())
    }

    pub(super) fn rule(&self) -> GridRule {
        GridRule {
            bits: self.bits,
            symmetric: self.symmetric,
            narrow_range: self.narrow_range,
            observer: self.observer,
            delay: self.quant_delay,
            freeze: NEVER,
        }
    }
}
