//! What is refused: with exit code 2, one sentence, and every file as it was.

use std::path::Path;

use super::{CHECKPOINT, Done, Place, RECIPE, forge};

#[test]
fn recipes_with_mistakes_are_refused() {
    let place = Place::new().with_checkpoint();
    let cases: [(&str, &[&str]); 7] = [
        ("[trian]\nepochs = 2", &["bad.toml", "\"trian\"", "\"train\""]),
        ("[optimizer]\nlearning_rte = 0.1", &["\"optimizer.learning_rte\"", "\"learning_rate\""]),
        ("[data]\nbatch = 0", &["data.batch = 0", "at least 1"]),
        ("[optimizer]\nlearning_rate = -0.1", &["optimizer.learning_rate = -0.1"]),
        ("[optimizer]\nlearning_rate = nan", &["optimizer.learning_rate = NaN"]),
        ("[data]\nname = \"mnits\"", &["mnits", "did you mean mnist"]),
        ("[model]\ninit = \"hee\"", &["bad.toml", "hee"]),
    ];
    for (text, parts) in cases {
        place.write("bad.toml", format!("name = \"tiny\"\n{text}").as_bytes());
        place.refused(2, &["run", "bad.toml"], parts);
    }
    place.refused(2, &["run", "nowhere.toml"], &["nowhere.toml", "(os error 2)"]);
    place.refused(2, &["run", "runs"], &["runs"]);
}

#[test]
fn options_with_mistakes_are_refused() {
    let place = Place::new().with_checkpoint();
    place.refused(2, &["run", "tiny.toml", "--batch", "0"], &["data.batch = 0"]);
    place.refused(2, &["run", "tiny.toml", "--seed", "9223372036854775808"], &["seed = 9223372036854775808"]);
    place.refused(2, &["run", "tiny.toml", "--batch", "4001"], &["data.batch = 4001", "4000 images"]);
    place.refused(2, &["run", "tiny.toml", "--epochs", "0"], &["train.epochs = 0"]);
    place.refused(2, &["run", "tiny.toml", "--name", "../up"], &["../up"]);
    place.refused(2, &["bench", "step", "--data", "mnist-5k", "--batch", "0"], &["data.batch = 0"]);
    place.refused(2, &["bench", "step", "--repetitions", "0"], &["--repetitions 0"]);

    let info = place.run(&["info", "--json"]).succeeded().json();
    let there = info["adapters"][0]["name"].as_str().unwrap().to_string();
    for command in [&["info"][..], &["run", "tiny.toml"], &["eval", CHECKPOINT]] {
        let arguments = [command, &["--adapter", "Voodoo 2"]].concat();
        place.refused(2, &arguments, &["\"Voodoo 2\"", &there]);
    }
}

#[test]
fn a_choice_of_backends_that_leaves_no_adapter_is_named() {
    // No system has both.
    let elsewhere = if cfg!(target_os = "macos") { "dx12" } else { "metal" };
    let output = Place::new().command(&["info"]).env("WGPU_BACKEND", elsewhere).output().unwrap();
    let done = Done::of(output);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    let named = format!("WGPU_BACKEND is \"{elsewhere}\"");
    assert!(done.stderr.contains(&named) && done.stderr.contains("unset it"), "{}", done.stderr);
}

#[test]
fn damaged_data_is_refused() {
    let place = Place::new().with_checkpoint();
    place.write("full.toml", RECIPE.replace("mnist-5k", "mnist").as_bytes());
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/mnist-5k");
    let names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"];
    let good: Vec<Vec<u8>> =
        names.iter().map(|name| std::fs::read(sample.join(format!("{name}-ubyte.gz"))).unwrap()).collect();
    let restore = || {
        for (name, bytes) in names.iter().zip(&good) {
            place.write(&format!("data/mnist/{name}-ubyte.gz"), bytes);
        }
    };
    let refused = |parts: &[&str]| place.refused(2, &["run", "full.toml", "--data-dir", "data"], parts);
    let images = "data/mnist/train-images-idx3-ubyte.gz";
    let labels = "data/mnist/train-labels-idx1-ubyte.gz";

    refused(&["data", "no such data folder", "--data-dir"]);
    restore();
    refused(&["this is not MNIST's file", "SHA-256"]);
    std::fs::remove_file(place.path(labels)).unwrap();
    refused(&["train-labels-idx1-ubyte", "missing"]);
    restore();
    place.write(images, &good[0][..good[0].len() / 2]);
    refused(&[images, "truncated"]);
    let mut flipped = good[0].clone();
    let crc = flipped.len() - 8;
    flipped[crc] ^= 1;
    place.write(images, &flipped);
    refused(&[images, "gzip stream is damaged"]);
    place.write(images, &good[1]);
    refused(&[images, "holds labels", "images"]);
    restore();
    place.write(labels, &good[3]);
    refused(&[labels, "1000 labels", "4000 images"]);
    let mut outside = [&[0, 0, 8, 1, 0, 0, 0x0f, 0xa0][..], &[3; 4000]].concat();
    outside[8 + 17] = 10;
    place.write(labels, &outside);
    refused(&[labels, "the label of picture 17 is 10, outside 0..10"]);
}

#[test]
fn damaged_checkpoints_are_refused() {
    let place = Place::new().with_checkpoint();
    let good = std::fs::read(place.path(CHECKPOINT)).unwrap();
    let refused = |bytes: &[u8], parts: &[&str]| {
        place.write("bad.safetensors", bytes);
        place.refused(2, &["eval", "bad.safetensors"], parts);
        place.refused(2, &["train", "tiny.toml", "--resume", "bad.safetensors"], parts);
    };
    refused(&good[..good.len() / 2], &["bad.safetensors", "truncated"]);
    refused(&good[..5], &["bad.safetensors", "truncated"]);
    refused(&[], &["bad.safetensors", "truncated"]);
    refused(b"no checkpoint at all, but some text", &["bad.safetensors"]);
    let poisoned =
        forge(&good, "fc2.weight", |_, data| data[40..44].copy_from_slice(&f32::NAN.to_le_bytes()));
    refused(&poisoned, &["\"fc2.weight\"", "NaN", "earlier checkpoint"]);
    let other = forge(&good, "fc1.weight", |shape, data| {
        shape[0] /= 2;
        data.truncate(data.len() / 2);
    });
    refused(&other, &["of another network", "\"fc1.weight\""]);

    place.refused(2, &["eval", "nowhere.safetensors"], &["nowhere.safetensors", "(os error 2)"]);
    let resume = |options: &[&str], parts: &[&str]| {
        let arguments = [&["train", "tiny.toml", "--resume", CHECKPOINT][..], options].concat();
        place.refused(2, &arguments, parts);
    };
    resume(&["--seed", "2"], &["seed 1", "recipe says 2"]);
    resume(&["--batch", "250"], &["data.batch = 500", "250"]);
    resume(&["--simqat"], &["trained in float"]);
}
