//! Data from outside: folders of pictures in trainings, what is listed, and how fast the loader is.

use image::{GrayImage, ImageFormat, Luma};

use super::{Place, assert_says};

/// A folder of pictures as data/strokes: upright and level strokes, `each` of both for training, and two for testing.
pub fn strokes(each: u32) -> Place {
    let place = Place::new();
    for (split, each) in [("train", each), ("val", 2)] {
        for (class, name) in ["level", "upright"].iter().enumerate() {
            for i in 0..each {
                let image = GrayImage::from_fn(40 + i, 36, |x, y| {
                    let at = if class == 0 { y } else { x };
                    Luma([if at.abs_diff(14 + i % 9) < 3 { 255 } else { 10 }])
                });
                let mut bytes = std::io::Cursor::new(Vec::new());
                let (ending, format) =
                    if i % 2 == 0 { ("jpg", ImageFormat::Jpeg) } else { ("png", ImageFormat::Png) };
                image.write_to(&mut bytes, format).unwrap();
                place.write(&format!("data/strokes/{split}/{name}/{i:02}.{ending}"), &bytes.into_inner());
            }
        }
    }
    place
}

const TRAIN: [&str; 12] = [
    "train",
    "tiny.toml",
    "--data-dir",
    "data",
    "--set",
    "data.name=strokes",
    "--set",
    "data.batch=8",
    "--set",
    "data.augment.random_resized_crop=true",
    "--set",
    "train.epochs=2",
];

#[test]
fn a_folder_of_pictures_is_trained_on_and_what_is_damaged_is_listed() {
    let place = strokes(12);
    place.write("data/strokes/train/level/03.png", b"");
    place.write("data/strokes/val/upright/00.jpg", b"not a picture");
    let done = place.run(&[&TRAIN[..], &["--json"]].concat()).succeeded();
    assert_says(
        &done.stderr,
        &["strokes: 24 training and 4 test images of 2 classes", "2 pictures could not be decoded"],
    );
    assert!(done.json()["float"]["top1"].as_f64().unwrap() > 0.0);
    let listed = std::fs::read_to_string(place.path("runs/tiny/skipped.txt")).unwrap();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert_says(lines[0], &["level/03.png: the file is empty"]);
    assert_says(lines[1], &["upright/00.jpg: starts with 0x6e6f7420"]);
}

#[test]
fn threads_change_no_bit_of_a_training() {
    let place = strokes(10);
    let mut checkpoints = Vec::new();
    for workers in ["data.workers=1", "data.workers=3"] {
        place.run(&[&TRAIN[..], &["--set", workers, "--set", "data.augment.flip=true"]].concat()).succeeded();
        let bytes = std::fs::read(place.path("runs/tiny/checkpoints/float-4.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut values: Vec<(String, Vec<u8>)> =
            tensors.tensors().into_iter().map(|(name, tensor)| (name, tensor.data().to_vec())).collect();
        values.sort();
        checkpoints.push(values);
    }
    assert!(checkpoints[0] == checkpoints[1]);
}

#[test]
fn folders_that_are_no_data_set_are_refused() {
    let place = strokes(4);
    place.refused(
        2,
        &["train", "tiny.toml", "--data-dir", "data", "--set", "data.name=strikes"],
        &["\"strikes\"", "data/strikes"],
    );
    std::fs::remove_dir_all(place.path("data/strokes/train/level")).unwrap();
    place.refused(2, &TRAIN, &["\"upright\" is the only class"]);
    std::fs::create_dir(place.path("data/strokes/train/level")).unwrap();
    place.refused(2, &TRAIN, &["data/strokes/train/level: there is no picture in it"]);
}

#[test]
fn sets_are_listed_with_their_places() {
    let place = Place::new();
    let done = place.run(&["data", "list"]).succeeded();
    assert_says(&done.stdout, &["mnist-5k", "cifar10", "10 classes", "`simqat data fetch cifar10`"]);
    let done = place.run(&["data", "list", "--json"]).succeeded();
    let sets = done.json()["sets"].as_array().unwrap().clone();
    assert!(sets.iter().any(|set| set["name"] == "cifar10" && set["classes"][0] == "airplane"));
    assert!(sets.iter().any(|set| set["name"] == "mnist-5k" && set["folder"].is_string()));
}

#[test]
fn the_loader_is_timed() {
    let place = strokes(6);
    let bench =
        ["bench", "loader", "--data", "strokes", "--data-dir", "data", "--batch", "4", "--size", "16"];
    let done = place.run(&[&bench[..], &["--epochs", "2", "--workers", "2", "--json"]].concat()).succeeded();
    let told = done.json();
    assert_eq!((&told["images"], &told["skipped"]), (&12.into(), &0.into()));
    let rate = |key: &str| told[key].as_f64().unwrap();
    assert!(0.0 < rate("min") && rate("min") <= rate("images_per_s") && rate("images_per_s") <= rate("max"));
    place.refused(2, &[&bench[..], &["--epochs", "0"]].concat(), &["--epochs 0"]);
}
