//! What every data set looks like to the trainer, and what must hold before training starts.

use crate::error::{Error, Result};

/// Pictures with one label each. Made by [`Split::new`], so the lengths agree and every label is a class.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// Bytes as [N, C, H, W], 0 to 255.
    pub images: Vec<u8>,
    /// C: 1 for grey, 3 for red, green, blue.
    pub channels: usize,
    /// H, in pixels.
    pub height: usize,
    /// W, in pixels.
    pub width: usize,
    /// `[N]`, the class of each picture.
    pub labels: Vec<u8>,
}

impl Split {
    /// Pictures of `shape` [C, H, W] and their labels, checked.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no picture, where the bytes do not make as many pictures as there are labels, or
    /// where a label is not below `classes`: a label outside would train to garbage without a word.
    pub fn new(shape: [usize; 3], images: Vec<u8>, labels: Vec<u8>, classes: usize) -> Result<Split> {
        let [channels, height, width] = shape;
        // Sizes come from headers, so their product may be anything.
        let size = channels.checked_mul(height).and_then(|n| n.checked_mul(width)).unwrap_or(usize::MAX);
        if size == 0 || labels.is_empty() {
            return Err(Error::Invalid(format!(
                "a data set needs at least one picture with at least one pixel, not {} of {shape:?} [C, H, W]",
                labels.len()
            )));
        }
        if labels.len().checked_mul(size) != Some(images.len()) {
            return Err(Error::Invalid(format!(
                "{} labels and {} bytes of pictures don't go together: a picture of {shape:?} [C, H, W] is {size} bytes",
                labels.len(),
                images.len()
            )));
        }
        if let Some(message) = label_outside(&labels, classes) {
            return Err(Error::Invalid(message));
        }
        Ok(Split { images, channels, height, width, labels })
    }

    /// How many pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True where there is no picture; [`Split::new`] makes none such.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one picture: C * H * W.
    pub fn image_bytes(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The first `count` pictures, or all where there are fewer: for a quick look or a fast test.
    pub fn first(&self, count: usize) -> Split {
        let count = count.min(self.len());
        Split {
            images: self.images[..count * self.image_bytes()].to_vec(),
            labels: self.labels[..count].to_vec(),
            ..*self
        }
    }
}

/// A data set, ready to be put on the GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dataset {
    /// Short name, as given to [`load`](super::load).
    pub name: String,
    /// What is learnt from.
    pub train: Split,
    /// What accuracy is measured on.
    pub test: Split,
    /// How many classes; labels are below this.
    pub classes: usize,
    /// True for the shipped sample, whose accuracies must not be put beside published ones.
    pub is_sample: bool,
    /// What it is and where it was found, in one line: the first that the program prints.
    pub source: String,
}

impl Dataset {
    /// A data set of one's own.
    ///
    /// # Errors
    /// [`Error::Invalid`] where training and test pictures differ in shape or hold a label that is no class.
    pub fn new(name: impl Into<String>, train: Split, test: Split, classes: usize) -> Result<Dataset> {
        let name = name.into();
        for (part, split) in [("training", &train), ("test", &test)] {
            if let Some(message) = label_outside(&split.labels, classes) {
                return Err(Error::Invalid(format!("{name}, {part} labels: {message}")));
            }
        }
        let shape = |split: &Split| [split.channels, split.height, split.width];
        if shape(&train) != shape(&test) {
            return Err(Error::Invalid(format!(
                "{name}: training pictures are {:?} [C, H, W] but test pictures are {:?}; they must agree",
                shape(&train),
                shape(&test)
            )));
        }
        let source = format!("{name}: {} training and {} test images", train.len(), test.len());
        Ok(Dataset { name, train, test, classes, is_sample: false, source })
    }
}

/// What is wrong with the first label that is no class, if there is one.
pub(crate) fn label_outside(labels: &[u8], classes: usize) -> Option<String> {
    let index = labels.iter().position(|&label| usize::from(label) >= classes)?;
    Some(format!(
        "the label of picture {index} is {}, outside 0..{classes}; correct it or say how many classes there are",
        labels[index]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_checks_counts_and_labels() {
        let split = |bytes, labels: &[u8]| Split::new([1, 2, 2], vec![0; bytes], labels.to_vec(), 3);
        let told = |result: Result<Split>| result.unwrap_err().to_string();
        assert_eq!(split(8, &[0, 2]).unwrap().len(), 2);
        assert!(told(split(7, &[0, 2])).contains("2 labels and 7 bytes"));
        assert!(told(split(8, &[0, 3])).contains("the label of picture 1 is 3, outside 0..3"));
        assert!(told(split(0, &[])).contains("at least one picture"));
    }

    #[test]
    fn the_first_pictures_keep_their_labels() {
        let split = Split::new([1, 1, 2], (0..6).collect(), vec![2, 1, 0], 3).unwrap();
        let two = split.first(2);
        assert_eq!((two.images, two.labels), (vec![0, 1, 2, 3], vec![2, 1]));
        assert_eq!(split.first(9), split);
    }

    #[test]
    fn training_and_test_pictures_have_one_shape() {
        let small = Split::new([1, 2, 2], vec![0; 4], vec![0], 1).unwrap();
        let large = Split::new([1, 2, 3], vec![0; 6], vec![0], 1).unwrap();
        let told = Dataset::new("mine", small.clone(), large, 1).unwrap_err().to_string();
        assert!(told.contains("[1, 2, 2]") && told.contains("[1, 2, 3]"), "{told}");
        assert!(Dataset::new("mine", small.clone(), small, 0).is_err());
    }
}
