//! A data set on the device, and batches from it. The pictures stay bytes; resizing and normalizing happen
//! when a batch is made.

use serde::{Deserialize, Serialize};

use crate::data::Split;
use crate::gpu::Gpu;
use crate::kernel::augment::{Source, gather};
use crate::nn::Network;
use crate::tensor::random::Philox;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// Mean and standard deviation of each channel, of values between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// One for each channel.
    pub mean: Vec<f32>,
    /// One for each channel; not 0.
    pub deviation: Vec<f32>,
}

/// Random streams of one seed, apart from those that draw parameters (which count up from 0).
const SHUFFLE_STREAM: u64 = 1 << 32;

/// A split of a data set on the device.
pub struct Feed {
    pixels: Tensor,
    labels: Tensor,
    order: Tensor,
    normalization: Tensor,
    image: [usize; 3],
    size: [usize; 2],
    count: usize,
    batch: usize,
    /// Label and picture.
    largest_label: (usize, usize),
}

impl Feed {
    /// Puts `split` on the device, for batches of `batch` images of `size` [H, W], in the order of the file.
    ///
    /// # Errors
    /// Where the batch is 0 or larger than the data, the normalization does not fit the channels, or the
    /// device has failed.
    pub fn new(
        gpu: &Gpu,
        split: &Split,
        batch: usize,
        size: [usize; 2],
        normalization: &Normalization,
    ) -> Result<Feed> {
        let count = split.len();
        if batch == 0 || batch > count {
            return Err(Error::Invalid(format!(
                "data.batch = {batch}: it must be at least 1 and at most the {count} images that there are"
            )));
        }
        let Normalization { mean, deviation } = normalization;
        let channels = split.channels;
        let usable = mean.iter().chain(deviation).all(|v| v.is_finite()) && !deviation.contains(&0.0);
        if mean.len() != channels || deviation.len() != channels || !usable {
            return Err(Error::Invalid(format!(
                "data.mean = {mean:?} and data.deviation = {deviation:?}: the pictures have {channels} channels, and \
                 each needs a mean and a deviation that is not 0"
            )));
        }
        let pairs: Vec<f32> = mean.iter().zip(deviation).flat_map(|(m, d)| [*m, *d]).collect();
        let mut pixels = split.images.clone();
        pixels.resize(pixels.len().next_multiple_of(4), 0);
        let words: Vec<u32> =
            pixels.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let labels: Vec<u32> = split.labels.iter().map(|&l| l.into()).collect();
        let order: Vec<u32> = (0..count as u32).collect();
        let by_picture = split.labels.iter().enumerate().map(|(picture, &label)| (label.into(), picture));
        Ok(Feed {
            pixels: Tensor::from_u32(gpu, [words.len()], &words)?,
            labels: Tensor::from_u32(gpu, [count], &labels)?,
            order: Tensor::from_u32(gpu, [count], &order)?,
            normalization: Tensor::from_f32(gpu, [channels, 2], &pairs)?,
            image: [channels, split.height, split.width],
            size,
            count,
            batch,
            largest_label: by_picture.max().unwrap_or_default(),
        })
    }

    /// Fails where the network takes other images than these, or has no output for one of the labels: on the
    /// device, such a label would read beside its row.
    pub(super) fn check_fits(&self, network: &Network) -> Result<()> {
        let [channels, ..] = self.image;
        let [height, width] = self.size;
        if network.input_shape()[..] != [channels, height, width] {
            return Err(Error::Shape(format!(
                "{} takes images of shape {}, and those of the feed have {:?}",
                network.name(),
                network.input_shape(),
                [channels, height, width]
            )));
        }
        let [classes] = network.output_shape()[..] else {
            return Err(Error::Shape(format!(
                "{} ends in shape {}, and a classifier must end in one number for each class",
                network.name(),
                network.output_shape()
            )));
        };
        match self.largest_label {
            (label, picture) if label >= classes => Err(Error::Invalid(format!(
                "the label of picture {picture} is {label}, outside 0..{classes}, the classes of {}",
                network.name()
            ))),
            _ => Ok(()),
        }
    }

    /// Images in the split.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Never: a feed holds at least one batch.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Images in a batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Whole batches in an epoch; what is left over waits for the next shuffle.
    pub fn whole_batches(&self) -> usize {
        self.count / self.batch
    }

    /// Puts the images into the order of an epoch, which is a function of `seed` and `epoch` alone.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn shuffle(&self, seed: u64, epoch: usize) -> Result<()> {
        let mut random = Philox::new(seed, SHUFFLE_STREAM + epoch as u64);
        self.order.write_u32(&random.permutation(self.count))
    }

    /// The batch whose number stands first in `progress`: images [rows, C, H, W] and labels `[rows]`. `rows` is
    /// the batch size, or less for the last one of an evaluation.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn gather(&self, progress: &Tensor, rows: usize) -> Result<(Tensor, Tensor)> {
        let source = Source {
            pixels: &self.pixels,
            labels: &self.labels,
            order: &self.order,
            progress,
            image: self.image,
            normalization: &self.normalization,
        };
        gather(&source, self.batch, rows, self.size)
    }

    /// A fresh count of batches and steps, as [`Feed::gather`] and the tally want it.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn progress(gpu: &Gpu) -> Result<Tensor> {
        Tensor::zeros(gpu, [4], DType::U32)
    }
}
