//! Fake quantizers as parts of a network: where they sit, and how they are set. What they compute is
//! `ops::fake_quant`; who puts them there is the floor above (`quant`).

use crate::kernel::quantize::GridRule;

/// A fake quantizer: the rule of its grid, and how many channels have ranges of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeQuantizer {
    /// Bits, symmetry, observer, delay.
    pub rule: GridRule,
    /// Ranges: 1, or the output channels of a weight.
    pub channels: usize,
}

impl FakeQuantizer {
    /// True where every output channel has a range of its own.
    pub fn per_channel(&self) -> bool {
        self.channels > 1
    }
}

/// The quantizers of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantizers {
    /// Of what comes in.
    pub input: Option<FakeQuantizer>,
    /// Of the weights.
    pub weight: Option<FakeQuantizer>,
    /// Of what goes out.
    pub output: Option<FakeQuantizer>,
}

/// A place for a quantizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// What comes in.
    Input,
    /// The weights.
    Weight,
    /// What goes out.
    Output,
}

impl Slot {
    /// All three.
    pub const ALL: [Slot; 3] = [Slot::Input, Slot::Weight, Slot::Output];

    /// The name in parameter paths: `conv1.weight_quantizer.min`.
    pub fn name(self) -> &'static str {
        match self {
            Slot::Input => "input_quantizer",
            Slot::Weight => "weight_quantizer",
            Slot::Output => "output_quantizer",
        }
    }
}

impl Quantizers {
    /// The quantizer in a slot.
    pub fn get(&self, slot: Slot) -> Option<&FakeQuantizer> {
        match slot {
            Slot::Input => self.input.as_ref(),
            Slot::Weight => self.weight.as_ref(),
            Slot::Output => self.output.as_ref(),
        }
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        Slot::ALL.iter().all(|&slot| self.get(slot).is_none())
    }
}
