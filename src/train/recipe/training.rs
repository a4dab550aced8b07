//! The loop of a recipe: for how long, by what steps, and what is kept of it.

use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::optim::{MomentumOptions, ScheduleKind};
use crate::quant::Finding;
use crate::train::{RunMode, TrainerOptions};

/// The loop of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainRecipe {
    /// Passes over the training images.
    pub epochs: usize,
    /// "graph" or "eager"
    pub mode: RunMode,
    /// Steps between two reports.
    pub log_every: usize,
    /// Epochs between two evaluations; the last epoch always ends with one.
    pub eval_every: usize,
    /// Batches whose mean gradient makes a step; see [`TrainerOptions::accumulate`].
    pub accumulate: usize,
    /// Share of each target that goes to all classes evenly.
    pub label_smoothing: f32,
    /// Batches that the observers see before the first step of the quantized variant; 0: none.
    pub calibrate_batches: usize,
    /// Batches over which the statistics of normalizations are estimated anew behind the last step; 0: none.
    pub reestimate_batches: usize,
}

impl Default for TrainRecipe {
    fn default() -> Self {
        TrainRecipe {
            epochs: 10,
            mode: RunMode::Graph,
            log_every: 50,
            eval_every: 1,
            accumulate: 1,
            label_smoothing: 0.0,
            calibrate_batches: 0,
            reestimate_batches: 0,
        }
    }
}

/// The optimizer of a recipe: SGD with momentum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimizerRecipe {
    /// Size of a step; with a schedule the largest.
    pub learning_rate: f32,
    /// Share of the last step that stays.
    pub momentum: f32,
    /// Factor of a weight that is added to its gradient. Biases, scales and shifts do not decay.
    pub weight_decay: f32,
    /// Patterns of the names of weights that do not decay either.
    pub no_decay: Vec<String>,
    /// Norm to which gradients are scaled down, all together; 0: they are left as they are.
    pub clip_norm: f32,
}

impl Default for OptimizerRecipe {
    fn default() -> Self {
        let MomentumOptions { learning_rate, momentum, weight_decay } = MomentumOptions::default();
        OptimizerRecipe { learning_rate, momentum, weight_decay, no_decay: Vec::new(), clip_norm: 0.0 }
    }
}

/// What a run keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRecipe {
    /// Steps between two checkpoints.
    pub every_steps: usize,
    /// How many of the newest stay.
    pub keep: usize,
    /// Whether the one with the best accuracy stays besides: on `data.validation`'s images, or if there are none, on the test images.
    pub best: bool,
}

impl Default for CheckpointRecipe {
    fn default() -> Self {
        CheckpointRecipe { every_steps: 1875, keep: 10, best: false }
    }
}

impl Recipe {
    /// Options of the training loop.
    pub fn trainer_options(&self) -> TrainerOptions {
        let OptimizerRecipe { learning_rate, momentum, weight_decay, .. } = self.optimizer;
        TrainerOptions {
            epochs: self.train.epochs,
            seed: self.seed,
            mode: self.train.mode,
            log_every: self.train.log_every,
            optimizer: MomentumOptions { learning_rate, momentum, weight_decay },
            schedule: self.schedule.clone(),
            no_decay: self.optimizer.no_decay.clone(),
            clip_norm: self.optimizer.clip_norm,
            label_smoothing: self.train.label_smoothing,
            accumulate: self.train.accumulate,
            eval_every: self.train.eval_every,
        }
    }

    /// Options of the loop that have no effect beside the others.
    pub(in crate::train) fn lint_training(&self) -> Vec<Finding> {
        let kind = match self.schedule.kind {
            ScheduleKind::Constant => "constant",
            ScheduleKind::Step => "step",
            ScheduleKind::Polynomial => "polynomial",
            ScheduleKind::Cosine => "cosine",
            ScheduleKind::LinearCosine => "linear_cosine",
        };
        let idle = self.schedule.idle().into_iter().map(|(key, value)| Finding {
            option: format!("schedule.{key} = {value}"),
            reason: match key {
                "warmup_from" => "schedule.warmup_epochs is 0".into(),
                _ => format!("schedule.kind = \"{kind}\" does not read it"),
            },
        });
        let without_decay = !self.optimizer.no_decay.is_empty() && self.optimizer.weight_decay == 0.0;
        let no_decay = without_decay.then(|| Finding {
            option: format!("optimizer.no_decay = {:?}", self.optimizer.no_decay),
            reason: "optimizer.weight_decay is 0".into(),
        });
        let late = self.train.eval_every > self.train.epochs;
        let eval_every = late.then(|| Finding {
            option: format!("train.eval_every = {}", self.train.eval_every),
            reason: format!("the training has {} epochs; it is evaluated behind the last", self.train.epochs),
        });
        idle.chain(no_decay).chain(eval_every).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Schedule;

    #[test]
    fn a_recipe_says_all_of_the_loop() {
        let text = "[train]\neval_every = 5\naccumulate = 4\nlabel_smoothing = 0.1\n\
                    [optimizer]\nlearning_rate = 0.1\nweight_decay = 1e-4\nno_decay = [\"*.gamma\"]\nclip_norm = 2\n\
                    [schedule]\nkind = \"linear_cosine\"\nwarmup_epochs = 5\nwarmup_from = 0.01\n\
                    [checkpoint]\nbest = true";
        let recipe = Recipe::parse(text).unwrap();
        let options = recipe.trainer_options();
        assert_eq!(options.schedule, Schedule::new(ScheduleKind::LinearCosine).warmup(5, 0.01));
        assert_eq!((options.eval_every, options.accumulate, options.label_smoothing), (5, 4, 0.1));
        assert_eq!((options.no_decay, options.clip_norm), (vec!["*.gamma".to_string()], 2.0));
        assert!(recipe.checkpoint.best);
        assert_eq!(recipe.lint_training(), []);
        assert_eq!(Recipe::default().trainer_options(), TrainerOptions::default());
    }

    #[test]
    fn options_of_the_loop_without_effect_are_found() {
        let found = |text: &str| {
            let findings = Recipe::parse(text).unwrap().lint_training();
            findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let cases = [
            ("[schedule]\nkind = \"cosine\"\npower = 1", &["schedule.power = 1", "\"cosine\""][..]),
            ("[schedule]\nmilestones = [3]", &["schedule.milestones = [3]", "\"constant\""]),
            ("[schedule]\nwarmup_from = 0.001", &["schedule.warmup_from = 0.001", "warmup_epochs"]),
            ("[optimizer]\nno_decay = [\"x\"]", &["optimizer.no_decay = [\"x\"]", "weight_decay"]),
            ("[train]\neval_every = 11", &["train.eval_every = 11", "10 epochs"]),
        ];
        for (text, parts) in cases {
            let found = found(text);
            assert!(parts.iter().all(|part| found.contains(part)), "{text:?}: {found:?}");
        }
        assert_eq!(found(""), "");
    }

    #[test]
    fn mistakes_in_the_loop_are_named_with_key_and_value() {
        let cases = [
            ("[train]\naccumulate = 0", &["train.accumulate = 0", "at least 1"][..]),
            ("[train]\neval_every = 0", &["train.eval_every = 0", "at least 1"]),
            ("[train]\nlog_every = 513", &["train.log_every = 513", "at most 512"]),
            ("[train]\nlabel_smoothing = 1", &["train.label_smoothing = 1", "below 1"]),
            ("[train]\nlabel_smoothing = -0.1", &["train.label_smoothing = -0.1"]),
            ("[optimizer]\nclip_norm = -1", &["optimizer.clip_norm = -1", "0 for no clipping"]),
            ("[optimizer]\nclip_norm = inf", &["optimizer.clip_norm = inf"]),
            ("[optimizer]\nno_decay = \"*.gamma\"", &["optimizer.no_decay", "string", "array"]),
            ("[optimizer]\nno_decay = [1]", &["string"]),
            ("[schedule]\nkind = \"exponential\"", &["exponential", "linear_cosine"]),
            ("[schedule]\nkind = \"step\"", &["schedule.milestones = []", "[30, 60, 80]"]),
            ("[schedule]\nkind = \"step\"\nmilestones = [5, 3]", &["schedule.milestones = [5, 3]"]),
            ("[schedule]\nwarmup_epochs = 10", &["schedule.warmup_epochs = 10", "train.epochs = 10"]),
            ("[schedule]\nwarmup = 5", &["\"schedule.warmup\"", "\"warmup_"]),
            ("[schedule]\nend = 0.5", &["schedule.end = 0.5", "learning_rate = 0.01"]),
            ("[schedule]\ngamma = 0", &["schedule.gamma = 0"]),
            ("[checkpoint]\nbest = 1", &["checkpoint.best", "integer", "boolean"]),
        ];
        for (text, parts) in cases {
            let error = Recipe::parse(text).unwrap_err().to_string();
            for part in parts {
                assert!(error.contains(part), "{text:?}: {part:?} is not in: {error}");
            }
        }
    }
}
