//! Which folder wins, and what stands in for MNIST where it cannot be had.

use std::fs;

use simqat::data::{DataOptions, Dataset, load};

use super::*;

/// Options that look nowhere but where a test says, whatever the environment.
fn nowhere() -> DataOptions {
    let mut options = DataOptions::default();
    options.data_dir = None;
    options.shelves = Vec::new();
    options.allow_download = false;
    options
}

/// A copy of the shipped sample as `folder/name`.
fn copy_sample(folder: &Path, name: &str) -> PathBuf {
    let to = folder.join(name);
    fs::create_dir_all(&to).unwrap();
    for file in fs::read_dir(shipped().join("mnist-5k")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    to
}

#[test]
fn the_sample_is_balanced_and_mixed() {
    let mut options = nowhere();
    options.shelves = vec![shipped()];
    let sample = load("mnist-5k", &options).unwrap();
    assert!(sample.is_sample);
    assert_eq!((sample.name.as_str(), sample.classes), ("mnist-5k", 10));
    assert_says(&sample.source, &["4000 training and 1000 test", "not comparable"]);
    for (split, each) in [(&sample.train, 400), (&sample.test, 100)] {
        assert_eq!(split.shape(), Some([1, 28, 28]));
        assert_eq!(split.images().unwrap().len(), split.len() * 784);
        for class in 0..10 {
            assert_eq!(split.labels.iter().filter(|&&label| label == class).count(), each);
        }
        // Mixed: a stretch of 256 has every class, so a fast test may take it.
        let first = split.first(256);
        assert!((0..10).all(|class| first.labels.contains(&class)));
        // Digits are mostly paper, and ink is there.
        assert!(
            split.images().unwrap().iter().filter(|&&pixel| pixel == 0).count() * 10 > split.len() * 784 * 7
        );
        assert!(first.images().unwrap().chunks(784).all(|image| image.iter().any(|&pixel| pixel > 200)));
    }
}

#[test]
fn unknown_names_list_the_known_ones() {
    assert_says(
        &refused(load("cifar", &nowhere())),
        &["\"cifar\"", "mnist, fashion-mnist, cifar10, mnist-5k"],
    );
}

#[test]
fn without_mnist_the_sample_stands_in_and_says_so() {
    let mut options = nowhere();
    options.shelves = vec![shipped().join("no-such-shelf"), shipped()];
    // A developer's full copy in datasets/mnist would rightly win over the sample.
    if !shipped().join("mnist").exists() {
        let data = load("mnist", &options).unwrap();
        assert!(data.is_sample);
        assert_says(&data.source, &["MNIST sample", "not comparable", "could not be downloaded"]);
    }

    options.shelves = vec![tempfile::tempdir().unwrap().path().to_path_buf()];
    let error = load("mnist", &options).unwrap_err();
    assert!(matches!(error, simqat::Error::Download(_)), "{error}");
    assert_says(&error.to_string(), &["MNIST is not here", "--data-dir"]);

    let shelf = tempfile::tempdir().unwrap();
    copy_sample(shelf.path(), "mnist-5k");
    options.shelves = vec![shelf.path().to_path_buf()];
    assert!(load("mnist", &options).unwrap().is_sample);
    options.allow_sample = false;
    assert!(load("mnist", &options).is_err());
}

#[test]
fn a_sample_never_stands_in_for_fashion_mnist() {
    let mut options = nowhere();
    options.shelves = vec![shipped()];
    // Where Debian's package is installed, the real one is found.
    match load("fashion-mnist", &options) {
        Ok(data) => assert!(!data.is_sample && data.train.len() == 60_000),
        Err(error) => assert_says(&error.to_string(), &["apt-get install dataset-fashion-mnist"]),
    }
}

#[test]
fn a_named_folder_is_used_or_refused_but_never_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = nowhere();
    options.shelves = vec![shipped()];
    let mut told = |data_dir: &Path| -> String {
        options.data_dir = Some(data_dir.to_path_buf());
        refused(load("mnist", &options))
    };

    assert_says(&told(&folder.path().join("absent")), &["absent", "no such data folder", "SIMQAT_DATA"]);
    assert_says(&told(folder.path()), &["has no mnist/ in it", "simqat data fetch mnist"]);
    let mnist = copy_sample(folder.path(), "mnist");
    assert_says(&told(&mnist), &["name the folder above it"]);
    // The sample's files under the name of MNIST: whole, readable, and another data set.
    assert_says(
        &told(folder.path()),
        &["train-images", "ba891046e6505d7a", "223b7d6aea614933", "simqat data fetch mnist"],
    );
    fs::remove_file(mnist.join("t10k-labels-idx1-ubyte.gz")).unwrap();
    assert_says(&told(folder.path()), &["t10k-labels-idx1-ubyte is missing"]);
}

#[test]
fn a_named_folder_need_not_hold_the_shipped_sample() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = nowhere();
    options.data_dir = Some(folder.path().to_path_buf());
    assert_says(&refused(load("mnist-5k", &options)), &["ships with the repository"]);
    options.shelves = vec![shipped()];
    assert!(load("mnist-5k", &options).unwrap().is_sample);
    // A copy there comes first: it is damaged, and that is said.
    let copy = copy_sample(folder.path(), "mnist-5k");
    fs::write(copy.join("t10k-labels-idx1-ubyte.gz"), gzip(&idx(0x801, &[1000], &[3; 1000]))).unwrap();
    assert_says(&refused(load("mnist-5k", &options)), &["t10k-labels", "restore it from the repository"]);
}

#[test]
fn shelves_are_tried_in_order_and_half_a_set_is_none() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut options = nowhere();
    options.shelves = vec![first.path().to_path_buf(), second.path().to_path_buf()];
    let from =
        |data: Dataset, folder: &tempfile::TempDir| data.source.contains(folder.path().to_str().unwrap());

    copy_sample(second.path(), "mnist-5k");
    assert!(from(load("mnist-5k", &options).unwrap(), &second));
    let half = copy_sample(first.path(), "mnist-5k");
    fs::remove_file(half.join("train-images-idx3-ubyte.gz")).unwrap();
    assert!(from(load("mnist-5k", &options).unwrap(), &second));
    copy_sample(first.path(), "mnist-5k");
    assert!(from(load("mnist-5k", &options).unwrap(), &first));
}

#[test]
#[ignore = "wants all of MNIST in the data folder that SIMQAT_DATA names"]
fn the_environments_folder_holds_mnist() {
    let data = load("mnist", &DataOptions::default()).unwrap();
    assert!(!data.is_sample);
    assert_eq!((data.train.len(), data.test.len(), data.classes), (60_000, 10_000, 10));
    assert_eq!(data.train.labels[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
}
