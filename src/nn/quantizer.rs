//! Fake quantizers as parts of a network: where they sit, and how they are set. What they compute is in
//! `ops::fake_quant` and `ops::learned_step`; who puts them there is the floor above (`quant`).

use super::layer::{ParameterSpec, Start};
use crate::kernel::learned_step::{StepRule, UNSET};
use crate::kernel::quantize::GridRule;
use crate::tensor::init::Init;

/// How a quantizer finds its grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuantizerRule {
    /// From the observed range (Jacob et al. 2018).
    Range(GridRule),
    /// With a step that is trained (LSQ, Esser et al. 2020).
    LearnedStep(StepRule),
}

impl QuantizerRule {
    /// Bits of a code.
    pub fn bits(&self) -> u32 {
        match self {
            QuantizerRule::Range(rule) => rule.bits,
            QuantizerRule::LearnedStep(rule) => rule.bits,
        }
    }
}

/// A fake quantizer: its rule, and how many channels have grids of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FakeQuantizer {
    /// Bits, symmetry, delay, and where the grid comes from.
    pub rule: QuantizerRule,
    /// True where every output channel of a weight has a grid of its own.
    pub per_channel: bool,
    /// Grids: 1, or the output channels of a weight.
    pub channels: usize,
}

impl FakeQuantizer {
    /// One grid for a whole tensor.
    pub fn per_layer(rule: QuantizerRule) -> Self {
        FakeQuantizer { rule, per_channel: false, channels: 1 }
    }

    /// A grid for each of so many output channels.
    pub fn per_channel(rule: QuantizerRule, channels: usize) -> Self {
        FakeQuantizer { rule, per_channel: true, channels }
    }

    /// Its state, under the path `name`.
    pub(super) fn parameters(&self, name: &str) -> Vec<ParameterSpec> {
        let of = |own: &str, start: Start, trainable: bool| {
            ParameterSpec::new(format!("{name}.{own}"), [self.channels], start, trainable)
        };
        let constant = |value: f32| Start::Values(Init::Constant(value));
        match self.rule {
            // Golden Stick's initial range; the first observed batch replaces it.
            QuantizerRule::Range(_) => vec![
                of("min", constant(-6.0), false),
                of("max", constant(6.0), false),
                of("steps", Start::Count, false),
            ],
            QuantizerRule::LearnedStep(_) => {
                vec![of("scale", constant(UNSET), true), of("steps", Start::Count, false)]
            }
        }
    }
}

/// The quantizers of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantizers {
    /// Of what comes in.
    pub input: Option<FakeQuantizer>,
    /// Of the second of two inputs.
    pub second_input: Option<FakeQuantizer>,
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
    /// The second of two inputs.
    SecondInput,
    /// The weights.
    Weight,
    /// What goes out.
    Output,
}

/// Part of the path of every quantizer's state, and of nothing else.
const MARK: &str = "_quantizer.";

impl Slot {
    /// All of them.
    pub const ALL: [Slot; 4] = [Slot::Input, Slot::SecondInput, Slot::Weight, Slot::Output];

    /// The slot of input number `index` of a layer.
    pub(super) fn of_input(index: usize) -> Option<Slot> {
        [Slot::Input, Slot::SecondInput].get(index).copied()
    }

    /// The name in parameter paths: `conv1.weight_quantizer.min`.
    pub fn name(self) -> &'static str {
        match self {
            Slot::Input => "input_quantizer",
            Slot::SecondInput => "second_input_quantizer",
            Slot::Weight => "weight_quantizer",
            Slot::Output => "output_quantizer",
        }
    }

    /// True for the path of a quantizer's state.
    pub(crate) fn is_path_of_state(path: &str) -> bool {
        path.contains(MARK)
    }
}

impl Quantizers {
    /// The quantizer in a slot.
    pub fn get(&self, slot: Slot) -> Option<&FakeQuantizer> {
        match slot {
            Slot::Input => self.input.as_ref(),
            Slot::SecondInput => self.second_input.as_ref(),
            Slot::Weight => self.weight.as_ref(),
            Slot::Output => self.output.as_ref(),
        }
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        Slot::ALL.iter().all(|&slot| self.get(slot).is_none())
    }
}
