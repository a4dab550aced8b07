//! What a comparison of a simulated and an integer network was made on, as a file for other programs.

use std::path::Path;

use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};

use crate::deploy::parity::Predictions;
use crate::tensor::Tensor;
use crate::whole_file::write_whole;
use crate::{Error, Result};

/// Images as the network takes them, labels, and the classes that both networks gave.
#[derive(Default)]
pub struct ComparedInputs {
    shape: Vec<usize>,
    images: Vec<u8>,
    labels: Vec<u8>,
    simulated: Vec<u8>,
    int8: Vec<u8>,
}

impl ComparedInputs {
    /// A batch of images [N, C, H, W], labels `[N]`, and what came of them.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn add(&mut self, images: &Tensor, labels: &[u32], predictions: &Predictions) -> Result<()> {
        self.shape = images.shape()[1..].to_vec();
        self.images.extend(images.read_f32()?.iter().flat_map(|value| value.to_le_bytes()));
        self.labels.extend(labels.iter().flat_map(|label| label.to_le_bytes()));
        let bytes = |classes: &[usize]| {
            classes.iter().flat_map(|&class| (class as u32).to_le_bytes()).collect::<Vec<_>>()
        };
        self.simulated.extend(bytes(&predictions.simulated));
        self.int8.extend(bytes(&predictions.int8));
        Ok(())
    }

    /// Writes a safetensors file: `images` f32 [N, C, H, W]; `labels`, `simulated` and `int8`, u32 `[N]`.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let count = self.labels.len() / 4;
        let images = (Dtype::F32, [&[count], &self.shape[..]].concat(), &self.images);
        let classes = |bytes| (Dtype::U32, vec![count], bytes);
        let tensors = [
            ("images", images),
            ("labels", classes(&self.labels)),
            ("simulated", classes(&self.simulated)),
            ("int8", classes(&self.int8)),
        ];
        let bad = |e: safetensors::SafeTensorError| Error::bad_file(path, e.to_string());
        let views = tensors.into_iter().map(|(name, (dtype, shape, bytes))| {
            TensorView::new(dtype, shape, bytes).map(|view| (name, view)).map_err(bad)
        });
        write_whole(path, &serialize(views.collect::<Result<Vec<_>>>()?, None).map_err(bad)?)
    }
}
