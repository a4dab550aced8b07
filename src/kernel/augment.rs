//! Batches: from a data set that lies on the device as bytes, or from pictures that the host has just decoded.

use super::catalogue::{Entry, entry};
use super::params::params;
use super::{at_least, extent, product};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

params!(GatherParams { rows: u32, batch: u32, count: u32, first: u32 });
params!(UnpackParams { rows: u32 });

fn neighbours(width: usize) -> usize {
    if width.is_multiple_of(4) { 4 } else { 1 }
}

fn gather_shader(
    [channels, height, width]: [usize; 3],
    part: Option<[usize; 2]>,
    size: [usize; 2],
) -> (ShaderSpec, usize) {
    let unroll = neighbours(size[1]);
    let [part_height, part_width] = part.unwrap_or([height, width]);
    let spec = ShaderSpec::new("augment/gather.wgsl")
        .with("channels", channels as u32)
        .with("height", height as u32)
        .with("width", width as u32)
        .with("placed", part.is_some())
        .with("part_height", part_height as u32)
        .with("part_width", part_width as u32)
        .with("out_height", size[0] as u32)
        .with("out_width", size[1] as u32)
        .with("resize", size != [part_height, part_width])
        .with("smaller", size[0] < part_height || size[1] < part_width)
        .with("unroll", unroll as u32);
    (spec, unroll)
}

fn unpack_shader([height, width, channels]: [usize; 3]) -> (ShaderSpec, usize) {
    let unroll = neighbours(width);
    let spec = ShaderSpec::new("augment/unpack.wgsl")
        .with("channels", channels as u32)
        .with("height", height as u32)
        .with("width", width as u32)
        .with("unroll", unroll as u32);
    (spec, unroll)
}

/// A data set on the device, and where in it the next batch starts.
pub struct Source<'a> {
    /// Pixels of [N, C, H, W] as bytes, four to a word, u32: of the first images and of the rest, since one binding may be
    /// too small for all. The second is not looked at where `first` says that the first holds all.
    pub pixels: [&'a Tensor; 2],
    /// How many images the first of `pixels` holds.
    pub first: usize,
    /// Which images come in which order and what is taken of them, u32 [N, 4]: image, first row and column of the part
    /// (two's complement, since a part may reach over the edge into black), and twice the label, plus 1 where it is mirrored.
    pub order: &'a Tensor,
    /// u32; the first is the number of the batch. It is data, so that a recording can be replayed.
    pub progress: &'a Tensor,
    /// C, H and W of an image.
    pub image: [usize; 3],
    /// H and W of the part that is taken; none where images are taken whole and never mirrored, whatever `order` says.
    pub part: Option<[usize; 2]>,
    /// For each channel what is taken off a value from 0 to 255, and what it is multiplied by after that: f32 [C, 2].
    pub normalization: &'a Tensor,
}

impl Source<'_> {
    /// Fails unless all is there that a batch of `count` images may be made of.
    fn check(&self, count: usize, size: [usize; 2]) -> Result<()> {
        self.order.expect(DType::U32)?;
        at_least("the progress of a batch", self.progress, DType::U32, 1)?;
        let part = self.part.unwrap_or([self.image[1], self.image[2]]);
        let sizes = [&self.image[..], &part, &size].concat();
        if let Some(bad) = sizes.iter().find(|&&n| n == 0 || n > i32::MAX as usize) {
            return Err(Error::Shape(format!(
                "images of {:?} [C, H, W], of which {part:?} becomes {size:?}: {bad} is no size of a picture",
                self.image
            )));
        }
        let held = self.first.min(count);
        for (pixels, images) in self.pixels.into_iter().zip([held, count - held]) {
            pixels.expect(DType::U32)?;
            if product(&[images, self.image[0], self.image[1], self.image[2]]).div_ceil(4) > pixels.count() {
                return Err(Error::Shape(format!(
                    "{images} images of {:?} [C, H, W] in bytes are not in {} words of pixels",
                    self.image,
                    pixels.count()
                )));
            }
        }
        Ok(())
    }
}

/// `rows` images and labels, from place `progress[0] * batch` of the order on. Images are resized to `size`
/// [H, W] bilinearly (half-pixel centres) where they differ, antialiased where they become smaller, and normalized:
/// [rows, C, H, W] and u32 `[rows]`.
///
/// # Errors
/// Where the normalization does not fit the channels, `rows` is more than `batch`, the order is none, the pixels are fewer
/// than those of the images in the order, a size is 0, or the device has failed.
pub fn gather(source: &Source<'_>, batch: usize, rows: usize, size: [usize; 2]) -> Result<(Tensor, Tensor)> {
    let channels = source.image[0];
    check_normalization(source.normalization, channels)?;
    let count = source.order.count() / 4;
    if rows == 0 || rows > batch || count == 0 || source.order.shape()[..] != [count, 4] {
        return Err(Error::Shape(format!(
            "{rows} images of batches of {batch} cannot be taken from an order of shape {}; it must be [N, 4]",
            source.order.shape(),
        )));
    }
    source.check(count, size)?;
    let first = extent(source.first, "the number of images")?;
    let count = extent(count, "the number of images")?;
    let gpu = source.order.gpu();
    let images = Tensor::empty(gpu, [rows, channels, size[0], size[1]], DType::F32)?;
    let labels = Tensor::empty(gpu, [rows], DType::U32)?;
    let (spec, unroll) = gather_shader(source.image, source.part, size);
    gpu.launch(spec)
        .bind(source.pixels[0].buffer())
        .bind(source.pixels[1].buffer())
        .bind(source.order.buffer())
        .bind(source.progress.buffer())
        .bind(source.normalization.buffer())
        .bind(images.buffer())
        .bind(labels.buffer())
        .params(&GatherParams {
            rows: extent(rows, "the batch")?,
            batch: extent(batch, "the batch")?,
            count,
            first,
        })
        .threads((images.count() / unroll) as u64, 64)?;
    Ok((images, labels))
}

/// The first `rows` images and labels of a batch that the host has made: `bytes` is u32 words of [N, H, W, C] bytes, `image`
/// their [H, W, C], and `turns` u32 [N, 2], the label of each and 1 where it is mirrored. Normalized: [rows, C, H, W] and u32
/// `[rows]`.
///
/// # Errors
/// Where the normalization does not fit the channels, there are fewer than `rows` images or turns, or the device has failed.
pub fn unpack(
    bytes: &Tensor,
    turns: &Tensor,
    normalization: &Tensor,
    rows: usize,
    image: [usize; 3],
) -> Result<(Tensor, Tensor)> {
    let [height, width, channels] = image;
    check_normalization(normalization, channels)?;
    bytes.expect(DType::U32)?;
    turns.expect(DType::U32)?;
    let pixels = product(&[rows, height, width, channels]);
    if pixels == 0 || bytes.count() < pixels.div_ceil(4) || turns.count() / 2 < rows {
        return Err(Error::Shape(format!(
            "{rows} images of {image:?} [H, W, C] are not in {} words of pixels and {} of turns",
            bytes.count(),
            turns.count()
        )));
    }
    let gpu = bytes.gpu();
    let images = Tensor::empty(gpu, [rows, channels, height, width], DType::F32)?;
    let labels = Tensor::empty(gpu, [rows], DType::U32)?;
    let (spec, unroll) = unpack_shader(image);
    gpu.launch(spec)
        .bind(bytes.buffer())
        .bind(turns.buffer())
        .bind(normalization.buffer())
        .bind(images.buffer())
        .bind(labels.buffer())
        .params(&UnpackParams { rows: extent(rows, "the batch")? })
        .threads((rows * height * width / unroll) as u64, 64)?;
    Ok((images, labels))
}

fn check_normalization(normalization: &Tensor, channels: usize) -> Result<()> {
    normalization.expect(DType::F32)?;
    if normalization.shape()[..] != [channels, 2] {
        return Err(Error::Shape(format!(
            "the normalization must be [{channels}, 2], one mean and deviation for each channel, not {}",
            normalization.shape()
        )));
    }
    Ok(())
}

pub(super) fn variants() -> Vec<Entry> {
    let gathers = [
        gather_shader([1, 28, 28], None, [32, 32]),
        gather_shader([3, 5, 7], None, [5, 7]),
        gather_shader([3, 9, 8], None, [4, 9]),
        gather_shader([3, 32, 32], Some([32, 32]), [224, 224]),
        gather_shader([3, 32, 32], Some([28, 30]), [28, 30]),
        gather_shader([1, 32, 32], Some([28, 28]), [13, 14]),
    ];
    let unpacks = [unpack_shader([224, 224, 3]), unpack_shader([5, 7, 3]), unpack_shader([4, 8, 1])];
    gathers
        .into_iter()
        .map(|(spec, _)| entry(spec, GatherParams::LAYOUT))
        .chain(unpacks.into_iter().map(|(spec, _)| entry(spec, UnpackParams::LAYOUT)))
        .collect()
}
