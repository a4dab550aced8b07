//! Accuracy and loss over a whole split, its last short batch included.

use serde::Serialize;

use super::feed::Feed;
use crate::autograd::Var;
use crate::kernel::loss::{ENTRY, HISTORY, tally};
use crate::nn::Network;
use crate::ops::softmax_cross_entropy;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Classes among which the label is looked for besides the first: with as few classes as these, it is always there.
pub(super) const TOP: usize = 5;

/// What an evaluation found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images whose largest logit is their label's.
    pub correct: usize,
    /// Images among whose five largest logits is their label's; none where there are at most five classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_top5: Option<usize>,
    /// Images seen.
    pub images: usize,
    /// Mean loss over the images, without label smoothing.
    pub loss: f64,
}

impl Evaluation {
    /// Share of correct images.
    pub fn top1(&self) -> f64 {
        self.correct as f64 / self.images as f64
    }

    /// Share of images whose label is among the first five classes; none where there are at most five.
    pub fn top5(&self) -> Option<f64> {
        Some(self.in_top5? as f64 / self.images as f64)
    }
}

/// Runs the network in evaluation mode over all images of a feed; nothing in the network changes.
///
/// # Errors
/// Where shapes do not fit, a label is no class of the network, the loss is not finite, or the device has failed.
pub fn evaluate(network: &Network, feed: &Feed) -> Result<Evaluation> {
    feed.check_fits(network)?;
    let gpu = network.gpu();
    let progress = Feed::progress(gpu)?;
    let history = Tensor::zeros(gpu, [HISTORY, ENTRY], DType::F32)?;
    let mut sizes = vec![feed.batch(); feed.len() / feed.batch()];
    sizes.extend((!feed.len().is_multiple_of(feed.batch())).then_some(feed.len() % feed.batch()));
    let (mut correct, mut in_top5, mut loss) = (0.0, 0.0, 0.0);
    let mut batch = 0;
    // The history is a ring; read it before it comes around.
    for round in sizes.chunks(HISTORY) {
        for &rows in round {
            feed.supply(batch)?;
            batch += 1;
            let (images, labels) = feed.gather(&progress, rows)?;
            let logits = Var::constant(network.predict(&images)?);
            tally(&softmax_cross_entropy(&logits, &labels)?.rows, &history, &progress, 1)?;
        }
        for (&rows, entry) in round.iter().zip(history.read_f32()?.chunks_exact(ENTRY)) {
            loss += f64::from(entry[0]) * rows as f64;
            correct += f64::from(entry[1]);
            in_top5 += f64::from(entry[2]);
        }
    }
    if !loss.is_finite() {
        return Err(Error::Diverged(format!(
            "the loss of {} over the {} images is {loss}",
            network.name(),
            feed.len()
        )));
    }
    Ok(Evaluation {
        correct: correct as usize,
        in_top5: (network.output_shape().count() > TOP).then_some(in_top5 as usize),
        images: feed.len(),
        loss: loss / feed.len() as f64,
    })
}
