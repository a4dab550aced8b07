//! Single picture files for a trained network, made ready on the host: what a [`Feed`](super::Feed) does with a data set.

use std::path::Path;

use super::recipe::Recipe;
use crate::data::picture::{Cutter, Picture};
use crate::data::{KnownSet, View};
use crate::{Error, Result};

impl Recipe {
    /// A JPEG or PNG as a network of this recipe takes it for evaluating, for images of `shape` [C, H, W]: cut, resized and
    /// normalized as the recipe says.
    ///
    /// Pictures for a data set that lies on the device are resized by the formula of `augment/gather.wgsl`, others as the loader
    /// does it, so that a picture gets the class that it has in an evaluation.
    ///
    /// # Errors
    /// Where the file is no whole picture or cannot be cut as the recipe says, or the recipe is not one for such images.
    pub fn prepare(&self, path: impl AsRef<Path>, shape: [usize; 3]) -> Result<Vec<f32>> {
        let path = path.as_ref();
        let [channels, height, width] = shape;
        let normalization = &self.data.normalization;
        normalization.check(channels)?;
        let picture = Picture::read(path, channels)?;
        let size = [picture.height, picture.width];
        let transform = self.data.evaluate.transform();
        if let Some(reason) = transform.refuses(size) {
            return Err(Error::bad_file(path, reason));
        }
        let view = transform.view(size, None);
        let lies_on_device = self.data.name.parse::<KnownSet>().is_ok() && transform.is_for_device();
        let pixels = match lies_on_device {
            true => resized(&picture, &view, [height, width]),
            false => {
                let mut bytes = vec![0; channels * height * width];
                Cutter::default().cut(&picture, &view, [height, width], &mut bytes)?;
                bytes.into_iter().map(f32::from).collect()
            }
        };
        // From [H, W, C] to [C, H, W].
        let plane = height * width;
        let mut values = Vec::with_capacity(channels * plane);
        for (c, [middle, factor]) in normalization.constants().enumerate() {
            values.extend((0..plane).map(|at| (pixels[at * channels + c] - middle) * factor));
        }
        Ok(values)
    }
}

/// A part of a picture, resized bilinearly: half-pixel centres, edges repeated; antialiased where it gets smaller.
fn resized(picture: &Picture, view: &View, [height, width]: [usize; 2]) -> Vec<f32> {
    // As the device has it: a smaller side makes both axes' filters as wide as their steps.
    let smaller = height < view.height || width < view.width;
    let rows: Vec<_> = (0..height).map(|y| taps(y, view.height, height, smaller)).collect();
    let columns: Vec<_> = (0..width).map(|x| taps(x, view.width, width, smaller)).collect();
    let value = |row: usize, column: usize, c: usize| {
        let [y, x] = [row as i64 + i64::from(view.top), column as i64 + i64::from(view.left)];
        let inside = (0..picture.height as i64).contains(&y) && (0..picture.width as i64).contains(&x);
        // Black where the part reaches over the edge.
        let at = || (y as usize * picture.width + x as usize) * picture.channels + c;
        if inside { f32::from(picture.pixels[at()]) } else { 0.0 }
    };
    let mut out = Vec::with_capacity(height * width * picture.channels);
    for down in &rows {
        for across in &columns {
            for c in 0..picture.channels {
                let line =
                    |row: usize| across.iter().map(|&(x, share)| share * value(row, x, c)).sum::<f32>();
                out.push(down.iter().map(|&(row, share)| share * line(row)).sum());
            }
        }
    }
    out
}

/// The places along an axis of `from` values that make value `at` of `to`, and their shares.
fn taps(at: usize, from: usize, to: usize, smaller: bool) -> Vec<(usize, f32)> {
    if from == to {
        return vec![(at, 1.0)];
    }
    let scale = from as f32 / to as f32;
    let middle = (at as f32 + 0.5) * scale;
    if !smaller {
        let place = (middle - 0.5).max(0.0);
        let first = place as usize;
        let share = place - first as f32;
        return vec![(first, 1.0 - share), ((first + 1).min(from - 1), share)];
    }
    let reach = scale.max(1.0);
    let places = (middle - reach + 0.5).max(0.0) as usize..((middle + reach + 0.5) as usize).min(from);
    let share = |place: usize| (1.0 - (place as f32 + 0.5 - middle).abs() / reach).max(0.0);
    let total: f32 = places.clone().map(share).sum();
    places.map(|place| (place, share(place) / total)).collect()
}
