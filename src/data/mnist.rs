//! MNIST and the sets that share its shape: four IDX files, 28 x 28 grey pictures, ten classes.

use std::path::{Path, PathBuf};

use super::catalog::KnownSet;
use super::dataset::{Dataset, Split, label_outside};
use super::idx;
use crate::error::{Error, Result};

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

/// SHA-256 of the plain IDX content, in the order training images, training labels, test images, test labels.
///
/// Of the content and not of the `.gz`: packers differ (Debian strips names and times), the pictures don't.
pub(super) type Content = [&'static str; 4];

/// Of [`KnownSet::Mnist`].
pub(super) const MNIST: Content = [
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
];
/// Of [`KnownSet::FashionMnist`].
pub(super) const FASHION_MNIST: Content = [
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
];
/// Of [`KnownSet::Mnist5k`].
pub(super) const MNIST_5K: Content = [
    "223b7d6aea614933e7015be746bffa6eda1db34da2a2a14881ce4d984338dde1",
    "bb612ffb30cf43e283aed54bb9e2ba1a0e5793edecfa9a6ddf60a9dda654fa06",
    "021253938587cd1810cbfe08e7b2c84967ecbb1dde64a506ff9461ea3ba781cd",
    "43802e4707589e5550736c977389c82bfc7a4848ac6b179ab95e029dd4be8cf7",
];

/// Reads four IDX files of one's own, named as MNIST's are, gzipped or plain, compared with no checksum.
///
/// For data that merely has MNIST's shape; pictures may have any size.
///
/// # Errors
/// [`Error::BadFile`] where a file is missing or damaged, where images and labels differ in number, or where a label is
/// not below `classes`; [`Error::Invalid`] where training and test pictures differ in size.
pub fn read_folder(name: impl Into<String>, folder: impl AsRef<Path>, classes: usize) -> Result<Dataset> {
    let folder = folder.as_ref();
    let train = Part::read(folder, TRAIN_IMAGES, TRAIN_LABELS, classes)?.into_split(classes)?;
    let test = Part::read(folder, TEST_IMAGES, TEST_LABELS, classes)?.into_split(classes)?;
    let mut set = Dataset::new(name, train, test, classes)?;
    set.source = format!("{} from {}", set.source, folder.display());
    Ok(set)
}

/// Reads a known set and compares it with its checksums.
pub(crate) fn read_known(set: KnownSet, content: Content, folder: &Path) -> Result<Dataset> {
    let [train_images, train_labels, test_images, test_labels] = content;
    let train = Part::read(folder, TRAIN_IMAGES, TRAIN_LABELS, set.classes())?;
    train.verify(set, train_images, train_labels)?;
    let test = Part::read(folder, TEST_IMAGES, TEST_LABELS, set.classes())?;
    test.verify(set, test_images, test_labels)?;

    let classes = set.classes();
    let mut data = Dataset::new(set.name(), train.into_split(classes)?, test.into_split(classes)?, classes)?;
    data.class_names = set.class_names().iter().map(ToString::to_string).collect();
    data.is_sample = set == KnownSet::Mnist5k;
    data.source = format!(
        "{}: {} training and {} test images from {}",
        set.title(),
        data.train.len(),
        data.test.len(),
        folder.display()
    );
    if data.is_sample {
        data.source += "; accuracies on the sample are not comparable with the published ones";
    }
    Ok(data)
}

/// Which of the four files a folder lacks.
pub(crate) fn missing_in(folder: &Path) -> Vec<&'static str> {
    let names = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS];
    names.into_iter().filter(|name| find(folder, name).is_none()).collect()
}

/// A file under one of the names that it goes by: gzipped or plain, and as some unpackers spell it (`images.idx3`).
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let dotted = name.replacen("-idx", ".idx", 1);
    let spellings = [format!("{name}.gz"), name.to_string(), format!("{dotted}.gz"), dotted];
    spellings.iter().map(|spelling| folder.join(spelling)).find(|path| path.is_file())
}

/// Training or test half, as read, with the paths that an error names.
struct Part {
    images_path: PathBuf,
    images: idx::IdxImages,
    labels_path: PathBuf,
    labels: Vec<u32>,
}

impl Part {
    /// Reads and checks what can be checked without knowing the data set.
    fn read(folder: &Path, images: &str, labels: &str, classes: usize) -> Result<Part> {
        let path_of = |name: &str| {
            find(folder, name).ok_or_else(|| {
                Error::bad_file(folder, format!("{name}.gz is missing (a plain {name} would do as well)"))
            })
        };
        let (images_path, labels_path) = (path_of(images)?, path_of(labels)?);
        let images = idx::read_images(&images_path)?;
        let labels: Vec<u32> = idx::read_labels(&labels_path)?.into_iter().map(u32::from).collect();
        if labels.len() != images.count {
            let message = format!(
                "holds {} labels, but {} holds {} images; both must come from one data set",
                labels.len(),
                images_path.display(),
                images.count
            );
            return Err(Error::bad_file(labels_path, message));
        }
        if let Some(message) = label_outside(&labels, classes) {
            return Err(Error::bad_file(labels_path, message));
        }
        Ok(Part { images_path, images, labels_path, labels })
    }

    fn verify(&self, set: KnownSet, images: &str, labels: &str) -> Result<()> {
        let found = [
            (&self.images_path, idx::images_sha256(&self.images), images),
            (
                &self.labels_path,
                idx::labels_sha256(&self.labels.iter().map(|&label| label as u8).collect::<Vec<_>>()),
                labels,
            ),
        ];
        for (path, found, expected) in found {
            if found != expected {
                let advice = if set.is_shipped() {
                    "restore it from the repository".to_string()
                } else {
                    format!("delete it and run `simqat data fetch {set}`")
                };
                let message = format!(
                    "this is not {}'s file or it is damaged (SHA-256 of the content: expected {expected}, found {found}); {advice}",
                    set.title()
                );
                return Err(Error::bad_file(path, message));
            }
        }
        Ok(())
    }

    fn into_split(self, classes: usize) -> Result<Split> {
        Split::new([1, self.images.rows, self.images.columns], self.images.pixels, self.labels, classes)
    }
}
