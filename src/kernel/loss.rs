//! Softmax cross entropy, and the tally that ends a training step.

use super::catalogue::{Entry, entry};
use super::extent;
use super::params::params;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

params!(CrossEntropyParams { rows: u32, classes: u32, smoothing: f32 });
params!(TallyParams { rows: u32, passes: u32 });

/// Steps that the history of [`tally`] holds before the oldest are overwritten.
pub const HISTORY: usize = 1024;

/// Numbers that it holds of each: mean loss, hits, hits among the first five classes, norm of the gradients.
pub const ENTRY: usize = 4;

/// Invocations for a row of many classes; shorter rows have one.
const LANES: usize = 64;

/// What [`softmax_cross_entropy`] gives for logits [N, K].
pub struct CrossEntropy {
    /// Loss of each row, `[N]`.
    pub losses: Tensor,
    /// How many classes come before the row's label by their logits, u32 `[N]`: 0 where the prediction is right. Of
    /// equal logits, the first class comes first.
    pub ranks: Tensor,
    /// Gradient of the mean loss with respect to the logits, [N, K].
    pub gradient: Tensor,
}

fn cross_entropy_shader(wide: bool, smooth: bool) -> ShaderSpec {
    let spec = match wide {
        true => ShaderSpec::new("loss/softmax_cross_entropy_wide.wgsl").with("lanes", LANES as u32),
        false => ShaderSpec::new("loss/softmax_cross_entropy.wgsl"),
    };
    spec.with("smooth", smooth)
}

fn tally_shader() -> ShaderSpec {
    ShaderSpec::new("loss/tally.wgsl").with("capacity", HISTORY as u32)
}

/// Softmax cross entropy of logits [N, K] with labels u32 `[N]`; the loss of a label that is no class is infinite. With label
/// smoothing e the target of a row is (1 - e) * one_hot + e / K (Szegedy et al. 2016, section 7; PyTorch:
/// `CrossEntropyLoss(label_smoothing=e)`).
///
/// # Errors
/// Where shapes or types disagree, the smoothing is not at least 0 and below 1, or the device has failed.
pub fn softmax_cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f32) -> Result<CrossEntropy> {
    let [rows, classes] = logits.shape().matrix("logits")?;
    logits.expect(DType::F32)?;
    labels.expect(DType::U32)?;
    if labels.shape()[..] != [rows] || rows == 0 || classes == 0 {
        return Err(Error::Shape(format!(
            "logits of shape {} want one label for each row, and the labels have shape {}",
            logits.shape(),
            labels.shape()
        )));
    }
    if !(0.0..1.0).contains(&smoothing) {
        return Err(Error::Invalid(format!(
            "a label smoothing of {smoothing}: it must be at least 0 and below 1"
        )));
    }
    let gpu = logits.gpu();
    let losses = Tensor::empty(gpu, [rows], DType::F32)?;
    let ranks = Tensor::empty(gpu, [rows], DType::U32)?;
    let gradient = Tensor::empty(gpu, [rows, classes], DType::F32)?;
    extent(logits.count(), "the number of logits")?;
    let wide = classes >= LANES;
    let launch = gpu
        .launch(cross_entropy_shader(wide, smoothing > 0.0))
        .bind(logits.buffer())
        .bind(labels.buffer())
        .bind(losses.buffer())
        .bind(ranks.buffer())
        .bind(gradient.buffer())
        .params(&CrossEntropyParams { rows: rows as u32, classes: classes as u32, smoothing });
    if wide {
        launch.threads((rows * LANES) as u64, LANES as u32)?;
    } else {
        launch.threads(rows as u64, 8)?;
    }
    Ok(CrossEntropy { losses, ranks, gradient })
}

/// Adds a pass of `passes` to the entry of its step in `history` ([`HISTORY`], [`ENTRY`]): mean loss and hits of all of
/// them. `progress` (u32 `[4]`) is [batch of the epoch, step, halted, passes of the step that are done]: it is halted where the
/// loss is not finite, and otherwise the pass is counted, and the step with its last pass.
///
/// # Errors
/// Where a shape is another, `passes` is 0, or the device has failed.
pub fn tally(loss: &CrossEntropy, history: &Tensor, progress: &Tensor, passes: usize) -> Result<()> {
    expect_progress(history, progress)?;
    loss.losses.expect(DType::F32)?;
    loss.ranks.expect(DType::U32)?;
    let rows = extent(loss.losses.count(), "the number of rows")?;
    if rows == 0 || loss.ranks.count() != loss.losses.count() {
        return Err(Error::Shape(format!(
            "a tally wants one loss and one rank for each row, and their shapes are {} and {}",
            loss.losses.shape(),
            loss.ranks.shape()
        )));
    }
    let passes = extent(passes, "the number of passes in a step")?;
    if passes == 0 {
        return Err(Error::Invalid("a step of 0 passes: it has at least 1".into()));
    }
    loss.losses
        .gpu()
        .launch(tally_shader())
        .bind(loss.losses.buffer())
        .bind(loss.ranks.buffer())
        .bind(history.buffer())
        .bind(progress.buffer())
        .params(&TallyParams { rows, passes })
        .groups([1, 1, 1])
}

/// Fails where these are not what [`tally`] writes.
pub(super) fn expect_progress(history: &Tensor, progress: &Tensor) -> Result<()> {
    progress.expect(DType::U32)?;
    history.expect(DType::F32)?;
    if history.shape()[..] != [HISTORY, ENTRY] || progress.shape()[..] != [4] {
        return Err(Error::Shape(format!(
            "the history must be [{HISTORY}, {ENTRY}] and the progress [4], not {} and {}",
            history.shape(),
            progress.shape()
        )));
    }
    Ok(())
}

pub(super) fn variants() -> Vec<Entry> {
    let cross_entropy = [false, true].into_iter().flat_map(|wide| {
        [false, true].map(|smooth| entry(cross_entropy_shader(wide, smooth), CrossEntropyParams::LAYOUT))
    });
    cross_entropy.chain([entry(tally_shader(), TallyParams::LAYOUT)]).collect()
}
