//! Accuracy and loss over a whole split, its last short batch included.

use serde::Serialize;

use super::feed::Feed;
use crate::autograd::Var;
use crate::kernel::loss::{HISTORY, tally};
use crate::nn::Network;
use crate::ops::softmax_cross_entropy;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// What an evaluation found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images whose largest logit is their label's.
    pub correct: usize,
    /// Images seen.
    pub images: usize,
    /// Mean loss over the images.
    pub loss: f64,
}

impl Evaluation {
    /// Share of correct images.
    pub fn top1(&self) -> f64 {
        self.correct as f64 / self.images as f64
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
    let history = Tensor::zeros(gpu, [HISTORY, 2], DType::F32)?;
    let mut sizes = vec![feed.batch(); feed.len() / feed.batch()];
    sizes.extend((!feed.len().is_multiple_of(feed.batch())).then_some(feed.len() % feed.batch()));
    let (mut correct, mut loss, mut batch) = (0.0, 0.0, 0);
    // The history is a ring; read it before it comes around.
    for round in sizes.chunks(HISTORY) {
        for &rows in round {
            feed.supply(batch)?;
            batch += 1;
            let (images, labels) = feed.gather(&progress, rows)?;
            let logits = Var::constant(network.predict(&images)?);
            tally(&softmax_cross_entropy(&logits, &labels)?.rows, &history, &progress)?;
        }
        for (&rows, entry) in round.iter().zip(history.read_f32()?.chunks_exact(2)) {
            loss += f64::from(entry[0]) * rows as f64;
            correct += f64::from(entry[1]);
        }
    }
    if !loss.is_finite() {
        return Err(Error::Diverged(format!(
            "the loss of {} over the test images is {loss}",
            network.name()
        )));
    }
    Ok(Evaluation { correct: correct as usize, images: feed.len(), loss: loss / feed.len() as f64 })
}
