//! Codes on the device.

use crate::gpu::Gpu;
use crate::kernel::product;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

/// int8 codes of [N, C, H, W], four channels to a word: u32 [N, ceil(C / 4), H, W], channel k in byte k % 4. What the last
/// word's bytes past the last channel hold is nobody's business.
#[derive(Clone, Debug)]
pub struct Codes {
    words: Tensor,
    shape: [usize; 4],
}

impl Codes {
    /// Codes that are whatever the memory held: for kernels that write all of them.
    ///
    /// # Errors
    /// Where they are more than one binding of the adapter can hold.
    pub fn empty(gpu: &Gpu, shape: [usize; 4]) -> Result<Codes> {
        let [n, c, h, w] = shape;
        Ok(Codes { words: Tensor::empty(gpu, [n, c.div_ceil(4), h, w], DType::U32)?, shape })
    }

    /// Codes of [N, C, H, W] from the host.
    ///
    /// # Errors
    /// Where their number is not the shape's, and as [`Codes::empty`].
    pub fn upload(gpu: &Gpu, shape: [usize; 4], codes: &[i8]) -> Result<Codes> {
        let made = Codes::empty(gpu, shape)?;
        made.write(codes)?;
        Ok(made)
    }

    /// Replaces the codes.
    ///
    /// # Errors
    /// Where their number is not the shape's, or the device has failed.
    pub fn write(&self, codes: &[i8]) -> Result<()> {
        let [_, c, h, w] = self.shape;
        if codes.len() != self.count() {
            return Err(Error::Shape(format!(
                "{} codes do not fill the shape {:?}",
                codes.len(),
                self.shape
            )));
        }
        if codes.is_empty() {
            return Ok(());
        }
        let mut words = vec![0u32; self.words.count()];
        let area = h * w;
        for (image, words) in codes.chunks(c * area).zip(words.chunks_mut(c.div_ceil(4) * area)) {
            for (channel, plane) in image.chunks(area).enumerate() {
                let words = &mut words[channel / 4 * area..][..area];
                for (word, &code) in words.iter_mut().zip(plane) {
                    *word |= u32::from(code as u8) << (channel % 4 * 8);
                }
            }
        }
        self.words.write_u32(&words)
    }

    /// The codes [N, C, H, W], waiting for everything asked for before.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn read(&self) -> Result<Vec<i8>> {
        let [_, c, h, w] = self.shape;
        if self.count() == 0 {
            return Ok(Vec::new());
        }
        let words = self.words.read_u32()?;
        let area = h * w;
        let mut codes = Vec::with_capacity(self.count());
        for image in words.chunks(c.div_ceil(4) * area) {
            for channel in 0..c {
                let words = &image[channel / 4 * area..][..area];
                codes.extend(words.iter().map(|word| (word >> (channel % 4 * 8)) as i8));
            }
        }
        Ok(codes)
    }

    /// [N, C, H, W].
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// The device that they are on.
    pub fn gpu(&self) -> &Gpu {
        self.words.gpu()
    }

    /// How many codes there are.
    pub fn count(&self) -> usize {
        product(&self.shape)
    }

    pub(super) fn words(&self) -> &Tensor {
        &self.words
    }
}

/// Four zero points in a word.
pub(super) fn four(code: i8) -> u32 {
    u32::from_le_bytes([code as u8; 4])
}
