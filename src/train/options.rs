//! What a training is told before it begins.

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::kernel::loss::HISTORY;
use crate::optim::{MomentumOptions, Schedule};
use crate::{Error, Result};

/// How steps run. Both give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunMode {
    /// Each step is built anew.
    Eager,
    /// The first step is recorded and replayed.
    #[default]
    Graph,
}

/// Options of a [`Trainer`](super::Trainer).
#[derive(Clone, Debug, PartialEq)]
pub struct TrainerOptions {
    /// Passes over the training images.
    pub epochs: usize,
    /// Draws the order of the images.
    pub seed: u64,
    /// Eager or recorded.
    pub mode: RunMode,
    /// Steps between two reports, at most 512.
    pub log_every: usize,
    /// Of the optimizer. With a schedule, its learning rate is the largest one.
    pub optimizer: MomentumOptions,
    /// The learning rate of each step.
    pub schedule: Schedule,
    /// Patterns such as `*.gamma` of the names of parameters that do not decay. Parameters of one axis (biases, scales and
    /// shifts, learned steps) never do.
    pub no_decay: Vec<String>,
    /// Gradients are scaled down to this norm where theirs is larger, all together; 0: never.
    pub clip_norm: f32,
    /// Share of each target that goes to all classes evenly; see [`crate::ops::smoothed_cross_entropy`]. Evaluations have none.
    pub label_smoothing: f32,
    /// Batches whose mean gradient makes a step. A network sees one batch at a time: normalization takes its statistics over
    /// a batch, and the counters of quantizers and normalizations (delays, freezing) count batches. All else counts steps.
    pub accumulate: usize,
    /// Epochs between two evaluations; the last epoch always ends with one.
    pub eval_every: usize,
}

impl Default for TrainerOptions {
    /// Ten epochs in graph mode at a constant rate, evaluated after each.
    fn default() -> Self {
        TrainerOptions {
            epochs: 10,
            seed: 1,
            mode: RunMode::Graph,
            log_every: 50,
            optimizer: MomentumOptions::default(),
            schedule: Schedule::default(),
            no_decay: Vec::new(),
            clip_norm: 0.0,
            label_smoothing: 0.0,
            accumulate: 1,
            eval_every: 1,
        }
    }
}

impl TrainerOptions {
    /// Fails where a value makes no sense, with its key in a recipe.
    ///
    /// # Errors
    /// See above.
    pub fn validate(&self) -> Result<()> {
        let wrong =
            |key: &str, value: String, hint: &str| Err(Error::Invalid(format!("{key} = {value}: {hint}")));
        let counts = [
            ("train.log_every", self.log_every, HISTORY / 2),
            ("train.accumulate", self.accumulate, usize::MAX),
            ("train.eval_every", self.eval_every, usize::MAX),
        ];
        for (key, value, most) in counts {
            if value == 0 || value > most {
                let most = if most == usize::MAX { String::new() } else { format!(" and at most {most}") };
                return wrong(key, value.to_string(), &format!("it must be at least 1{most}"));
            }
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let hint = "it must be at least 0 and below 1";
            return wrong("train.label_smoothing", self.label_smoothing.to_string(), hint);
        }
        if !(self.clip_norm >= 0.0 && self.clip_norm.is_finite()) {
            let hint = "it must be a positive number, or 0 for no clipping";
            return wrong("optimizer.clip_norm", self.clip_norm.to_string(), hint);
        }
        self.optimizer.validate()?;
        self.schedule.validate(self.optimizer.learning_rate, self.epochs)
    }

    /// True where a parameter may decay by its name.
    pub(super) fn may_decay(&self, name: &str) -> bool {
        !self.no_decay.iter().any(|pattern| WildMatch::new(pattern).matches(name))
    }

    /// The patterns of `no_decay` that none of these names has.
    pub(super) fn unmatched<'a>(&'a self, names: &[&str]) -> Vec<&'a str> {
        let idle = |pattern: &&str| {
            let pattern = WildMatch::new(pattern);
            !names.iter().any(|name| pattern.matches(name))
        };
        self.no_decay.iter().map(String::as_str).filter(idle).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_kept_from_decaying_by_name() {
        let no_decay = ["*.gamma", "fc?.weight", "*.slope"].map(String::from).into();
        let options = TrainerOptions { no_decay, ..TrainerOptions::default() };
        let names = ["layer1.0.bn2.gamma", "fc1.weight", "conv1.weight", "fc10.weight"];
        assert_eq!(names.map(|name| options.may_decay(name)), [false, false, true, true]);
        assert_eq!(options.unmatched(&names), ["*.slope"]);
        assert!(TrainerOptions::default().may_decay("fc1.weight"));
    }
}
