//! What a run leaves as numbers: `summary.json`.

use serde::{Deserialize, Serialize};

use super::deployment::Int8Summary;

/// A run: the recipe's trainings side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the recipe.
    pub recipe: String,
    /// What the training saw.
    pub data: String,
    /// True where that was the shipped sample: not comparable with published accuracies.
    pub sample: bool,
    /// Name of the adapter.
    pub adapter: String,
    /// Seed of initial values and order.
    pub seed: u64,
    /// Seconds from the start of the program to the end of the first training step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_step_s: Option<f64>,
    /// The float network.
    #[serde(rename = "float", skip_serializing_if = "Option::is_none")]
    pub baseline: Option<TrainingSummary>,
    /// The quantized one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simqat: Option<TrainingSummary>,
    /// The integer network that the quantized one stands for; none where it has a layer without an integer form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8: Option<Int8Summary>,
}

/// One training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingSummary {
    /// Share of correct test images at the end.
    pub top1: f64,
    /// Share of correct images of those that `data.validation` names; none if it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_top1: Option<f64>,
    /// Share of them whose label is among the first five classes; none where there are at most five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Time of a step, the median over the epochs.
    pub ms_per_step: f64,
    /// Size of the last checkpoint.
    pub checkpoint_bytes: u64,
}
