//! Passes over data that train nothing: ranges before a training or instead of it, statistics behind it.

use super::feed::Feed;
use crate::nn::Network;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Shows the observers of a quantized network the first `batches` batches of a feed, in its present order: ranges become
/// the means of the batches' ranges, and learned steps get their start. The network is then ready to be evaluated or
/// converted (post-training quantization), or trained from there. It is no step of a training, but what was seen counts as
/// one step old: the first batch of a training moves a range and does not replace it.
///
/// The pictures are shown as the feed makes them. [`Trainer::calibrate`](super::Trainer::calibrate) takes the training's own,
/// augmented as in the steps that follow; without such steps, take a feed that cuts and resizes as for evaluating, as
/// [`PostTraining`](super::PostTraining) does.
///
/// # Errors
/// Where the feed has fewer batches or other images than the network takes, the network has no quantizers, or the device
/// has failed.
pub fn calibrate(network: &Network, feed: &Feed, batches: usize) -> Result<()> {
    if !network.is_quantized() {
        return Err(Error::Invalid(format!(
            "{} has no quantizers to calibrate; apply SimQAT first",
            network.name()
        )));
    }
    each_batch("train.calibrate_batches", network, feed, batches, |images, batch| {
        network.calibrate(images, batch)
    })
}

/// Estimates the running statistics of all normalizations anew: the mean over the first `batches` batches of a feed, in
/// its present order, through the quantizers as they are. Running statistics lag behind weights that still moved when the
/// training ended, and the gap is wider with quantized weights (Krishnamoorthi 2018, section 3.2.2). Frozen statistics
/// stay. Folded weights change with the statistics, and the ranges of weights follow; learned steps do not, so train on
/// for some steps where weights are folded and their steps learned.
///
/// # Errors
/// Where the feed has fewer batches or other images than the network takes, or the device has failed.
pub fn reestimate_batch_norm(network: &Network, feed: &Feed, batches: usize) -> Result<()> {
    each_batch("train.reestimate_batches", network, feed, batches, |images, batch| {
        network.reestimate_batch_norm(images, batch)
    })?;
    network.observe_folded_weights()
}

fn each_batch(
    option: &str,
    network: &Network,
    feed: &Feed,
    batches: usize,
    mut pass: impl FnMut(&Tensor, u32) -> Result<()>,
) -> Result<()> {
    feed.check_fits(network.name(), network.input_shape(), network.output_shape())?;
    if batches == 0 || batches > feed.whole_batches() {
        return Err(Error::Invalid(format!(
            "{option} = {batches}: it must be at least 1 and at most {}, the batches of {} images that there are",
            feed.whole_batches(),
            feed.batch()
        )));
    }
    let progress = Feed::progress(network.gpu())?;
    for batch in 0..batches as u32 {
        progress.write_u32(&[batch, 0, 0, 0])?;
        feed.supply(batch as usize)?;
        let (images, _) = feed.gather(&progress, feed.batch())?;
        pass(&images, batch)?;
    }
    Ok(())
}
