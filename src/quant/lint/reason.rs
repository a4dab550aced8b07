//! Why an option has no effect. Most reasons are found by trying, too: what cures it was the reason.

use wildmatch::WildMatch;

use super::setting::Setting;
use super::{ENDLESS, Linter, is_quantized};
use crate::nn::{BnFold, Layer, NodeId};
use crate::quant::options::Observer;
use crate::quant::simqat::{SimQat, Style};

/// A change under which an option may have an effect (`pattern` is the one it stands under), and what to say if so.
type Cure = (fn(simqat: &mut SimQat, pattern: Option<&str>), &'static str);

const NO_PAIR: &str = "the network has no Conv2d whose only consumer is a BatchNorm2d";

const FUSION: &[Cure] = &[
    (|o, _| o.enable_fusion = true, "enable_fusion is false; set it to true"),
    (|o, _| o.bn_fold = true, "bn_fold is false; set it to true"),
    (
        |o, _| (o.enable_fusion, o.bn_fold) = (true, true),
        "enable_fusion is false; set it and bn_fold to true",
    ),
];

const FREEZE_BN: &[Cure] = &[
    (
        |o, _| *o = o.clone().fold(BnFold::TwoConv),
        "the style \"golden_stick\" freezes normalizations in the two-convolution fold alone; set enable_fusion and \
         bn_fold to true and one_conv_fold to false, or style to \"deploy\"",
    ),
    SKIPPED,
    (
        |o, _| o.style = Style::Deploy,
        "the style \"golden_stick\" freezes normalizations in the two-convolution fold alone, and there is none; set \
         style to \"deploy\"",
    ),
];

const FREEZE_OBSERVERS: &[Cure] =
    &[(|o, _| observe_ranges(o), "every quantizer learns its step, and none observes a range")];

const SYMMETRIC_WEIGHTS: &[Cure] =
    &[(|o, _| observe_ranges(o), "a learned step of weights is always symmetric")];

const SYMMETRIC_ACTIVATIONS: &[Cure] =
    &[(|o, _| observe_ranges(o), "a learned step of values that can be negative is always symmetric")];

const NARROW_RANGE: &[Cure] = &[(
    |o, _| observe_ranges(o),
    "a learned step of values that cannot be negative has no code below zero to leave out",
)];

const SKIPPED: Cure = (
    |o, _| o.layer.values_mut().for_each(|options| options.skip = None),
    "every layer that it would concern is skipped",
);

/// What may keep any option from its effect.
const ANY: &[Cure] = &[
    (
        |o, pattern| {
            let own = pattern.and_then(|pattern| o.layer.get_mut(pattern));
            own.into_iter().for_each(|options| options.skip = None);
        },
        "skip = true leaves the layer without quantizers; leave out one of the two",
    ),
    SKIPPED,
    (
        |o, pattern| o.layer.retain(|other, _| Some(other.as_str()) == pattern),
        "patterns under simqat.layer say otherwise for every layer that it would concern",
    ),
];

fn observe_ranges(simqat: &mut SimQat) {
    (simqat.activations.observer, simqat.weights.observer) = (Observer::LastBatch, Observer::LastBatch);
    for options in simqat.layer.values_mut() {
        (options.activation_observer, options.weight_observer) = (None, None);
    }
}

impl Linter<'_> {
    /// The reason why a setting has no effect, however long the training is.
    pub(super) fn why(&self, setting: &Setting) -> String {
        let own = match setting.key() {
            "freeze_bn" => FREEZE_BN,
            "freeze_observers" => FREEZE_OBSERVERS,
            _ if setting.is_of_fusion() => FUSION,
            key if key.ends_with("symmetric") && setting.is_of_weights() => SYMMETRIC_WEIGHTS,
            key if key.ends_with("symmetric") => SYMMETRIC_ACTIVATIONS,
            key if key.ends_with("narrow_range") => NARROW_RANGE,
            _ => &[],
        };
        let cured = own.iter().chain(ANY).find(|(cure, _)| {
            let mut simqat = self.simqat.clone();
            cure(&mut simqat, setting.pattern());
            self.matters(&simqat, setting, ENDLESS)
        });
        match (cured, setting.pattern()) {
            (Some((_, reason)), _) => (*reason).into(),
            (None, Some(pattern)) => self.why_not_for(pattern, setting),
            (None, None) => self.why_not_at_all(setting).into(),
        }
    }

    /// Why no options give an effect to one that is for all layers: it is the network.
    fn why_not_at_all(&self, setting: &Setting) -> &'static str {
        let has_norm = self.graph.nodes.iter().any(|node| node.norm().is_some());
        match setting.key() {
            "freeze_bn" if has_norm => "every normalization freezes earlier by itself",
            "freeze_bn" => "the network has no BatchNorm2d",
            _ if setting.is_of_fusion() => NO_PAIR,
            _ if setting.is_of_weights() => "no quantizer of weights goes by it",
            _ => "no quantizer goes by it",
        }
    }

    /// Why no options give an effect to one of single layers: it is these layers.
    fn why_not_for(&self, pattern: &str, setting: &Setting) -> String {
        let graph = self.rewritten(self.simqat);
        let matcher = WildMatch::new(pattern);
        let matching = || (0..graph.nodes.len()).filter(|&id| matcher.matches(&graph.nodes[id].name));
        // The activation that quantizes what a layer computes.
        let rounded_behind = |id: NodeId| {
            let next = &graph.nodes[graph.only_consumer(id)?];
            let is_left_to = matches!(next.layer, Layer::Activation(_)) && next.quantizers.output.is_some();
            let computes = !matches!(graph.nodes[id].layer, Layer::MaxPool2d(_) | Layer::Flatten);
            (is_left_to && computes).then_some((&graph.nodes[id].name, &next.name))
        };
        if matching().next().is_none() {
            return "the pattern matches no layer".into();
        }
        if setting.key() == "skip" {
            return "the layers that match are quantized in no case".into();
        }
        if setting.is_of_weights() && matching().all(|id| graph.nodes[id].layer.weight_channels().is_none()) {
            return "the layers that match have no weights".into();
        }
        match matching().find_map(rounded_behind) {
            Some((layer, next)) if !setting.is_of_weights() => format!(
                "{layer} takes values that are quantized already, and leaves its own to {next}; set it for {next}"
            ),
            _ => "the layers that match have no such quantizers".into(),
        }
    }

    /// Why no quantizer is placed.
    pub(super) fn why_nothing_is_quantized(&self) -> &'static str {
        match is_quantized(&self.rewritten(&SimQat { layer: Default::default(), ..self.simqat.clone() })) {
            true => "no layer is left to be quantized: every one is skipped",
            false => "the network has no layer that can be quantized",
        }
    }
}
