//! Options without effect: silence is how people lose a training run. They are found by trying them. Rewriting a graph
//! needs no device, so each option that was set is given another value: where the network becomes the same, the option
//! has no effect.

mod reason;
mod setting;

use std::fmt;

use self::setting::Setting;
use super::simqat::SimQat;
use super::{fusion, placement};
use crate::nn::{BnFold, FakeQuantizer, Graph, Layer, Network, Node, QuantizerRule, Slot};

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
    /// Options that were set and have no effect on this network, each with the reason. An option is set where it differs
    /// from the preset of the style, where it stands under `layer`, and where it is `bn_fold = true` without fusion.
    pub fn lint(&self, network: &Network) -> Vec<Finding> {
        self.lint_for(network, Length { steps: usize::MAX, accumulate: 1 })
    }

    /// As [`SimQat::lint`], with the options that have no effect in a training of that length.
    pub fn lint_for(&self, network: &Network, length: Length) -> Vec<Finding> {
        let batches = u32::try_from(length.batches()).unwrap_or(ENDLESS);
        Linter { simqat: self, graph: network.graph(), length, batches }.findings()
    }
}

/// How long a training is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Steps of the optimizer.
    pub steps: usize,
    /// Batches in each of them.
    pub accumulate: usize,
}

impl Length {
    /// Batches that the network sees: what delays and freezing count.
    pub fn batches(self) -> usize {
        self.steps.saturating_mul(self.accumulate)
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.accumulate {
            1 => write!(f, "{} steps", self.steps),
            each => write!(f, "{} batches ({} steps of {each})", self.batches(), self.steps),
        }
    }
}

/// A number of batches that is beyond every counter.
const ENDLESS: u32 = u32::MAX;

struct Linter<'a> {
    simqat: &'a SimQat,
    /// Of the float network.
    graph: &'a Graph,
    /// Of the training.
    length: Length,
    /// As counters see it.
    batches: u32,
}

impl Linter<'_> {
    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |option: String, reason: String| findings.push(Finding { option, reason });
        let is_quantized = is_quantized(&self.rewritten(self.simqat));
        if !is_quantized {
            add("simqat".into(), self.why_nothing_is_quantized().into());
        }
        for (pattern, options) in &self.simqat.layer {
            if options.skip.is_none() && !options.is_more_than_skip() {
                add(format!("simqat.layer.\"{pattern}\" = {{}}"), "it says nothing".into());
            }
        }
        // Where nothing is quantized, one finding says so for all options of quantizers.
        for setting in Setting::all(self.simqat).iter().filter(|s| is_quantized || s.is_of_fusion()) {
            if let Some(reason) = self.reason(setting) {
                add(setting.to_string(), reason);
            }
        }
        findings
    }

    /// Why a setting has no effect, if it has none.
    fn reason(&self, setting: &Setting) -> Option<String> {
        let (length, batches) = (self.length, self.batches);
        if !self.matters(self.simqat, setting, ENDLESS) {
            Some(self.why(setting))
        } else if !self.matters(self.simqat, setting, batches) {
            Some(format!("the training has {length}; make it smaller"))
        } else if setting.delay().is_some_and(|delay| delay >= batches.into()) {
            Some(format!("the training has {length} and would be in float to its end; make it smaller"))
        } else {
            None
        }
    }

    /// Whether another value of the setting makes another network, trained with so many batches.
    fn matters(&self, simqat: &SimQat, setting: &Setting, batches: u32) -> bool {
        let decided = |simqat: &SimQat| -> Vec<Decided> {
            self.rewritten(simqat).nodes.iter().map(|node| Decided::of(node, batches)).collect()
        };
        setting.otherwise(simqat).is_none_or(|other| decided(simqat) != decided(&other))
    }

    fn rewritten(&self, simqat: &SimQat) -> Graph {
        placement::place(simqat, fusion::fuse(simqat, self.graph))
    }
}

fn is_quantized(graph: &Graph) -> bool {
    graph.nodes.iter().any(|node| !node.quantizers.is_empty())
}

/// What the options decide about a node. What a rule says and nobody asks for is left out.
#[derive(PartialEq)]
struct Decided {
    name: String,
    fold: Option<BnFold>,
    norm_freeze: Option<u32>,
    quantizers: [Option<FakeQuantizer>; 4],
}

impl Decided {
    fn of(node: &Node, batches: u32) -> Decided {
        let fold = match &node.layer {
            Layer::Conv2dBn(layer) => Some(layer.fold),
            _ => None,
        };
        let quantizer = |slot| {
            let mut quantizer = node.quantizers.get(slot).copied()?;
            match &mut quantizer.rule {
                QuantizerRule::Range(rule) => rule.freeze = rule.freeze.min(batches),
                QuantizerRule::LearnedStep(rule) => rule.narrow_range &= rule.signed,
            }
            Some(quantizer)
        };
        Decided {
            name: node.name.clone(),
            fold,
            norm_freeze: node.norm().map(|(_, norm)| norm.freeze.min(batches)),
            quantizers: Slot::ALL.map(quantizer),
        }
    }
}
