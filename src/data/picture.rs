//! Picture files: decoding them, and cutting out of them what the network sees.

use std::ops::Range;
use std::path::Path;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{CropBox, FilterType, ImageView, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

use super::transform::View;
use crate::error::{Error, Result};

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Bytes as [H, W, C]: the channels of a pixel stand together, as decoders give them and resizing likes them.
    pub pixels: Vec<u8>,
    /// H.
    pub height: usize,
    /// W.
    pub width: usize,
    /// C: 1 for grey, 3 for red, green, blue.
    pub channels: usize,
}

impl Picture {
    /// Decodes a JPEG or PNG, whichever its first bytes say, to grey (`channels` 1) or red, green, blue (3). Grey becomes
    /// colour by repetition, colour grey by its luma, 16 bits are rounded to 8, CMYK and YCCK red, green, blue; transparency is
    /// dropped. What a camera noted about turning the picture is not followed, as with torchvision.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::BadFile`] where it is empty, cut short, damaged or no picture.
    pub fn read(path: &Path, channels: usize) -> Result<Picture> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        Picture::decode(&bytes, channels).map_err(|reason| Error::bad_file(path, reason))
    }

    /// As [`Picture::read`], from a file's bytes; the error is the reason alone.
    pub fn decode(bytes: &[u8], channels: usize) -> std::result::Result<Picture, String> {
        if bytes.is_empty() {
            return Err("the file is empty".into());
        }
        let image = match bytes.starts_with(&[0xff, 0xd8]) {
            true => return decode_jpeg(bytes, channels),
            false if bytes.starts_with(b"\x89PNG") => {
                image::load_from_memory_with_format(bytes, image::ImageFormat::Png)
                    .map_err(|e| format!("the PNG is damaged ({e})"))?
            }
            false => {
                let first: String = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
                return Err(format!("starts with 0x{first}: neither JPEG nor PNG"));
            }
        };
        let (height, width) = (image.height() as usize, image.width() as usize);
        let pixels = match channels {
            1 if image.color().has_color() => image.into_rgb8().as_raw().chunks_exact(3).map(luma).collect(),
            1 => image.into_luma8().into_raw(),
            _ => image.into_rgb8().into_raw(),
        };
        Ok(Picture { pixels, height, width, channels })
    }
}

fn decode_jpeg(bytes: &[u8], channels: usize) -> std::result::Result<Picture, String> {
    let damaged = |e| format!("the JPEG is damaged ({e:?})");
    // A decoder fills up what is missing with grey, so look for the end of the image behind the last start of a scan.
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    if last(0xd9) < last(0xda) {
        return Err(format!("the JPEG is cut short after {} bytes", bytes.len()));
    }
    // Strict, because otherwise a damaged stream is a picture with a torn lower half and no word about it.
    let colour = if channels == 1 { ColorSpace::Luma } else { ColorSpace::RGB };
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(colour);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().ok_or("the JPEG has no size")?;
    // The decoder makes luma of YCbCr and grey alone; anything else goes by way of red, green, blue.
    let from = decoder.input_colorspace();
    let by_way = channels == 1 && !matches!(from, Some(ColorSpace::Luma | ColorSpace::YCbCr));
    if by_way {
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::RGB));
    }
    let mut pixels = decoder.decode().map_err(damaged)?;
    if by_way {
        pixels = pixels.chunks_exact(3).map(luma).collect();
    }
    if pixels.len() != height * width * channels {
        return Err(format!("the JPEG's colours cannot be converted ({from:?} to {colour:?})"));
    }
    Ok(Picture { pixels, height, width, channels })
}

/// Luma of ITU-R BT.601, as JPEG's own and Pillow's, for all kinds of files.
fn luma(rgb: &[u8]) -> u8 {
    ((19_595 * u32::from(rgb[0]) + 38_470 * u32::from(rgb[1]) + 7_471 * u32::from(rgb[2]) + 0x8000) >> 16)
        as u8
}

/// Carries views out; keeps the memory that resizing needs from one picture to the next.
pub struct Cutter {
    resizer: Resizer,
    options: ResizeOptions,
}

impl Default for Cutter {
    fn default() -> Self {
        // Bilinear with a support that grows with the scale, as Pillow's: smaller pictures are antialiased.
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
        Cutter { resizer: Resizer::new(), options }
    }
}

impl Cutter {
    /// What `view` takes of a picture, resized to `size` [H, W], into `out`, bytes as [H, W, C]. It is not mirrored: that is
    /// the device's to do.
    ///
    /// # Errors
    /// Where `out` has another size, or the picture has no pixel.
    pub fn cut(&mut self, picture: &Picture, view: &View, size: [usize; 2], out: &mut [u8]) -> Result<()> {
        if picture.channels == 1 {
            self.cut_typed::<U8>(picture, view, size, out)
        } else {
            self.cut_typed::<U8x3>(picture, view, size, out)
        }
    }

    fn cut_typed<P: PixelTrait>(
        &mut self,
        picture: &Picture,
        view: &View,
        size: [usize; 2],
        out: &mut [u8],
    ) -> Result<()> {
        let own = [picture.height, picture.width];
        let rectangle = [view.height, view.width];
        let inside =
            |offset: i32, part: usize, extent: usize| offset >= 0 && offset as usize + part <= extent;
        let whole_inside =
            inside(view.top, view.height, view.resized[0]) && inside(view.left, view.width, view.resized[1]);
        if whole_inside && view.resized == own {
            let source = pixels::<P>(&picture.pixels, own)?;
            return self.resize(&part(&source, view, rectangle)?, rectangle, None, size, out);
        }
        if whole_inside && rectangle == size {
            // Resizing all and cutting then, but computing only what stays.
            let source = pixels::<P>(&picture.pixels, own)?;
            let (top, left) = (view.top as usize, view.left as usize);
            return self.resize(
                &source,
                own,
                Some(box_in(own, view.resized, [top, left], rectangle)),
                size,
                out,
            );
        }
        let mut cut = vec![0; view.height * view.width * picture.channels];
        let (rows, columns) =
            (seen(view.top, view.height, view.resized[0]), seen(view.left, view.width, view.resized[1]));
        let there = [rows.len(), columns.len()];
        if !there.contains(&0) {
            // What is seen of the resized picture, and none of the rest: a long thin one would be huge.
            let mut part = vec![0; there[0] * there[1] * picture.channels];
            let source = pixels::<P>(&picture.pixels, own)?;
            let place = box_in(own, view.resized, [rows.start, columns.start], there);
            self.resize(&source, own, Some(place), there, &mut part)?;
            let corner =
                [(rows.start as i64 - i64::from(view.top)), columns.start as i64 - i64::from(view.left)]
                    .map(|offset| offset as usize);
            put_part(&part, columns.len() * picture.channels, corner, picture.channels, view.width, &mut cut);
        }
        self.resize(&pixels::<P>(&cut, rectangle)?, rectangle, None, size, out)
    }

    fn resize<P: PixelTrait>(
        &mut self,
        source: &impl ImageView<Pixel = P>,
        from: [usize; 2],
        part: Option<CropBox>,
        to: [usize; 2],
        out: &mut [u8],
    ) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::Invalid(format!("a picture of {from:?} [H, W] cannot be resized to {to:?}: {e}"))
        };
        let mut out =
            TypedImage::<P>::from_buffer(to[1] as u32, to[0] as u32, out).map_err(|e| failed(&e))?;
        let options = match part {
            Some(place) => self.options.crop(place.left, place.top, place.width, place.height),
            None => self.options,
        };
        self.resizer.resize_typed(source, &mut out, &options).map_err(|e| failed(&e))
    }
}

fn pixels<P: PixelTrait>(bytes: &[u8], [height, width]: [usize; 2]) -> Result<TypedImageRef<'_, P>> {
    TypedImageRef::from_buffer(width as u32, height as u32, bytes)
        .map_err(|e| Error::Invalid(format!("a picture of {height} x {width}: {e}")))
}

/// The rectangle of a view alone: what lies around it does not bleed into what is resized.
fn part<'a, P: PixelTrait>(
    source: &'a TypedImageRef<'a, P>,
    view: &View,
    [height, width]: [usize; 2],
) -> Result<TypedCroppedImage<'a, TypedImageRef<'a, P>>> {
    TypedCroppedImage::from_ref(source, view.left as u32, view.top as u32, width as u32, height as u32)
        .map_err(|e| {
            Error::Invalid(format!("a part of {height} x {width} at {}, {}: {e}", view.top, view.left))
        })
}

/// Where `part` pixels from `start` of an axis that was resized to `resized` lie in its `own` pixels, as start and extent.
/// Never outside, however the divisions round: resizing refuses what is one bit too far.
fn span_in(own: usize, resized: usize, start: usize, part: usize) -> (f64, f64) {
    let there = |place: usize| (place * own) as f64 / resized.max(1) as f64;
    let start = there(start).min(own as f64);
    (start, there(part).min(own as f64 - start))
}

/// [`span_in`] for both axes, [H, W].
fn box_in(own: [usize; 2], resized: [usize; 2], corner: [usize; 2], part: [usize; 2]) -> CropBox {
    let [(top, height), (left, width)] =
        [0, 1].map(|axis| span_in(own[axis], resized[axis], corner[axis], part[axis]));
    CropBox { left, top, width, height }
}

/// Which of `extent` pixels are seen through a window of `part` pixels that begins at `offset`.
fn seen(offset: i32, part: usize, extent: usize) -> Range<usize> {
    let inside = |place: i64| place.clamp(0, extent as i64) as usize;
    inside(offset.into())..inside(i64::from(offset) + part as i64)
}

/// Puts a part with rows of `row` bytes at `corner` [row, column] of a picture of `width` columns; what lies around it
/// stays as it is.
fn put_part(part: &[u8], row: usize, corner: [usize; 2], channels: usize, width: usize, out: &mut [u8]) {
    let lines = out.chunks_exact_mut(width * channels).skip(corner[0]);
    for (line, from) in lines.zip(part.chunks_exact(row)) {
        line[corner[1] * channels..][..row].copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_resized_axis_lies_outside() {
        for own in 1..=2000 {
            // Shorter sides as recipes have them, and the same picture's longer side.
            for resized in [1, 7, 56, 224, 232, 255, 256, own, own * 224 / 225 + 1, own * 256 / own.min(199)]
            {
                for part in [resized, resized.min(224), resized.min(56), 1] {
                    for start in [0, (resized - part) / 2, resized - part] {
                        let (first, extent) = span_in(own, resized, start, part);
                        let last = first + extent;
                        assert!(
                            first >= 0.0 && first < own as f64 && extent > 0.0 && last <= own as f64,
                            "{part} from {start} of {resized} in {own}: {first} + {extent}"
                        );
                        // Three roundings of a number up to 2000, each by at most 2^-43.
                        let exact = (start + part) as f64 * own as f64 / resized as f64;
                        assert!((last - exact).abs() < 1e-12, "{last} {exact}");
                    }
                }
                let whole = span_in(own, resized, 0, resized);
                assert_eq!(whole, (0.0, own as f64), "{resized}");
            }
        }
    }

    #[test]
    fn a_window_sees_what_is_behind_it() {
        assert_eq!(seen(-2, 5, 9), 0..3);
        assert_eq!(seen(4, 3, 9), 4..7);
        assert_eq!(seen(7, 5, 9), 7..9);
        assert!(seen(-9, 5, 9).is_empty() && seen(20, 5, 9).is_empty());
    }
}
