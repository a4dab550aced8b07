//! What a network's outputs stand for, after the folders of its data were renamed.

use super::data::strokes;
use super::{Place, assert_says};

const OPTIONS: [&str; 6] = ["--data-dir", "data", "--set", "data.name=strokes", "--set", "data.batch=8"];

fn rename(place: &Place, from: &str, to: &str) {
    for split in ["train", "val"] {
        let folder = place.path(&format!("data/strokes/{split}"));
        std::fs::rename(folder.join(from), folder.join(to)).unwrap();
    }
}

/// Trained for two epochs of 2 steps, with a checkpoint after each of them.
fn trained() -> Place {
    let place = strokes(8);
    let long = ["--set", "train.epochs=2", "--set", "checkpoint.every_steps=2"];
    place.run(&[&["train", "tiny.toml"][..], &OPTIONS, &long].concat()).succeeded();
    place
}

const FLOAT: &str = "runs/tiny/checkpoints/float-4.safetensors";

#[test]
fn renamed_classes_are_refused_by_name_wherever_a_checkpoint_meets_data() {
    let place = trained();
    // Now the first class is called so that it is the last.
    rename(&place, "level", "wide");
    let words = ["only the data has \"wide\"", "only the network knows \"level\""];
    let data = ["--data-dir", "data"];
    place.refused(2, &[&["eval", FLOAT][..], &data].concat(), &words);
    place.refused(2, &[&["calibrate", FLOAT, "--batches", "1"][..], &data].concat(), &words);
    let middle = "runs/tiny/checkpoints/float-2.safetensors";
    place.refused(2, &[&["train", "--resume", middle][..], &data].concat(), &words);
    let from = ["train", "tiny.toml", "--name", "other", "--from", FLOAT];
    place.refused(2, &[&from[..], &OPTIONS].concat(), &words);
}

#[test]
fn classes_in_another_order_are_mapped_by_their_names() {
    let place = trained();
    let data = ["--data-dir", "data", "--json"];
    let before = place.run(&[&["eval", FLOAT][..], &data].concat()).succeeded().json();
    // A file that numbers the classes the other way round, as one does that was made elsewhere.
    let bytes = std::fs::read(place.path(FLOAT)).unwrap();
    let text = r#"[\"level\",\"upright\"]"#;
    let at = bytes.windows(text.len()).position(|part| part == text.as_bytes()).unwrap();
    let mut turned = bytes.clone();
    turned[at..at + text.len()].copy_from_slice(br#"[\"upright\",\"level\"]"#);
    place.write("turned.safetensors", &turned);
    let after = place.run(&[&["eval", "turned.safetensors"][..], &data].concat()).succeeded().json();
    // Of two classes, one is right where the other is wrong.
    let [before, after] = [before, after].map(|found| found["correct"].as_u64().unwrap());
    assert_eq!(before + after, 4);
}

#[test]
fn other_test_images_of_the_same_classes_can_be_measured() {
    let place = trained();
    let own = place.run(&["eval", FLOAT, "--data-dir", "data", "--json"]).succeeded().json();
    std::fs::rename(place.path("data/strokes"), place.path("elsewhere")).unwrap();
    let other = place.run(&["eval", FLOAT, "--data", "./elsewhere", "--json"]).succeeded().json();
    assert_eq!(own["top1"], other["top1"]);
    assert_says(other["data"].as_str().unwrap(), &["elsewhere"]);
    place.refused(
        2,
        &["eval", FLOAT, "--data", "mnist-5k"],
        &["only the network knows \"level\", \"upright\""],
    );
}
