//! Simulated quantization-aware training, as in MindSpore Golden Stick, after Jacob et al. 2018
//! (arXiv 1712.05877) and Krishnamoorthi 2018 (arXiv 1806.08342).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::layer::LayerOptions;
use super::options::{Kind, Observer, QuantOptions, check_steps};
use super::{fusion, placement};
use crate::nn::{BnFold, Network};
use crate::{Error, Result, settings};

/// In whose manner the network is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// As an integer model computes it: one quantizer behind a layer and its activation, sums of residual branches
    /// quantized, `freeze_bn` honoured in every form.
    Deploy,
    /// As Golden Stick r0.3 does: quantizers behind every layer and behind every activation, sums left alone,
    /// `freeze_bn` honoured in the two-convolution fold alone.
    GoldenStick,
}

impl Style {
    pub(crate) fn from_toml(value: &toml::Value) -> Result<Style> {
        let style = value.clone().try_into();
        style.map_err(|e| Error::Invalid(format!("simqat.style = {value}: {}", settings::invalid(e))))
    }
}

/// A number of steps that no training reaches (Golden Stick's default for `freeze_bn`).
pub const PRACTICALLY_NEVER: u32 = 10_000_000;

/// The algorithm and its options.
///
/// ```
/// use simqat::gpu::Gpu;
/// use simqat::nn::models::{ModelInit, lenet5};
/// use simqat::quant::{LayerOptions, SimQat};
///
/// let gpu = Gpu::noop();
/// let network = lenet5(10, ModelInit::He).build(&gpu, 1)?;
/// let simqat = SimQat::default()
///     .quant_delay(900)
///     .for_layers("fc*", LayerOptions { weight_bits: Some(4), ..Default::default() });
/// let quantized = simqat.apply(&network)?;
/// assert!(quantized.is_quantized() && !network.is_quantized());
/// assert!(simqat.lint(&network).is_empty());
/// # Ok::<(), simqat::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimQat {
    /// In whose manner.
    pub style: Style,
    /// Joins every Conv2d with the BatchNorm2d behind it; without it, `bn_fold` has no effect.
    pub enable_fusion: bool,
    /// Simulates in training that the normalization is folded into the weights.
    pub bn_fold: bool,
    /// Folds with one convolution instead of two.
    pub one_conv_fold: bool,
    /// Training steps after which normalizations go by their running statistics and leave these alone.
    pub freeze_bn: u32,
    /// Training steps after which observed ranges stand still.
    pub freeze_observers: u32,
    /// What flows between the layers.
    pub activations: QuantOptions,
    /// Weights of convolutions and dense layers. Biases are not quantized in training.
    pub weights: QuantOptions,
    /// What is different for layers whose names match a pattern (`*` any letters, `?` one).
    pub layer: BTreeMap<String, LayerOptions>,
}

impl Default for SimQat {
    /// What one should deploy: weights symmetric per channel with narrow range, so that their zero point is exactly 0;
    /// activations asymmetric with a moving average, once behind each activation function; normalizations folded with
    /// two convolutions.
    fn default() -> Self {
        SimQat {
            style: Style::Deploy,
            enable_fusion: true,
            bn_fold: true,
            one_conv_fold: false,
            freeze_bn: PRACTICALLY_NEVER,
            freeze_observers: PRACTICALLY_NEVER,
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
            layer: BTreeMap::new(),
        }
    }
}

impl SimQat {
    /// MindSpore Golden Stick r0.3 with its defaults: last-batch ranges, full range for weights, quantizers behind
    /// every layer and every activation, no fusion.
    pub fn golden_stick() -> Self {
        let mut options = SimQat {
            style: Style::GoldenStick,
            enable_fusion: false,
            bn_fold: false,
            one_conv_fold: true,
            ..SimQat::default()
        };
        options.activations.observer = Observer::LastBatch;
        options.weights.narrow_range = false;
        options
    }

    /// The preset of a style.
    pub fn preset(style: Style) -> Self {
        match style {
            Style::Deploy => SimQat::default(),
            Style::GoldenStick => SimQat::golden_stick(),
        }
    }

    /// The same, with quantization starting after so many training steps, in activations and weights.
    pub fn quant_delay(mut self, steps: u32) -> Self {
        self.activations.quant_delay = steps;
        self.weights.quant_delay = steps;
        self
    }

    /// The same, with so many bits for activations and weights.
    pub fn bits(mut self, activations: u32, weights: u32) -> Self {
        self.activations.bits = activations;
        self.weights.bits = weights;
        self
    }

    /// The same, with the grids of activations and weights found in another way.
    pub fn observer(mut self, activations: Observer, weights: Observer) -> Self {
        self.activations.observer = activations;
        self.weights.observer = weights;
        self
    }

    /// The same, with normalizations going by their running statistics after so many training steps.
    pub fn freeze_bn(mut self, steps: u32) -> Self {
        self.freeze_bn = steps;
        self
    }

    /// The same, with observed ranges standing still after so many training steps.
    pub fn freeze_observers(mut self, steps: u32) -> Self {
        self.freeze_observers = steps;
        self
    }

    /// The same, with options for activations changed: `.activations(|a| a.symmetric = true)`.
    pub fn activations(mut self, change: impl FnOnce(&mut QuantOptions)) -> Self {
        change(&mut self.activations);
        self
    }

    /// The same, with options for weights changed: `.weights(|w| w.per_channel = false)`.
    pub fn weights(mut self, change: impl FnOnce(&mut QuantOptions)) -> Self {
        change(&mut self.weights);
        self
    }

    /// The same, with normalizations joined to their convolutions and folded in this form.
    pub fn fold(mut self, fold: BnFold) -> Self {
        self.enable_fusion = true;
        (self.bn_fold, self.one_conv_fold) = match fold {
            BnFold::Without => (false, self.one_conv_fold),
            BnFold::OneConv => (true, true),
            BnFold::TwoConv => (true, false),
        };
        self
    }

    /// The same, with other options for the layers whose names match `pattern`.
    pub fn for_layers(mut self, pattern: &str, options: LayerOptions) -> Self {
        self.layer.insert(pattern.into(), options);
        self
    }

    /// Reads options from TOML; what is left out is as in the preset of the style that is named, or by default.
    ///
    /// ```
    /// # use simqat::quant::SimQat;
    /// let simqat = SimQat::from_toml("style = \"golden_stick\"\n[weights]\nbits = 4")?;
    /// assert_eq!(simqat, SimQat::golden_stick().bits(8, 4));
    /// # Ok::<(), simqat::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the text is no TOML, or a key or value cannot be used, with its name.
    pub fn from_toml(text: &str) -> Result<Self> {
        let given: toml::Table = toml::from_str(text).map_err(settings::invalid)?;
        let style = given.get("style").map(Style::from_toml).transpose()?;
        let preset = SimQat::preset(style.unwrap_or(Style::Deploy));
        let defaults = toml::Table::try_from(preset)
            .map_err(|e| Error::Invalid(format!("the default options cannot be written: {e}")))?;
        let simqat: SimQat = settings::over(defaults, given, "simqat", &["simqat.layer"])?;
        simqat.validate()?;
        Ok(simqat)
    }

    /// Fails where an option has a value that cannot be used, with its name and value.
    ///
    /// # Errors
    /// See above.
    pub fn validate(&self) -> Result<()> {
        self.activations.validate(Kind::Activations, "simqat.activations.")?;
        self.weights.validate(Kind::Weights, "simqat.weights.")?;
        check_steps("simqat.freeze_bn", self.freeze_bn)?;
        check_steps("simqat.freeze_observers", self.freeze_observers)?;
        self.validate_layers()
    }

    /// The quantized network: layers and parameters keep their names, values are copied, and `network` stays
    /// as it was.
    ///
    /// # Errors
    /// Where an option cannot be used, a pattern matches no layer, or the device has failed.
    pub fn apply(&self, network: &Network) -> Result<Network> {
        self.validate()?;
        if network.is_quantized() {
            return Err(Error::Invalid(format!(
                "{} is quantized already; apply SimQAT to the float network",
                network.name()
            )));
        }
        let graph = fusion::fuse(self, network.graph());
        self.check_patterns(&graph)?;
        let graph = placement::place(self, graph);
        let quantized = network.with_graph(&format!("{}Opt", network.name()), graph)?;
        // The steps of the float training are none of the quantized one, whose freezing goes by the count.
        for (path, norm) in quantized.norms() {
            quantized.norm_state(path)?.steps.write_u32(&vec![0; norm.channels])?;
        }
        Ok(quantized)
    }
}
