//! Simulated quantization-aware training, as in MindSpore Golden Stick, after Jacob et al. 2018
//! (arXiv 1712.05877) and Krishnamoorthi 2018 (arXiv 1806.08342).

use serde::{Deserialize, Serialize};

use super::options::QuantOptions;
use super::rewrite::quantizers_of;
use crate::Result;
use crate::kernel::quantize::Observer;
use crate::nn::Network;

/// Where activations are quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Once behind a layer and its activation, as an integer model computes it.
    AfterActivation,
    /// Behind every layer and every activation, as Golden Stick does.
    Everywhere,
}

/// The algorithm and its options.
///
/// ```
/// use simqat::gpu::Gpu;
/// use simqat::nn::models::{LeNet5Init, lenet5};
/// use simqat::quant::SimQat;
///
/// let gpu = Gpu::noop();
/// let network = lenet5(10, LeNet5Init::He).build(&gpu, 1)?;
/// let quantized = SimQat { ..SimQat::default() }.apply(&network)?;
/// assert!(quantized.is_quantized() && !network.is_quantized());
/// # Ok::<(), simqat::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimQat {
    /// What flows between the layers.
    pub activations: QuantOptions,
    /// Weights of convolutions and dense layers. Biases are not quantized in training.
    pub weights: QuantOptions,
    /// Where activations are quantized.
    pub placement: Placement,
}

impl Default for SimQat {
    /// What one should deploy: weights symmetric per channel with narrow range, so that their zero point is
    /// exactly 0; activations asymmetric with a moving average, once behind each activation function.
    fn default() -> Self {
        SimQat {
            activations: QuantOptions {
                quant_delay: 0,
                bits: 8,
                per_channel: false,
                symmetric: false,
                narrow_range: false,
                observer: Observer::MovingAverage,
            },
            weights: QuantOptions {
                quant_delay: 0,
                bits: 8,
                per_channel: true,
                symmetric: true,
                narrow_range: true,
                observer: Observer::LastBatch,
            },
            placement: Placement::AfterActivation,
        }
    }
}

impl SimQat {
    /// MindSpore Golden Stick r0.3: last-batch ranges, full range for weights, quantizers behind every layer
    /// and every activation.
    pub fn golden_stick() -> Self {
        let mut options = SimQat { placement: Placement::Everywhere, ..SimQat::default() };
        options.activations.observer = Observer::LastBatch;
        options.weights.narrow_range = false;
        options
    }

    /// The same, with quantization starting after so many training steps, in activations and weights.
    pub fn quant_delay(mut self, steps: u32) -> Self {
        self.activations.quant_delay = steps;
        self.weights.quant_delay = steps;
        self
    }

    /// Fails where an option has a value that cannot be used, with its name and value.
    ///
    /// # Errors
    /// See above.
    pub fn validate(&self) -> Result<()> {
        self.activations.validate("activations")?;
        self.weights.validate("weights")
    }

    /// The quantized network: layers and parameters keep their names, values are copied, and `network` stays
    /// as it was.
    ///
    /// # Errors
    /// Where an option cannot be used, or the device has failed.
    pub fn apply(&self, network: &Network) -> Result<Network> {
        self.validate()?;
        let name = format!("{}Opt", network.name());
        network.with_quantizers(&name, |id, _| quantizers_of(self, network, id))
    }
}
