//! How one kind of tensor is quantized.

use serde::{Deserialize, Serialize};

use crate::kernel::counter::NEVER;
use crate::kernel::learned_step::StepRule;
use crate::kernel::quantize::{GridRule, RangeObserver};
use crate::nn::QuantizerRule;
use crate::{Error, Result};

/// How a quantizer comes by its grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observer {
    /// From the range of the last batch (MindSpore Golden Stick).
    LastBatch,
    /// From a moving average of the batches' ranges: new = old + 0.01 * (batch - old), the first taken whole.
    MovingAverage,
    /// It learns its step by gradient (LSQ, Esser et al. 2020, arXiv 1902.08153).
    LearnedStep,
}

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
    /// The range reaches equally far to both sides of zero. A learned step always does, but for activations that
    /// cannot be negative, where it has all codes above zero unless this is set.
    pub symmetric: bool,
    /// The lowest code is left out; with a symmetric range, zero is then a code exactly.
    pub narrow_range: bool,
    /// Where the grid comes from.
    pub observer: Observer,
}

impl QuantOptions {
    /// Fails with the option's name and value where one cannot be used. `kind` is `activations` or `weights`, and
    /// `place` where the options stand: `simqat.weights`.
    pub(super) fn validate(&self, kind: Kind, place: &str) -> Result<()> {
        if !(2..=8).contains(&self.bits) {
            return Err(Error::Invalid(format!(
                "{place}bits = {}: fake quantization works with 2 to 8 bits",
                self.bits
            )));
        }
        check_steps(&format!("{place}quant_delay"), self.quant_delay)?;
        if kind == Kind::Activations && self.per_channel {
            return Err(Error::Invalid(format!(
                "{place}per_channel = true is not supported: activations have one range per tensor; set it to false"
            )));
        }
        Ok(())
    }

    /// The rule for a tensor that can (`signed`) or cannot be negative, whose ranges stand still from step `freeze` on.
    pub(super) fn rule(&self, signed: bool, freeze: u32) -> QuantizerRule {
        let range = |observer| {
            QuantizerRule::Range(GridRule {
                bits: self.bits,
                symmetric: self.symmetric,
                narrow_range: self.narrow_range,
                observer,
                delay: self.quant_delay,
                freeze,
            })
        };
        match self.observer {
            Observer::LastBatch => range(RangeObserver::LastBatch),
            Observer::MovingAverage => range(RangeObserver::MovingAverage),
            Observer::LearnedStep => QuantizerRule::LearnedStep(StepRule {
                bits: self.bits,
                signed: signed || self.symmetric,
                narrow_range: self.narrow_range,
                delay: self.quant_delay,
            }),
        }
    }
}

/// Whose options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Activations,
    Weights,
}

/// Fails where a number of steps is more than a counter holds.
pub(super) fn check_steps(option: &str, steps: u32) -> Result<()> {
    if steps <= NEVER {
        return Ok(());
    }
    Err(Error::Invalid(format!("{option} = {steps}: steps are counted up to {NEVER}")))
}
