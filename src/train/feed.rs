//! Batches on the device. A data set of pictures of one size lies there whole, as bytes; pictures in files, and steps that
//! only the host can do, are streamed through a [`Loader`]. Either way a batch is a function of seed, epoch and number.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::normalization::Normalization;
use crate::data::loader::Batch;
use crate::data::{Loader, LoaderOptions, Order, Skipped, Split, Transform};
use crate::gpu::Gpu;
use crate::kernel::augment::{Source, gather, unpack};
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

/// How the pictures of a split become batches.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedOptions {
    /// Images in a batch.
    pub batch: usize,
    /// [H, W] of the images as the network takes them.
    pub size: [usize; 2],
    /// How values are normalized. Pictures in files are decoded to as many channels as it has.
    pub normalization: Normalization,
    /// What the pictures go through.
    pub transform: Transform,
    /// Threads and batches ahead, where pictures are streamed.
    pub loader: LoaderOptions,
}

/// A split of a data set, in batches on the device.
pub struct Feed {
    pictures: Pictures,
    normalization: Tensor,
    transform: Transform,
    channels: usize,
    size: [usize; 2],
    count: usize,
    batch: usize,
    /// Label and picture.
    largest_label: (usize, usize),
    /// What the images are to a training.
    role: &'static str,
}

/// Where the pictures are.
enum Pictures {
    /// On the device, all of them.
    Resident { pixels: [Tensor; 2], first: usize, order: Tensor, labels: Vec<u32>, image: [usize; 3] },
    /// On the device one batch at a time: u32 words of [batch, H, W, C] bytes, and [batch, 2] label and mirrored.
    Streamed { loader: Loader, bytes: Tensor, turns: Tensor, stream: Mutex<Stream> },
}

/// What a streamed feed remembers between batches.
#[derive(Default)]
struct Stream {
    order: Order,
    /// The batch that lies on the device.
    supplied: Option<(Order, usize)>,
    /// Its memory on the host, for the next one.
    batch: Batch,
    waited: Duration,
}

impl Feed {
    /// Whole pictures of `split`, for batches of `batch` images of `size` [H, W], in the order of the data set.
    ///
    /// # Errors
    /// As [`Feed::with_options`].
    pub fn new(
        gpu: &Gpu,
        split: &Split,
        batch: usize,
        size: [usize; 2],
        normalization: &Normalization,
    ) -> Result<Feed> {
        let options = FeedOptions {
            batch,
            size,
            normalization: normalization.clone(),
            transform: Transform::default(),
            loader: LoaderOptions::default(),
        };
        Feed::with_options(gpu, split, &options)
    }

    /// `split` in batches, in the order of the data set.
    ///
    /// # Errors
    /// Where the batch is 0 or larger than the data, the normalization does not fit the channels, pictures in memory are too
    /// small or too large for the transform ([`Transform::refuses`]; files are skipped then, with that reason), or the
    /// device has failed.
    pub fn with_options(gpu: &Gpu, split: &Split, options: &FeedOptions) -> Result<Feed> {
        let FeedOptions { batch, size, normalization, transform, loader } = options;
        let (batch, count) = (*batch, split.len());
        if batch == 0 || batch > count {
            return Err(Error::Invalid(format!(
                "data.batch = {batch}: it must be at least 1 and at most the {count} images that there are"
            )));
        }
        let channels = split.shape().map_or(normalization.mean.len(), |[channels, ..]| channels);
        let normalization = normalization.on_device(gpu, channels)?;
        let refused = split.shape().and_then(|[_, height, width]| transform.refuses([height, width]));
        if let Some(reason) = refused {
            return Err(Error::Invalid(format!("data.augment cannot be done: {reason}")));
        }
        let pictures = match (split.shape(), split.images()) {
            (Some(image), Some(images))
                if transform.is_for_device() && images.len() <= most_resident(gpu, image) =>
            {
                let first = count.min(most_in_binding(gpu, image));
                let (pixels, rest) = images.split_at(first * image.iter().product::<usize>());
                let pixels = put(gpu, pixels)?;
                // Something has to be bound; it is never read.
                let rest = if rest.is_empty() { pixels.clone() } else { put(gpu, rest)? };
                let order = places(transform, Order::Unshuffled, &split.labels, image);
                let order = Tensor::from_u32(gpu, [count, 4], &order)?;
                Pictures::Resident {
                    pixels: [pixels, rest],
                    first,
                    order,
                    labels: split.labels.clone(),
                    image,
                }
            }
            _ => Pictures::Streamed {
                loader: Loader::new(split.clone(), *transform, channels, *size, batch, *loader)?,
                bytes: Tensor::zeros(gpu, [(batch * size[0] * size[1] * channels).div_ceil(4)], DType::U32)?,
                turns: Tensor::zeros(gpu, [batch, 2], DType::U32)?,
                stream: Mutex::default(),
            },
        };
        let by_picture = split.labels.iter().enumerate().map(|(picture, &label)| (label as usize, picture));
        Ok(Feed {
            pictures,
            normalization,
            transform: *transform,
            channels,
            size: *size,
            count,
            batch,
            largest_label: by_picture.max().unwrap_or_default(),
            role: "test",
        })
    }

    /// Fails where the network takes other images than these, or has no output for one of the labels: on the
    /// device, such a label would read beside its row.
    pub(super) fn check_fits(&self, name: &str, input: &Shape, output: &Shape) -> Result<()> {
        let channels = self.channels;
        let [height, width] = self.size;
        if input[..] != [channels, height, width] {
            return Err(Error::Shape(format!(
                "{name} takes images of shape {input}, and those of the feed have {:?}",
                [channels, height, width]
            )));
        }
        let [classes] = output[..] else {
            return Err(Error::Shape(format!(
                "{name} ends in shape {output}, and a classifier must end in one number for each class"
            )));
        };
        match self.largest_label {
            (label, picture) if label >= classes => Err(Error::Invalid(format!(
                "the label of picture {picture} is {label}, outside 0..{classes}, the classes of {name}"
            ))),
            _ => Ok(()),
        }
    }

    /// What is evaluated on these images is reported under this name: "test" unless it is given, or "validation".
    pub fn with_role(self, role: &'static str) -> Feed {
        Feed { role, ..self }
    }

    /// What the images are to a training.
    pub fn role(&self) -> &'static str {
        self.role
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

    /// True where pictures are decoded as they are needed; false where all lie on the device.
    pub fn is_streamed(&self) -> bool {
        matches!(self.pictures, Pictures::Streamed { .. })
    }

    /// Puts the images into the order of an epoch, and draws what happens to each: functions of `seed` and `epoch` alone.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn shuffle(&self, seed: u64, epoch: usize) -> Result<()> {
        let shuffled = Order::Shuffled { seed, epoch };
        match &self.pictures {
            Pictures::Resident { order, labels, image, .. } => {
                order.write_u32(&places(&self.transform, shuffled, labels, *image))
            }
            Pictures::Streamed { stream, .. } => {
                lock(stream).order = shuffled;
                Ok(())
            }
        }
    }

    /// Puts batch number `step` of the epoch in place, where it does not lie on the device already: to be called before
    /// the work that takes it with [`Feed::gather`] is asked for or replayed. Waits where it is not decoded yet, but not
    /// for the device.
    ///
    /// # Errors
    /// Where there is no such batch, a file cannot be read, too many pictures in a row cannot be used, or the device has
    /// failed.
    pub fn supply(&self, step: usize) -> Result<()> {
        let Pictures::Streamed { loader, bytes, turns, stream } = &self.pictures else { return Ok(()) };
        let mut stream = lock(stream);
        let wanted = (stream.order, step);
        if stream.supplied == Some(wanted) {
            return Ok(());
        }
        let start = Instant::now();
        let order = stream.order;
        let loaded = loader.batch(order, step, &mut stream.batch);
        stream.waited += start.elapsed();
        stream.supplied = None;
        loaded?;
        let gpu = bytes.gpu();
        gpu.write(bytes.buffer(), &stream.batch.pixels)?;
        let pairs: Vec<u32> = std::iter::zip(&stream.batch.labels, &stream.batch.flips)
            .flat_map(|(&label, &flip)| [label, flip.into()])
            .collect();
        gpu.write(turns.buffer(), bytemuck::cast_slice(&pairs))?;
        stream.supplied = Some(wanted);
        Ok(())
    }

    /// How long [`Feed::supply`] has waited for pictures, in all: the share of a training that its loader is to blame for.
    pub fn waited(&self) -> Duration {
        match &self.pictures {
            Pictures::Resident { .. } => Duration::ZERO,
            Pictures::Streamed { stream, .. } => lock(stream).waited,
        }
    }

    /// The pictures that could not be decoded so far, in the order of the data set. Each time the turn of one comes, the
    /// next picture of the data set stands in for it.
    pub fn skipped(&self) -> Vec<Skipped> {
        match &self.pictures {
            Pictures::Resident { .. } => Vec::new(),
            Pictures::Streamed { loader, .. } => loader.skipped(),
        }
    }

    /// The batch whose number stands first in `progress`, or where pictures are streamed, the one that was last supplied:
    /// images [rows, C, H, W] and labels `[rows]`. `rows` is the batch size, or less for the last one of an evaluation.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn gather(&self, progress: &Tensor, rows: usize) -> Result<(Tensor, Tensor)> {
        match &self.pictures {
            Pictures::Resident { pixels: [pixels, rest], first, order, image, .. } => {
                let part = self.transform.part([image[1], image[2]]);
                let normalization = &self.normalization;
                let (pixels, image) = ([pixels, rest], *image);
                let source = Source { pixels, first: *first, order, progress, image, part, normalization };
                gather(&source, self.batch, rows, self.size)
            }
            Pictures::Streamed { bytes, turns, .. } => {
                let [height, width] = self.size;
                unpack(bytes, turns, &self.normalization, rows, [height, width, self.channels])
            }
        }
    }

    /// Shows all images once, in the order of the data set, the last short batch included: images [rows, C, H, W] and labels
    /// `[rows]`. Waits for the labels of each.
    ///
    /// # Errors
    /// As [`Feed::supply`] and [`Feed::gather`], and what `look` answers.
    pub fn each_batch(&self, gpu: &Gpu, mut look: impl FnMut(&Tensor, &[u32]) -> Result<()>) -> Result<()> {
        let progress = Feed::progress(gpu)?;
        for batch in 0..self.count.div_ceil(self.batch) {
            self.supply(batch)?;
            progress.write_u32(&[batch as u32, 0, 0, 0])?;
            let rows = self.batch.min(self.count - batch * self.batch);
            let (images, labels) = self.gather(&progress, rows)?;
            look(&images, &labels.read_u32()?)?;
        }
        Ok(())
    }

    /// A fresh count of batches and steps, as [`Feed::gather`] and the tally want it.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn progress(gpu: &Gpu) -> Result<Tensor> {
        Tensor::zeros(gpu, [4], DType::U32)
    }
}

/// Whole images of that shape that one binding holds.
fn most_in_binding(gpu: &Gpu, image: [usize; 3]) -> usize {
    gpu.caps().max_binding_bytes as usize / image.iter().product::<usize>()
}

/// Bytes of images of that shape that [`Source::pixels`] holds: two bindings. What is larger is streamed.
fn most_resident(gpu: &Gpu, image: [usize; 3]) -> usize {
    (2 * most_in_binding(gpu, image)).saturating_mul(image.iter().product())
}

/// Bytes on the device, four to a word.
fn put(gpu: &Gpu, bytes: &[u8]) -> Result<Tensor> {
    let word = |bytes: &[u8]| {
        let mut four = [0; 4];
        four[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(four)
    };
    let words: Vec<u32> = bytes.chunks(4).map(word).collect();
    Tensor::from_u32(gpu, [words.len()], &words)
}

/// The order of an epoch as [`Source::order`] wants it.
fn places(transform: &Transform, order: Order, labels: &[u32], [_, height, width]: [usize; 3]) -> Vec<u32> {
    let place = |picture: u32| {
        let view = transform.view([height, width], order.chance(picture as usize));
        let label = labels[picture as usize];
        [picture, view.top as u32, view.left as u32, 2 * label + u32::from(view.flip)]
    };
    order.pictures(labels.len()).into_iter().flat_map(place).collect()
}

/// Nothing is half done where a thread panicked while it held the lock: the batch counts only once it is supplied.
fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(|e| e.into_inner())
}
