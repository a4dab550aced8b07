//! What every data set looks like to the trainer, and what must hold before training starts.

use std::path::PathBuf;
use std::sync::Arc;

use super::order;
use crate::error::{Error, Result};

/// Where the pictures of a [`Split`] are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pictures {
    /// In main memory, all of one shape.
    Memory {
        /// C (1 for grey; 3 for red, green, blue), H and W, in pixels.
        shape: [usize; 3],
        /// Bytes as [N, C, H, W], 0 to 255.
        bytes: Vec<u8>,
    },
    /// A file for each, of any size, decoded when its turn comes. Shared, since a large set has millions.
    Files(Arc<Vec<PathBuf>>),
}

/// Pictures with one label each. Made by [`Split::new`] or [`Split::of_files`], so the lengths agree and every label is a
/// class.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// The pictures.
    pub pictures: Pictures,
    /// `[N]`, the class of each picture.
    pub labels: Vec<u32>,
}

impl Split {
    /// Pictures of `shape` [C, H, W] and their labels, checked.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no picture, where the bytes do not make as many pictures as there are labels, or
    /// where a label is not below `classes`: a label outside would train to garbage without a word.
    pub fn new(shape: [usize; 3], images: Vec<u8>, labels: Vec<u32>, classes: usize) -> Result<Split> {
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
        Split { pictures: Pictures::Memory { shape, bytes: images }, labels }.checked(classes)
    }

    /// Pictures that are decoded when their turn comes, and their labels, checked.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no picture, where there are not as many files as labels, or where a label is not
    /// below `classes`.
    pub fn of_files(files: Vec<PathBuf>, labels: Vec<u32>, classes: usize) -> Result<Split> {
        if files.is_empty() || files.len() != labels.len() {
            return Err(Error::Invalid(format!(
                "{} picture files and {} labels don't go together: each file needs a label, and there must be one",
                files.len(),
                labels.len()
            )));
        }
        Split { pictures: Pictures::Files(Arc::new(files)), labels }.checked(classes)
    }

    fn checked(self, classes: usize) -> Result<Split> {
        match label_outside(&self.labels, classes) {
            Some(message) => Err(Error::Invalid(message)),
            None => Ok(self),
        }
    }

    /// How many pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True where there is no picture; no way of making a split makes none such.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// C, H and W of the pictures; none where they are files, of any size.
    pub fn shape(&self) -> Option<[usize; 3]> {
        match self.pictures {
            Pictures::Memory { shape, .. } => Some(shape),
            Pictures::Files(_) => None,
        }
    }

    /// The pictures' bytes, one picture behind the other, where they are in main memory.
    pub fn images(&self) -> Option<&[u8]> {
        match &self.pictures {
            Pictures::Memory { bytes, .. } => Some(bytes),
            Pictures::Files(_) => None,
        }
    }

    /// `count` pictures, always the same ones, or all where there are fewer: for a quick look or a fast test. Of pictures
    /// in memory they are the first; of files, which lie sorted by class, they are spread evenly over all.
    pub fn first(&self, count: usize) -> Split {
        let count = count.min(self.len());
        match &self.pictures {
            Pictures::Memory { .. } => self.picked(0..count),
            Pictures::Files(files) => self.picked((0..count).map(|i| i * files.len() / count)),
        }
    }

    /// What is left if `count` pictures are held back, and those: drawn by the seed, in the order in which they are here.
    ///
    /// # Panics
    /// If there are not more pictures than that.
    pub(crate) fn held_back(&self, seed: u64, count: usize) -> (Split, Split) {
        assert!(count < self.len(), "{count} of {} pictures cannot be held back", self.len());
        let held = order::held_back(seed, self.len(), count);
        let rest = (0..self.len()).filter(|picture| held.binary_search(picture).is_err());
        (self.picked(rest), self.picked(held.iter().copied()))
    }

    /// The pictures of these numbers, in this order.
    fn picked(&self, numbers: impl Iterator<Item = usize> + Clone) -> Split {
        let pictures = match &self.pictures {
            Pictures::Memory { shape, bytes } => {
                let size: usize = shape.iter().product();
                let bytes = numbers.clone().flat_map(|i| &bytes[i * size..][..size]).copied().collect();
                Pictures::Memory { shape: *shape, bytes }
            }
            Pictures::Files(files) => {
                Pictures::Files(Arc::new(numbers.clone().map(|i| files[i].clone()).collect()))
            }
        };
        Split { pictures, labels: numbers.map(|i| self.labels[i]).collect() }
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
    /// `[classes]`, what people call them; their numbers where nothing else is known.
    pub class_names: Vec<String>,
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
        if let (Some(learnt), Some(tested)) = (train.shape(), test.shape())
            && learnt != tested
        {
            return Err(Error::Invalid(format!(
                "{name}: training pictures are {learnt:?} [C, H, W] but test pictures are {tested:?}; they must agree"
            )));
        }
        let class_names = (0..classes).map(|class| class.to_string()).collect();
        let source = format!("{name}: {} training and {} test images", train.len(), test.len());
        Ok(Dataset { name, train, test, classes, class_names, is_sample: false, source })
    }
}

/// What is wrong with the first label that is no class, if there is one.
pub(crate) fn label_outside(labels: &[u32], classes: usize) -> Option<String> {
    let index = labels.iter().position(|&label| label as usize >= classes)?;
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
        let split = |bytes, labels: &[u32]| Split::new([1, 2, 2], vec![0; bytes], labels.to_vec(), 3);
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
        assert_eq!((two.images().unwrap(), &two.labels[..]), (&[0, 1, 2, 3][..], &[2, 1][..]));
        assert_eq!(split.first(9), split);
    }

    #[test]
    fn what_is_held_back_is_drawn_by_the_seed_and_no_longer_there() {
        let labels: Vec<u32> = (0..50).collect();
        let memory = Split::new([1, 1, 1], (0..50).collect(), labels.clone(), 50).unwrap();
        let files = Split::of_files((0..50).map(|i| i.to_string().into()).collect(), labels, 50).unwrap();
        let (rest, held) = memory.held_back(7, 12);
        assert_eq!((rest.len(), held.len()), (38, 12));
        let mut all = [rest.labels.clone(), held.labels.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, memory.labels);
        for split in [&rest, &held] {
            assert!(
                split
                    .images()
                    .unwrap()
                    .iter()
                    .zip(&split.labels)
                    .all(|(byte, label)| u32::from(*byte) == *label)
            );
            assert!(split.labels.is_sorted());
        }
        assert_eq!(memory.held_back(7, 12).1, held);
        assert_ne!(memory.held_back(8, 12).1, held);
        assert_eq!(files.held_back(7, 12).1.labels, held.labels);
    }

    #[test]
    fn a_few_files_are_of_all_classes() {
        let files: Vec<PathBuf> = (0..6).map(|i| i.to_string().into()).collect();
        let split = Split::of_files(files, vec![0, 0, 1, 1, 2, 2], 3).unwrap();
        let few = split.first(3);
        assert_eq!(few.labels, [0, 1, 2]);
        assert_eq!(
            few,
            Split::of_files(["0", "2", "4"].map(PathBuf::from).into(), vec![0, 1, 2], 3).unwrap()
        );
        assert_eq!(split.first(6), split);
        assert!(Split::of_files(vec!["a".into()], vec![], 1).is_err());
        assert!(Split::of_files(vec!["a".into()], vec![1], 1).is_err());
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
