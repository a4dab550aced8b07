//! Training: batches, the loop, what watches it, what it leaves behind. Everything here works for any
//! network; what a network computes is settled below.

mod calibrate;
pub mod callback;
pub mod checkpoint;
pub mod compared_inputs;
mod deployment;
mod diagnose;
mod evaluate;
mod feed;
mod memory;
mod normalization;
mod options;
mod post_training;
mod preparation;
mod recipe;
mod report;
mod reports;
mod run;
mod trainer;
pub mod weights;

pub use calibrate::{calibrate, reestimate_batch_norm};
pub use callback::{
    Callback, EpochReport, Freeze, LossMonitor, MetricsLog, ModelCheckpoint, StepReport, TimeMonitor,
};
pub use deployment::Int8Summary;
pub use evaluate::{Evaluation, evaluate, evaluate_int8};
pub use feed::{Feed, FeedOptions};
pub use memory::StepMemory;
pub use normalization::Normalization;
pub use options::{RunMode, TrainerOptions};
pub use post_training::PostTraining;
pub use recipe::{
    AugmentRecipe, CheckpointRecipe, DataRecipe, EvaluateRecipe, ModelRecipe, OptimizerRecipe, Recipe,
    ResNetRecipe, TrainRecipe, Validation,
};
pub use report::{Summary, TrainingSummary};
pub use run::{Done, Job, RunFolder, Variant};
pub use trainer::{Outcome, StopFlag, Trainer};
