//! Picture files: decoding them, and cutting out of them what the network sees.

use std::path::Path;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, ImageView, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
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
    /// colour by repetition, colour grey by its luma, 16 bits the upper 8, CMYK and YCCK red, green, blue; transparency is
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
        let pixels = if channels == 1 { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() };
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

/// Luma of ITU-R BT.601, as JPEG's own.
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
            let [down, across] = [0, 1].map(|axis| own[axis] as f64 / view.resized[axis] as f64);
            let corner = [f64::from(view.top) * down, f64::from(view.left) * across];
            let extent = [view.height as f64 * down, view.width as f64 * across];
            let source = pixels::<P>(&picture.pixels, own)?;
            return self.resize(&source, own, Some((corner, extent)), size, out);
        }
        let mut resized = vec![0; view.resized[0] * view.resized[1] * picture.channels];
        self.resize(&pixels::<P>(&picture.pixels, own)?, own, None, view.resized, &mut resized)?;
        let mut cut = vec![0; view.height * view.width * picture.channels];
        copy_part(&resized, view, picture.channels, &mut cut);
        self.resize(&pixels::<P>(&cut, rectangle)?, rectangle, None, size, out)
    }

    fn resize<P: PixelTrait>(
        &mut self,
        source: &impl ImageView<Pixel = P>,
        from: [usize; 2],
        part: Option<([f64; 2], [f64; 2])>,
        to: [usize; 2],
        out: &mut [u8],
    ) -> Result<()> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::Invalid(format!("a picture of {from:?} [H, W] cannot be resized to {to:?}: {e}"))
        };
        let mut out =
            TypedImage::<P>::from_buffer(to[1] as u32, to[0] as u32, out).map_err(|e| failed(&e))?;
        let options = match part {
            Some(([top, left], [height, width])) => self.options.crop(left, top, width, height),
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

/// Copies the rectangle of a view out of a picture of the view's `resized` shape; what is outside stays as it is.
fn copy_part(picture: &[u8], view: &View, channels: usize, out: &mut [u8]) {
    let [height, width] = view.resized;
    let first = view.left.max(0) as usize;
    let last = (i64::from(view.left) + view.width as i64).clamp(0, width as i64) as usize;
    if first >= last {
        return;
    }
    for (row, line) in out.chunks_exact_mut(view.width * channels).enumerate() {
        let y = i64::from(view.top) + row as i64;
        if (0..height as i64).contains(&y) {
            let source = &picture[(y as usize * width + first) * channels..][..(last - first) * channels];
            let start = (first as i64 - i64::from(view.left)) as usize * channels;
            line[start..][..source.len()].copy_from_slice(source);
        }
    }
}
