//! Options for single layers, chosen by a pattern over their names.

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use super::options::{Kind, Observer, QuantOptions};
use super::simqat::SimQat;
use crate::nn::Graph;
use crate::{Error, Result};

/// What is different for the layers that a pattern matches; what is left out is as for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerOptions {
    /// Leaves the layer without quantizers.
    pub skip: Option<bool>,
    /// As `weights.bits`, and so on.
    pub weight_bits: Option<u32>,
    /// See above.
    pub weight_quant_delay: Option<u32>,
    /// See above.
    pub weight_per_channel: Option<bool>,
    /// See above.
    pub weight_symmetric: Option<bool>,
    /// See above.
    pub weight_narrow_range: Option<bool>,
    /// See above.
    pub weight_observer: Option<Observer>,
    /// As `activations.bits`, and so on, for what goes into the layer and comes out of it.
    pub activation_bits: Option<u32>,
    /// See above.
    pub activation_quant_delay: Option<u32>,
    /// See above.
    pub activation_symmetric: Option<bool>,
    /// See above.
    pub activation_narrow_range: Option<bool>,
    /// See above.
    pub activation_observer: Option<Observer>,
}

impl LayerOptions {
    /// True where an option for weights is given.
    pub(super) fn is_for_weights(&self) -> bool {
        let weights = LayerOptions {
            weight_bits: self.weight_bits,
            weight_quant_delay: self.weight_quant_delay,
            weight_per_channel: self.weight_per_channel,
            weight_symmetric: self.weight_symmetric,
            weight_narrow_range: self.weight_narrow_range,
            weight_observer: self.weight_observer,
            ..LayerOptions::default()
        };
        weights != LayerOptions::default()
    }

    /// True where anything but `skip` is given.
    pub(super) fn is_more_than_skip(&self) -> bool {
        LayerOptions { skip: None, ..self.clone() } != LayerOptions::default()
    }

    fn change(&self, settings: &mut Settings) {
        fn put<T: Copy>(slot: &mut T, given: Option<T>) {
            *slot = given.unwrap_or(*slot);
        }
        put(&mut settings.skip, self.skip);
        let weights = &mut settings.weights;
        put(&mut weights.bits, self.weight_bits);
        put(&mut weights.quant_delay, self.weight_quant_delay);
        put(&mut weights.per_channel, self.weight_per_channel);
        put(&mut weights.symmetric, self.weight_symmetric);
        put(&mut weights.narrow_range, self.weight_narrow_range);
        put(&mut weights.observer, self.weight_observer);
        let activations = &mut settings.activations;
        put(&mut activations.bits, self.activation_bits);
        put(&mut activations.quant_delay, self.activation_quant_delay);
        put(&mut activations.symmetric, self.activation_symmetric);
        put(&mut activations.narrow_range, self.activation_narrow_range);
        put(&mut activations.observer, self.activation_observer);
    }
}

/// What holds for one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub skip: bool,
    pub activations: QuantOptions,
    pub weights: QuantOptions,
}

impl SimQat {
    /// What holds for the layer `name`. Where several patterns match, the one with more letters that are not
    /// wildcards decides; of equally long ones the later in the alphabet.
    pub(super) fn settings_for(&self, name: &str) -> Settings {
        let mut matching: Vec<(&String, &LayerOptions)> =
            self.layer.iter().filter(|(pattern, _)| WildMatch::new(pattern).matches(name)).collect();
        // A stable sort of entries that come in alphabetical order.
        matching.sort_by_key(|(pattern, _)| letters(pattern));
        let mut settings = Settings { skip: false, activations: self.activations, weights: self.weights };
        matching.into_iter().for_each(|(_, options)| options.change(&mut settings));
        settings
    }

    /// Fails where options for layers cannot be used.
    pub(super) fn validate_layers(&self) -> Result<()> {
        for (pattern, options) in &self.layer {
            let mut settings = Settings { skip: false, activations: self.activations, weights: self.weights };
            options.change(&mut settings);
            settings
                .activations
                .validate(Kind::Activations, &format!("simqat.layer.\"{pattern}\".activation_"))?;
            settings.weights.validate(Kind::Weights, &format!("simqat.layer.\"{pattern}\".weight_"))?;
        }
        Ok(())
    }

    /// Fails where a pattern matches no layer: it was surely meant to.
    pub(super) fn check_patterns(&self, graph: &Graph) -> Result<()> {
        let lost = self.layer.keys().find(|pattern| {
            let pattern = WildMatch::new(pattern);
            !graph.nodes.iter().any(|node| pattern.matches(&node.name))
        });
        let Some(pattern) = lost else { return Ok(()) };
        let names: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
        Err(Error::Invalid(format!(
            "simqat.layer.\"{pattern}\" matches no layer; there are {}",
            names.join(", ")
        )))
    }
}

fn letters(pattern: &str) -> usize {
    pattern.chars().filter(|c| !"*?".contains(*c)).count()
}
