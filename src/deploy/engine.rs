//! What runs integer networks.

use super::model::Int8Model;
use crate::{Error, Result};

/// An engine with a model in it. All engines give the same codes for the same codes, always.
pub trait Engine {
    /// The network that it runs.
    fn model(&self) -> &Int8Model;

    /// Codes of the output for the codes of a batch [N, ...] of images, each in the network's input shape: what
    /// [`Int8Model::quantize`] makes of their values. `output` is overwritten; its memory is used again.
    ///
    /// # Errors
    /// Where the codes are no whole number of images, or the device has failed.
    fn run(&mut self, codes: &[i8], output: &mut Vec<i8>) -> Result<()>;

    /// Codes of every layer for a batch, in the order of [`Int8Model::layers`], each [N, ...]: to look into a network.
    ///
    /// # Errors
    /// As [`Engine::run`].
    fn trace(&mut self, codes: &[i8]) -> Result<Vec<Vec<i8>>>;

    /// The numbers that the output stands for, for a batch of images' values [N, ...].
    ///
    /// # Errors
    /// As [`Engine::run`].
    fn predict(&mut self, values: &[f32]) -> Result<Vec<f32>> {
        let codes = self.model().quantize(values);
        let mut output = Vec::new();
        self.run(&codes, &mut output)?;
        Ok(self.model().dequantize(&output))
    }
}

impl Int8Model {
    /// Images in a batch of so many codes.
    ///
    /// # Errors
    /// Where there is none, or a part of one.
    pub fn images_in(&self, codes: usize) -> Result<usize> {
        let shape = &self.input().shape;
        let one: usize = shape.iter().product();
        if codes == 0 || !codes.is_multiple_of(one) {
            return Err(Error::Shape(format!(
                "{} takes images of {shape:?}, {one} numbers each, and {codes} numbers came",
                self.name
            )));
        }
        Ok(codes / one)
    }
}
