//! Names that are not plain, and files that other programs have open.

use super::data::strokes;
use super::{CHECKPOINT, Place, RECIPE, assert_says, tensors};

#[test]
fn names_may_have_spaces_and_letters_outside_ascii() {
    let place = strokes(12);
    // The accent behind the e is a letter of its own.
    let odd = |name: &str| format!("Übung 1 für O'Neil – e\u{301}/{name}");
    let (recipe, data, runs) = (odd("ein Rezept ä.toml"), odd("Daten ö"), odd("Läufe ü"));
    let text = format!("{RECIPE}\n[train]\nepochs = 4\n[checkpoint]\nevery_steps = 6")
        .replace("\"mnist-5k\"", "\"Striche é\"")
        .replace("batch = 500", "batch = 8");
    place.write(&recipe, text.as_bytes());
    std::fs::rename(place.path("data"), place.path(&data)).unwrap();
    std::fs::rename(place.path(&format!("{data}/strokes")), place.path(&format!("{data}/Striche é")))
        .unwrap();
    for split in ["train", "val"] {
        let class = |name: &str| place.path(&format!("{data}/Striche é/{split}/{name}"));
        std::fs::rename(class("upright"), class("aufrecht ß")).unwrap();
    }
    let places = ["--data-dir", &data, "--runs", &runs];
    place.run(&[&["run", &recipe][..], &places].concat()).succeeded();

    let file = |name: &str| format!("{runs}/tiny/checkpoints/{name}.safetensors");
    let end = tensors(&place.path(&file("simqat-12")));
    let resume = ["train", &recipe, "--resume", &file("simqat-6")];
    place.run(&[&resume[..], &places].concat()).succeeded();
    assert!(tensors(&place.path(&file("simqat-12"))) == end, "the bits differ");

    let (model, picture) = (odd("Modell ł.safetensors"), format!("{data}/Striche é/val/aufrecht ß/00.jpg"));
    place.run(&["convert", &file("simqat-12"), "--out", &model]).succeeded();
    assert_says(&place.run(&["infer", &model, &picture, "--top", "2"]).succeeded().stdout, &["aufrecht ß"]);
    place.refused(2, &["eval", &odd("nirgends ł.safetensors")], &["nirgends ł.safetensors", "(os error 2)"]);
}

#[test]
fn what_is_written_over_is_whole() {
    let place = Place::new().with_checkpoint();
    let first = tensors(&place.path(CHECKPOINT));
    // A reader holds the file open while the same training writes it again.
    let reader = std::fs::File::open(place.path(CHECKPOINT)).unwrap();
    let done = place.run(&["train", "tiny.toml", "--seed", "2"]);
    drop(reader);
    let [old, new] = ["", ".new"].map(|end| place.path(&format!("{CHECKPOINT}{end}")));
    if cfg!(not(windows)) || done.code == Some(0) {
        done.succeeded();
        assert!(tensors(&old) != first && !new.exists(), "another seed gives other values");
    } else {
        // Windows refuses before version 10, and wine does.
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        assert_says(&done.stderr, &["another program has it open"]);
        assert!(tensors(&old) == first && tensors(&new) != first, "nothing is lost");
    }
}

#[cfg(windows)]
#[test]
fn a_checkpoint_that_is_held_is_told_and_nothing_is_lost() {
    use std::os::windows::fs::OpenOptionsExt;

    const SHARE_READ: u32 = 1;
    let place = Place::new().with_checkpoint();
    let first = tensors(&place.path(CHECKPOINT));
    let held =
        std::fs::OpenOptions::new().read(true).share_mode(SHARE_READ).open(place.path(CHECKPOINT)).unwrap();
    let train = ["train", "tiny.toml", "--seed", "2"];
    let done = place.run(&train);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    let error = done.stderr.lines().last().unwrap();
    assert_says(error, &["float-8.safetensors: ", "another program has it open", "float-8.safetensors.new"]);
    assert!(tensors(&place.path(CHECKPOINT)) == first, "the old checkpoint is whole");
    let kept = tensors(&place.path(&format!("{CHECKPOINT}.new")));
    drop(held);
    place.run(&train).succeeded();
    assert!(tensors(&place.path(CHECKPOINT)) == kept, "what was kept is what was to be written");
    // The kept one is a checkpoint like any other.
    place.run(&["eval", &format!("{CHECKPOINT}.new")]).succeeded();
}
