//! Folders of pictures: how they are listed, and that batches do not depend on threads or on what was asked before.

use std::fs;

use image::ImageFormat;

use simqat::data::loader::{Batch, Loader};
use simqat::data::{Crop, DataOptions, LoaderOptions, Order, Pictures, Split, Transform, folder, load};

use super::pictures::{drawn, encoded};
use super::*;

/// A folder of three classes with `each` pictures in train/ and one in val/, JPEG and PNG of several sizes.
fn shapes(root: &Path, each: u32) {
    for (split, each) in [("train", each), ("val", 1)] {
        for (class, name) in ["circle", "square", "zigzag"].iter().enumerate() {
            let folder = root.join(split).join(name);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..each {
                let picture = drawn(20 + 5 * i, 33 - 2 * i, 10 * class as u32 + i);
                let (ending, format) =
                    if i % 2 == 0 { ("JPEG", ImageFormat::Jpeg) } else { ("png", ImageFormat::Png) };
                fs::write(folder.join(format!("{i}.{ending}")), encoded(picture, format)).unwrap();
            }
        }
    }
}

fn augmented() -> Transform {
    let crop = Crop::RandomResized { scale: [0.2, 1.0], ratio: [0.75, 1.3] };
    Transform { resize: 0, crop, flip: true }
}

fn loader(split: &Split, batch: usize, workers: usize, prefetch: usize) -> Loader {
    Loader::new(split.clone(), augmented(), 3, [12, 16], batch, LoaderOptions { workers, prefetch }).unwrap()
}

fn batch(loader: &Loader, order: Order, step: usize) -> Batch {
    let mut batch = Batch::default();
    loader.batch(order, step, &mut batch).unwrap();
    batch
}

#[test]
fn classes_are_numbered_by_name_and_files_sorted() {
    let root = tempfile::tempdir().unwrap();
    shapes(root.path(), 4);
    fs::write(root.path().join("train/circle/notes.txt"), "not a picture").unwrap();
    fs::create_dir(root.path().join("train/.cache")).unwrap();
    fs::create_dir_all(root.path().join("train/square/more")).unwrap();
    fs::write(root.path().join("train/square/more/x.PNG"), encoded(drawn(8, 8, 1), ImageFormat::Png))
        .unwrap();
    let data = folder::read_folder("shapes", root.path()).unwrap();
    assert_eq!(data.class_names, ["circle", "square", "zigzag"]);
    assert_eq!((data.train.len(), data.test.len(), data.classes), (13, 3, 3));
    assert_eq!(data.train.labels, [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2]);
    assert_eq!((data.train.shape(), data.test.labels), (None, vec![0, 1, 2]));
    assert_says(&data.source, &["shapes: 13 training and 3 test images of 3 classes"]);
}

#[test]
fn a_folder_is_found_by_name_and_by_path() {
    let shelf = tempfile::tempdir().unwrap();
    shapes(&shelf.path().join("shapes"), 2);
    let mut options = DataOptions::default();
    (options.data_dir, options.allow_download) = (Some(shelf.path().into()), false);
    assert_eq!(load("shapes", &options).unwrap().train.len(), 6);
    let path = shelf.path().join("shapes");
    options.data_dir = None;
    let by_path = load(path.to_str().unwrap(), &options).unwrap();
    assert_eq!((by_path.name.as_str(), by_path.train.len()), ("shapes", 6));
    assert_says(
        &refused(load("shapse", &options)),
        &["no data set \"shapse\"", "no folder of pictures is at"],
    );
    // The tests run where `src` is; who names a data folder does not mean that one, but may give a path.
    assert_says(&refused(load("src", &options)), &["src: there is neither val/ nor test/ in it"]);
    options.data_dir = Some(shelf.path().into());
    let text = refused(load("src", &options));
    assert!(text.contains("no data set \"src\"") && !text.contains(" or src"), "{text}");
    assert_eq!(load(path.to_str().unwrap(), &options).unwrap().train.len(), 6);
}

#[test]
fn folders_that_are_no_data_set_say_why() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let read = || folder::read_folder("mine", root);
    assert_says(&refused(read()), &["there is no train/ in it"]);
    fs::create_dir_all(root.join("train")).unwrap();
    assert_says(&refused(read()), &["neither val/ nor test/"]);
    fs::create_dir_all(root.join("val")).unwrap();
    assert_says(&refused(read()), &["val", "there are no class folders in it"]);
    for class in ["train/a", "val/a"] {
        fs::create_dir(root.join(class)).unwrap();
    }
    assert_says(&refused(read()), &["\"a\" is the only class", "at least two"]);
    for class in ["train/b", "val/b", "val/c"] {
        fs::create_dir(root.join(class)).unwrap();
    }
    assert_says(&refused(read()), &["val: has a class \"c\" that", "train has not"]);
    fs::rename(root.join("val/c"), root.join("train/c")).unwrap();
    assert_says(&refused(read()), &["train: has a class \"c\" that", "val has not"]);
    fs::remove_dir(root.join("train/c")).unwrap();
    assert_says(&refused(read()), &["train/a", "there is no picture in it"]);
}

#[test]
fn threads_and_what_was_asked_before_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    shapes(root.path(), 5);
    let split = folder::read_folder("shapes", root.path()).unwrap().train;
    let order = |epoch| Order::Shuffled { seed: 7, epoch };
    // 15 pictures: three whole batches of four, and three pictures that wait for the next shuffle.
    let one = loader(&split, 4, 1, 1);
    let expected: Vec<Batch> = (0..3)
        .flat_map(|epoch| (0..3).map(move |step| (epoch, step)))
        .map(|(e, s)| batch(&one, order(e), s))
        .collect();
    assert!(
        expected
            .iter()
            .all(|b| b.pixels.len() == 4 * 12 * 16 * 3 && b.labels.len() == 4 && b.flips.len() == 4)
    );
    assert!((0..9).all(|i| (0..i).all(|j| expected[i] != expected[j])));
    for (workers, prefetch) in [(2, 1), (3, 2), (8, 5)] {
        let many = loader(&split, 4, workers, prefetch);
        for (i, expected) in expected.iter().enumerate() {
            assert!(batch(&many, order(i / 3), i % 3) == *expected, "{workers} threads, batch {i}");
        }
        // As a resumed training asks, and an evaluation between two epochs.
        for i in [5, 6, 0, 8, 3, 4] {
            assert!(batch(&many, order(i / 3), i % 3) == expected[i], "{workers} threads, back to {i}");
            assert_eq!(batch(&many, Order::Unshuffled, 3).labels.len(), 3);
        }
    }
    let labels: Vec<u32> = (0..4).flat_map(|step| batch(&one, Order::Unshuffled, step).labels).collect();
    assert_eq!(labels, split.labels);
    let unmoved = batch(&one, Order::Unshuffled, 0);
    assert!(unmoved.flips.iter().all(|flip| !flip) && unmoved == batch(&one, Order::Unshuffled, 0));
    assert_says(&refused(one.batch(order(0), 4, &mut Batch::default())), &["no batch 4 of 4 in 15 pictures"]);
}

#[test]
fn pictures_that_cannot_be_decoded_are_replaced_counted_and_named() {
    let root = tempfile::tempdir().unwrap();
    shapes(root.path(), 5);
    let file = |name: &str| root.path().join("train").join(name);
    fs::write(file("circle/1.png"), []).unwrap();
    let jpeg = fs::read(file("square/2.JPEG")).unwrap();
    fs::write(file("square/2.JPEG"), &jpeg[..jpeg.len() * 2 / 3]).unwrap();
    fs::write(file("zigzag/4.JPEG"), "not a picture").unwrap();
    let split = folder::read_folder("shapes", root.path()).unwrap().train;
    let order = |epoch| Order::Shuffled { seed: 7, epoch };
    let (one, many) = (loader(&split, 5, 1, 1), loader(&split, 5, 4, 3));
    for step in 0..6 {
        let (a, b) = (batch(&one, order(step / 3), step % 3), batch(&many, order(step / 3), step % 3));
        assert!(a == b && a.labels.len() == 5, "{step}");
    }
    let skipped = many.skipped();
    assert_eq!(skipped, one.skipped());
    let names: Vec<_> = skipped.iter().map(|s| s.path.strip_prefix(root.path()).unwrap()).collect();
    assert_eq!(names, ["train/circle/1.png", "train/square/2.JPEG", "train/zigzag/4.JPEG"].map(Path::new));
    assert_says(&skipped[0].reason, &["the file is empty"]);
    assert_says(&skipped[1].reason, &["cut short"]);
    // The last picture's place is taken by the first one, with its label.
    assert_eq!(batch(&one, Order::Unshuffled, 2).labels, [2, 2, 2, 2, 0]);
}

#[test]
fn a_set_without_a_picture_that_can_be_decoded_is_refused() {
    let root = tempfile::tempdir().unwrap();
    shapes(root.path(), 1);
    let split = folder::read_folder("shapes", root.path()).unwrap().train;
    for class in ["circle", "square", "zigzag"] {
        fs::write(root.path().join("train").join(class).join("0.JPEG"), []).unwrap();
    }
    let loader = loader(&split, 2, 2, 1);
    for _ in 0..2 {
        let text = refused(loader.batch(Order::Unshuffled, 0, &mut Batch::default()));
        assert_says(&text, &["3 pictures in a row cannot be used, of 3", "0.JPEG: the file is empty"]);
    }
}

#[test]
fn a_file_that_cannot_be_read_ends_it_and_one_that_is_too_small_is_skipped() {
    let root = tempfile::tempdir().unwrap();
    shapes(root.path(), 4);
    let split = folder::read_folder("shapes", root.path()).unwrap().train;
    // The shorter sides are 20, 25, 29 and 27.
    let crop = Crop::Random { pad: 1, side: 24 };
    let transform = Transform { resize: 0, crop, flip: false };
    let options = LoaderOptions { workers: 2, prefetch: 2 };
    let new = || Loader::new(split.clone(), transform, 3, [24, 24], 4, options).unwrap();
    let cropped = new();
    assert_eq!(batch(&cropped, Order::Shuffled { seed: 1, epoch: 0 }, 0).labels.len(), 4);
    for step in 0..3 {
        batch(&cropped, Order::Unshuffled, step);
    }
    let skipped = cropped.skipped();
    assert_eq!(skipped.len(), 3, "{skipped:?}");
    for skipped in skipped {
        assert!(skipped.path.ends_with("0.JPEG"));
        assert_eq!(
            skipped.reason,
            "a picture of 33 x 20 with a border of 1 is smaller than a random crop of 24"
        );
    }
    fs::remove_file(root.path().join("train/square/2.JPEG")).unwrap();
    let missing = new();
    batch(&missing, Order::Unshuffled, 0);
    for _ in 0..2 {
        let text = refused(missing.batch(Order::Unshuffled, 1, &mut Batch::default()));
        assert_says(&text, &["square/2.JPEG", "(os error 2)"]);
    }
    assert!(missing.skipped().iter().all(|skipped| skipped.path.ends_with("0.JPEG")));
}

#[test]
fn a_bug_in_a_thread_is_an_error_and_not_an_endless_wait() {
    let bytes = vec![7; 2 * 12];
    let mut split = Split::new([3, 2, 2], bytes, vec![0, 1], 2).unwrap();
    // A split that contradicts itself, as no constructor makes it: there is no second file, and so not its name either.
    split.pictures = Pictures::Files(vec!["nowhere.png".into()].into());
    let loader = Loader::new(split, Transform::default(), 3, [2, 2], 1, LoaderOptions::default()).unwrap();
    for _ in 0..2 {
        let text = refused(loader.batch(Order::Unshuffled, 1, &mut Batch::default()));
        assert_says(&text, &["picture 1", "panicked"]);
    }
}

#[test]
fn callers_at_a_time_get_whole_batches_each() {
    let root = tempfile::tempdir().unwrap();
    shapes(root.path(), 4);
    let split = folder::read_folder("shapes", root.path()).unwrap().train;
    let (loader, order) = (loader(&split, 3, 2, 1), Order::Shuffled { seed: 5, epoch: 0 });
    let expected: Vec<_> = (0..4).map(|step| batch(&loader, order, step)).collect();
    std::thread::scope(|scope| {
        for first in 0..2 {
            let (loader, expected) = (&loader, &expected);
            scope.spawn(move || {
                for i in 0..20 {
                    let step = (first + i * 3) % 4;
                    assert!(batch(loader, order, step) == expected[step], "batch {step}");
                }
            });
        }
    });
}

#[test]
fn sets_in_memory_are_streamed_to_the_same_pixels() {
    let shape = [3, 5, 7];
    let bytes: Vec<u8> = (0..4 * 105u32).map(|i| (i * 31 % 251) as u8).collect();
    let split = Split::new(shape, bytes.clone(), vec![3, 2, 1, 0], 4).unwrap();
    let loader = Loader::new(split, Transform::default(), 3, [5, 7], 3, LoaderOptions::default()).unwrap();
    let last = batch(&loader, Order::Unshuffled, 1);
    let expected: Vec<u8> = (0..105).map(|i| bytes[3 * 105 + i % 3 * 35 + i / 3]).collect();
    assert_eq!((last.pixels, last.labels), (expected, vec![0]));
}
