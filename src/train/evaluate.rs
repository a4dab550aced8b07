//! Accuracy and loss over a whole split, its last short batch included.

use serde::Serialize;

use super::feed::Feed;
use super::memory::advised_evaluation;
use crate::autograd::Var;
use crate::deploy::Engine;
use crate::gpu::Gpu;
use crate::kernel::loss::{ENTRY, HISTORY, tally};
use crate::nn::Network;
use crate::ops::softmax_cross_entropy;
use crate::tensor::{DType, Shape, Tensor};
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
    feed.check_fits(network.name(), network.input_shape(), network.output_shape())?;
    measure(network.gpu(), network.name(), network.output_shape().count(), feed, &mut |images| {
        network.predict(images).map_err(|error| advised_evaluation(error, feed.batch()))
    })
}

/// Runs an engine with an integer network over all images of a feed, whose batches are made on `gpu`: the same measure as
/// [`evaluate`], of the logits that the codes stand for.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_int8(gpu: &Gpu, engine: &mut dyn Engine, feed: &Feed) -> Result<Evaluation> {
    let model = engine.model();
    let name = model.name.clone();
    let [input, output] = [&model.input().shape, &model.output().shape].map(|shape| Shape::from(&shape[..]));
    feed.check_fits(&name, &input, &output)?;
    let classes = output.count();
    measure(gpu, &name, classes, feed, &mut |images| {
        let logits = engine.predict(&images.read_f32()?)?;
        Tensor::from_f32(gpu, [logits.len() / classes, classes], &logits)
    })
}

/// Counts and loss of the logits [N, classes] that `classify` gives for the batches of a feed.
fn measure(
    gpu: &Gpu,
    name: &str,
    classes: usize,
    feed: &Feed,
    classify: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Evaluation> {
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
            let logits = Var::constant(classify(&images)?);
            tally(&softmax_cross_entropy(&logits, &labels)?.rows, &history, &progress, 1)?;
        }
        for (&rows, entry) in round.iter().zip(history.read_f32()?.chunks_exact(ENTRY)) {
            loss += f64::from(entry[0]) * rows as f64;
            correct += f64::from(entry[1]);
            in_top5 += f64::from(entry[2]);
        }
    }
    if !loss.is_finite() {
        return Err(Error::Diverged(format!("the loss of {name} over the {} images is {loss}", feed.len())));
    }
    Ok(Evaluation {
        correct: correct as usize,
        in_top5: (classes > TOP).then_some(in_top5 as usize),
        images: feed.len(),
        loss: loss / feed.len() as f64,
    })
}
