//! Softmax cross entropy, and the tally that ends a training step.

use super::catalogue::{Entry, entry};
use super::params::params;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

params!(CrossEntropyParams { rows: u32, classes: u32 });
params!(TallyParams { rows: u32 });

/// Steps that the history of [`tally`] holds before the oldest are overwritten.
pub const HISTORY: usize = 1024;

/// What [`softmax_cross_entropy`] gives for logits [N, K].
pub struct CrossEntropy {
    /// Loss of each row, `[N]`.
    pub losses: Tensor,
    /// 1 where the row's largest logit is its label's, u32 `[N]`.
    pub hits: Tensor,
    /// Gradient of the mean loss with respect to the logits, [N, K].
    pub gradient: Tensor,
}

fn cross_entropy_shader() -> ShaderSpec {
    ShaderSpec::new("loss/softmax_cross_entropy.wgsl")
}

fn tally_shader() -> ShaderSpec {
    ShaderSpec::new("loss/tally.wgsl").with("capacity", HISTORY as u32)
}

/// Softmax cross entropy of logits [N, K] with labels u32 `[N]`. A label that is no class must be found before:
/// it would read beside the row.
///
/// # Errors
/// Where shapes or types disagree, or the device has failed.
pub fn softmax_cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<CrossEntropy> {
    let [rows, classes] = logits.shape().matrix("logits")?;
    labels.expect(DType::U32)?;
    if labels.shape()[..] != [rows] || rows == 0 || classes == 0 {
        return Err(Error::Shape(format!(
            "logits of shape {} want one label for each row, and the labels have shape {}",
            logits.shape(),
            labels.shape()
        )));
    }
    let gpu = logits.gpu();
    let losses = Tensor::empty(gpu, [rows], DType::F32)?;
    let hits = Tensor::empty(gpu, [rows], DType::U32)?;
    let gradient = Tensor::empty(gpu, [rows, classes], DType::F32)?;
    gpu.launch(cross_entropy_shader())
        .bind(logits.buffer())
        .bind(labels.buffer())
        .bind(losses.buffer())
        .bind(hits.buffer())
        .bind(gradient.buffer())
        .params(&CrossEntropyParams { rows: rows as u32, classes: classes as u32 })
        .threads(rows as u64, 8)?;
    Ok(CrossEntropy { losses, hits, gradient })
}

/// Puts [mean loss, hits] of this step into `history` ([`HISTORY`], 2) at the step's place, raises
/// `progress[2]` if the loss is not finite, and otherwise counts the step in `progress[0]` and `progress[1]`.
///
/// # Errors
/// Where the device has failed.
pub fn tally(loss: &CrossEntropy, history: &Tensor, progress: &Tensor) -> Result<()> {
    progress.expect(DType::U32)?;
    if history.shape()[..] != [HISTORY, 2] {
        return Err(Error::Shape(format!("the history must be [{HISTORY}, 2], not {}", history.shape())));
    }
    loss.losses
        .gpu()
        .launch(tally_shader())
        .bind(loss.losses.buffer())
        .bind(loss.hits.buffer())
        .bind(history.buffer())
        .bind(progress.buffer())
        .params(&TallyParams { rows: loss.losses.count() as u32 })
        .groups([1, 1, 1])
}

pub(super) fn variants() -> Vec<Entry> {
    vec![
        entry(cross_entropy_shader(), CrossEntropyParams::LAYOUT),
        entry(tally_shader(), TallyParams::LAYOUT),
    ]
}
