//! Options without effect: silence is how people lose a training run.

use std::fmt;

use wildmatch::WildMatch;

use super::fusion;
use super::options::Observer;
use super::simqat::{SimQat, Style};
use crate::nn::{BnFold, Graph, Layer, Network};

/// An option that was set and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its path and value: `simqat.bn_fold = true`.
    pub option: String,
    /// Why, and what to do.
    pub reason: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no effect: {}", self.option, self.reason)
    }
}

impl SimQat {
    /// Options that differ from the preset of their style and have no effect on this network, each with the reason.
    pub fn lint(&self, network: &Network) -> Vec<Finding> {
        let graph = fusion::fuse(self, network.graph());
        let mut findings = Findings { preset: SimQat::preset(self.style), list: Vec::new() };
        self.lint_fusion(&graph, &mut findings);
        self.lint_observers(&graph, &mut findings);
        self.lint_layers(&graph, &mut findings);
        findings.list
    }

    fn lint_fusion(&self, graph: &Graph, findings: &mut Findings) {
        let preset = findings.preset.clone();
        let is_fused = graph.nodes.iter().any(|n| matches!(n.layer, Layer::Conv2dBn(_)));
        let has_norm = graph.nodes.iter().any(|n| n.norm().is_some());
        let no_pair = "the network has no Conv2d whose only consumer is a BatchNorm2d";
        if self.enable_fusion != preset.enable_fusion && self.enable_fusion && !is_fused {
            findings.add("enable_fusion", true, no_pair);
        }
        if self.bn_fold != preset.bn_fold && self.bn_fold && !self.enable_fusion {
            findings.add("bn_fold", true, "enable_fusion is false; set it to true");
        } else if self.bn_fold != preset.bn_fold && self.bn_fold && !is_fused {
            findings.add("bn_fold", true, no_pair);
        }
        if self.one_conv_fold != preset.one_conv_fold {
            let value = self.one_conv_fold;
            if !self.enable_fusion {
                findings.add("one_conv_fold", value, "enable_fusion is false; set it and bn_fold to true");
            } else if !self.bn_fold {
                findings.add("one_conv_fold", value, "bn_fold is false; set it to true");
            } else if !is_fused {
                findings.add("one_conv_fold", value, no_pair);
            }
        }
        if self.freeze_bn != preset.freeze_bn {
            let in_two_conv_alone = self.style == Style::GoldenStick;
            if !has_norm {
                findings.add("freeze_bn", self.freeze_bn, "the network has no BatchNorm2d");
            } else if in_two_conv_alone && !(self.enable_fusion && self.form() == BnFold::TwoConv) {
                let reason = "the style \"golden_stick\" freezes normalizations in the two-convolution fold alone; set \
                              enable_fusion and bn_fold to true and one_conv_fold to false, or style to \"deploy\"";
                findings.add("freeze_bn", self.freeze_bn, reason);
            }
        }
    }

    fn lint_observers(&self, graph: &Graph, findings: &mut Findings) {
        let preset = findings.preset.clone();
        let settings = || graph.nodes.iter().map(|n| self.settings_for(&n.name)).filter(|s| !s.skip);
        let learned = |observer| observer == Observer::LearnedStep;
        let all_learned = settings().all(|s| learned(s.activations.observer) && learned(s.weights.observer));
        if self.freeze_observers != preset.freeze_observers && all_learned {
            let reason = "every quantizer learns its step, and none observes a range";
            findings.add("freeze_observers", self.freeze_observers, reason);
        }
        if self.weights.symmetric != preset.weights.symmetric && learned(self.weights.observer) {
            let reason = "a learned step of weights is always symmetric";
            findings.add("weights.symmetric", self.weights.symmetric, reason);
        }
        if settings().count() == 0 {
            findings.add("layer", "(all together)", "no layer is left to be quantized: every one is skipped");
        }
    }

    fn lint_layers(&self, graph: &Graph, findings: &mut Findings) {
        for (pattern, options) in &self.layer {
            let name = |own: &str| format!("layer.\"{pattern}\"{own}");
            let matcher = WildMatch::new(pattern);
            let matching = || graph.nodes.iter().filter(|n| matcher.matches(&n.name));
            if !options.is_more_than_skip() && options.skip.is_none() {
                findings.add(&name(""), "{}", "it says nothing");
            }
            if options.skip == Some(true) && options.is_more_than_skip() {
                let reason = "skip = true leaves the layer without quantizers; leave out one of the two";
                findings.add(&name(""), "its other options", reason);
            }
            if options.is_for_weights() && matching().all(|n| n.layer.weight_channels().is_none()) {
                findings.add(&name(".weight_*"), "as given", "the layers that match have no weights");
            }
        }
    }
}

struct Findings {
    preset: SimQat,
    list: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, option: &str, value: impl fmt::Display, reason: &str) {
        self.list.push(Finding { option: format!("simqat.{option} = {value}"), reason: reason.into() });
    }
}
