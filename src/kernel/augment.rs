//! Batches from a data set that lies on the device as bytes.

use super::catalogue::{Entry, entry};
use super::extent;
use super::params::params;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

params!(GatherParams { rows: u32, batch: u32, count: u32 });

fn image_shader([channels, height, width]: [usize; 3], size: [usize; 2]) -> (ShaderSpec, usize) {
    let unroll = if size[1].is_multiple_of(4) { 4 } else { 1 };
    let spec = ShaderSpec::new("augment/gather.wgsl")
        .with("channels", channels as u32)
        .with("height", height as u32)
        .with("width", width as u32)
        .with("out_height", size[0] as u32)
        .with("out_width", size[1] as u32)
        .with("resize", size != [height, width])
        .with("unroll", unroll as u32);
    (spec, unroll)
}

/// A data set on the device, and where in it the next batch starts.
pub struct Source<'a> {
    /// Pixels of [N, C, H, W] as bytes, four to a word: u32 [ceil(N * C * H * W / 4)].
    pub pixels: &'a Tensor,
    /// Labels, u32 `[N]`.
    pub labels: &'a Tensor,
    /// Which images come in which order, u32.
    pub order: &'a Tensor,
    /// u32; the first is the number of the batch. It is data, so that a recording can be replayed.
    pub progress: &'a Tensor,
    /// C, H and W of an image.
    pub image: [usize; 3],
    /// [mean, deviation] of each channel after division by 255, f32 [C, 2].
    pub normalization: &'a Tensor,
}

/// `rows` images and labels, from place `progress[0] * batch` of the order on. Images are resized to `size`
/// [H, W] bilinearly (half-pixel centres) where they differ, and normalized: [rows, C, H, W] and u32 `[rows]`.
///
/// # Errors
/// Where the normalization does not fit the channels, `rows` is more than `batch`, there are not as many labels as
/// places in the order, or the device has failed.
pub fn gather(source: &Source<'_>, batch: usize, rows: usize, size: [usize; 2]) -> Result<(Tensor, Tensor)> {
    let channels = source.image[0];
    if source.normalization.shape()[..] != [channels, 2] {
        return Err(Error::Shape(format!(
            "the normalization must be [{channels}, 2], one mean and deviation for each channel, not {}",
            source.normalization.shape()
        )));
    }
    let count = source.order.count();
    if rows == 0 || rows > batch || count == 0 || source.labels.count() != count {
        return Err(Error::Shape(format!(
            "{rows} images of batches of {batch} cannot be taken from an order of {count} and {} labels",
            source.labels.count()
        )));
    }
    let count = extent(count, "the number of images")?;
    let gpu = source.pixels.gpu();
    let images = Tensor::empty(gpu, [rows, channels, size[0], size[1]], DType::F32)?;
    let labels = Tensor::empty(gpu, [rows], DType::U32)?;
    let (spec, unroll) = image_shader(source.image, size);
    gpu.launch(spec)
        .bind(source.pixels.buffer())
        .bind(source.order.buffer())
        .bind(source.progress.buffer())
        .bind(source.normalization.buffer())
        .bind(source.labels.buffer())
        .bind(images.buffer())
        .bind(labels.buffer())
        .params(&GatherParams { rows: extent(rows, "the batch")?, batch: extent(batch, "the batch")?, count })
        .threads((images.count() / unroll) as u64, 64)?;
    Ok((images, labels))
}

pub(super) fn variants() -> Vec<Entry> {
    vec![
        entry(image_shader([1, 28, 28], [32, 32]).0, GatherParams::LAYOUT),
        entry(image_shader([3, 5, 7], [5, 7]).0, GatherParams::LAYOUT),
    ]
}
