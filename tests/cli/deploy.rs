//! From a quantized checkpoint to integers: `convert`, `parity`, `infer`, and what `eval` and `inspect` say of the model.

use std::path::Path;

use super::{CHECKPOINT, Place, assert_says};

const CALIBRATED: &str = "runs/tiny/checkpoints/float-8-calibrated.safetensors";
const MODEL: &str = "model.int8.safetensors";

fn with_model() -> Place {
    let place = Place::new().with_checkpoint();
    place.run(&["calibrate", CHECKPOINT, "--batches", "2"]).succeeded();
    place.run(&["convert", CALIBRATED, "--out", MODEL]).succeeded();
    place
}

/// A grey picture of 28 x 28 with a bright bar at a column: as much of a one as eight steps have taught.
fn picture(path: &Path, width: u32, height: u32) {
    let bar = |x: u32, y: u32| x.abs_diff(width / 2) < 2 && y > 3 && y + 4 < height;
    let image =
        image::GrayImage::from_fn(width, height, |x, y| image::Luma([if bar(x, y) { 255 } else { 0 }]));
    image.save(path).unwrap();
}

#[test]
fn a_calibrated_checkpoint_becomes_a_model_of_integers() {
    let place = with_model();
    let json = place.run(&["convert", CALIBRATED, "--json"]).succeeded().json();
    assert_eq!(json["float_bytes"], 4 * 61684);
    assert!(json["bytes"].as_u64().unwrap() < 70_000, "{json}");
    assert_eq!(json["notes"].as_array().unwrap().len(), 0);
    // Beside the checkpoint, and the same bytes.
    let beside = place.path("runs/tiny/checkpoints/float-8-calibrated.int8.safetensors");
    assert!(std::fs::read(beside).unwrap() == std::fs::read(place.path(MODEL)).unwrap());

    // For ONNX Runtime, the integers and the float network; what is in them, tests/deploy/onnx.rs looks at.
    place
        .run(&["convert", CALIBRATED, "--out", MODEL, "--onnx", "int8.onnx", "--onnx-weights", "int8"])
        .succeeded();
    let exported = place.run(&["export", CALIBRATED, "--onnx", "float.onnx"]).succeeded().stdout;
    assert_says(&exported, &["LeNet5", "float.onnx"]);
    let size = |file: &str| std::fs::metadata(place.path(file)).unwrap().len();
    assert!(size("int8.onnx") < 80_000 && size("float.onnx") > 4 * 61684);
    for (usage, missing) in [
        (&["convert", CALIBRATED, "--onnx-weights", "int8"][..], "--onnx <FILE>"),
        (&["export", CALIBRATED], "--out <FILE>"),
    ] {
        let done = place.run(usage);
        assert_eq!(done.code, Some(2));
        assert_says(&done.stderr, &[missing]);
    }

    let simulated = place.run(&["eval", CALIBRATED, "--json"]).succeeded().json();
    let [cpu, gpu] = ["cpu", "gpu"].map(|device| {
        let done = place.run(&["eval", MODEL, "--device", device, "--json"]).succeeded().json();
        assert_eq!((&done["variant"], &done["engine"]), (&"int8".into(), &device.into()));
        done
    });
    for key in ["correct", "loss", "top5"] {
        assert_eq!(cpu[key], gpu[key], "{key}");
    }
    let correct = |json: &serde_json::Value| json["correct"].as_i64().unwrap();
    // Of 1000 images; biases in whole units may move a few that stand on the edge.
    assert!((correct(&cpu) - correct(&simulated)).abs() <= 5, "{cpu} {simulated}");
    assert_says(&place.run(&["eval", MODEL]).succeeded().stdout, &["int8 on the CPU", "test accuracy"]);

    let shown = place.run(&["inspect", MODEL]).succeeded().stdout;
    assert_says(&shown, &["conv1", "Conv2d 5x5 + Relu", "[6, 28, 28]", "150 of 8 bits", "fc3", "zero point"]);
    let json = place.run(&["inspect", MODEL, "--json"]).succeeded().json();
    assert_eq!(json["layers"][1]["weights"]["scales"].as_array().unwrap().len(), 6);
}

#[test]
fn a_run_leaves_no_model_but_its_own() {
    let place = Place::new();
    let model = place.path("runs/tiny/model.int8.safetensors");
    let run = ["run", "tiny.toml", "--simqat-only", "--json"];
    let json = place.run(&run).succeeded().json();
    assert_eq!(json["int8"]["bytes"], std::fs::metadata(&model).unwrap().len());
    // What has no integer form is said, and the model of the run before does not stay as if it were this one's.
    let done = place.run(&[&run[..], &["--set", "simqat.weights.symmetric=false"]].concat()).succeeded();
    assert_says(
        &done.stderr,
        &["warning: no int8 model was made", "\"conv1\"", "simqat.weights.symmetric = true"],
    );
    assert!(!model.exists() && done.json().get("int8").is_none(), "{}", done.stdout);
}

#[test]
fn parity_counts_every_code() {
    let place = with_model();
    let told = place.run(&["parity", CALIBRATED, "--images", "3", "--engines", "gpu,cpu"]).succeeded().stdout;
    assert_says(&told, &["conv1", "cpu beside gpu", "the same", "codes in all layers", "0 of 3 differ"]);
    let arguments = ["parity", CALIBRATED, "--images", "120", "--save", "inputs.safetensors", "--json"];
    let json = place.run(&arguments).succeeded().json();
    assert_eq!(json["images"], 120);
    let layers = json["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 9);
    assert_eq!(layers[1]["codes"], 120 * 6 * 28 * 28);
    assert!(layers.iter().all(|layer| layer["max_diff"].as_u64().unwrap() <= 1), "{json}");
    assert_eq!(json["engines"][0]["differ"], 0);
    assert!(json["predictions_differ"].as_u64().unwrap() <= 1, "{json}");
    let saved = super::tensors(&place.path("inputs.safetensors"));
    assert_eq!(saved["images"].len(), 120 * 32 * 32 * 4);
    assert_eq!(saved["int8"].len(), 120 * 4);
}

#[test]
fn pictures_get_a_class_and_a_confidence() {
    let place = with_model();
    picture(&place.path("one.png"), 28, 28);
    picture(&place.path("large.png"), 61, 70);
    let answer = |model: &str, options: &[&str]| {
        let arguments = [&["infer", model, "one.png", "large.png", "--json"][..], options].concat();
        place.run(&arguments).succeeded().json()
    };
    let cpu = answer(MODEL, &["--top", "3"]);
    assert_eq!(cpu["images"], answer(MODEL, &["--device", "gpu", "--top", "3"])["images"]);
    let classes = cpu["images"][0]["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 3);
    let confidence = |k: usize| classes[k]["confidence"].as_f64().unwrap();
    assert!(confidence(0) >= confidence(1) && confidence(0) <= 1.0, "{cpu}");
    // The simulated network sees the same picture.
    let simulated = answer(CALIBRATED, &[]);
    let beside = simulated["images"][0]["classes"][0]["confidence"].as_f64().unwrap();
    assert!((beside - confidence(0)).abs() < 0.05, "{simulated} {cpu}");
    assert_says(&place.run(&["infer", MODEL, "one.png"]).succeeded().stdout, &["one.png", "%"]);
}

#[test]
fn models_and_pictures_that_cannot_be_used_are_refused() {
    let place = with_model();
    let bytes = std::fs::read(place.path(MODEL)).unwrap();
    place.write("short.safetensors", &bytes[..bytes.len() - 100]);
    let mut flipped = bytes.clone();
    flipped[bytes.len() - 50] ^= 4;
    place.write("flipped.safetensors", &flipped);
    let mut newer = bytes.clone();
    let version = bytes.windows(13).position(|w| w == b"simqat-int8-1").unwrap();
    newer[version + 12] = b'7';
    place.write("newer.safetensors", &newer);
    place.write("empty.png", b"");
    place.write("text.png", b"no picture");
    picture(&place.path("one.png"), 28, 28);

    for command in [&["eval"][..], &["inspect"]] {
        let refused = |file: &str, parts: &[&str]| place.refused(2, &[command, &[file]].concat(), parts);
        refused("short.safetensors", &["short.safetensors", "truncated"]);
        refused("flipped.safetensors", &["flipped.safetensors", "checksum"]);
        refused("newer.safetensors", &["newer.safetensors", "simqat-int8-7", "newer simqat"]);
    }
    place.refused(2, &["infer", MODEL, "empty.png"], &["empty.png", "empty"]);
    place.refused(2, &["infer", MODEL, "text.png"], &["text.png", "neither JPEG nor PNG"]);
    place.refused(2, &["infer", MODEL, "nowhere.png"], &["nowhere.png"]);
    place.refused(2, &["infer", CALIBRATED, "one.png", "--device", "cpu"], &["checkpoint", "simqat convert"]);
    place.refused(2, &["infer", MODEL, "one.png", "--top", "0"], &["--top 0"]);
    place.refused(2, &["eval", CALIBRATED, "--device", "cpu"], &["--device cpu", "int8 models"]);
    place.refused(2, &["convert", CHECKPOINT, "--out", "no"], &[CHECKPOINT, "simqat calibrate"]);
    for command in ["convert", "parity", "calibrate"] {
        place.refused(2, &[command, MODEL], &[MODEL, "int8 model", "the checkpoint"]);
    }
    place.refused(2, &["bench", "infer", MODEL], &[MODEL, "int8 model", "the checkpoint"]);
    for command in [&["eval"][..], &["inspect"], &["convert"], &["bench", "infer"]] {
        place.refused(2, &[command, &["one.png"]].concat(), &["one.png", "no safetensors file"]);
    }
    // What is read is never written over.
    let (out, onnx) = (["--out", CALIBRATED], ["--onnx", CALIBRATED]);
    for (command, output) in [("convert", out), ("convert", onnx), ("export", out), ("export", onnx)] {
        place.refused(
            2,
            &[command, CALIBRATED, output[0], output[1]],
            &[CALIBRATED, "file to read", output[0]],
        );
    }
    place.refused(2, &["parity", CALIBRATED, "--save", CALIBRATED], &["file to read", "--save"]);
    place.refused(2, &["convert", CALIBRATED, "--out", "a", "--onnx", "a"], &["--out and --onnx"]);
    place.refused(2, &["parity", CALIBRATED, "--images", "0"], &["--images 0"]);
    place.refused(
        2,
        &["convert", CALIBRATED, "--out", "no/such/folder"],
        &["no/such/folder", "there is no folder \"no/such\""],
    );
    place
        .run(&[
            "calibrate",
            CHECKPOINT,
            "--batches",
            "1",
            "--set",
            "simqat.layer.fc2.skip=true",
            "--out",
            "skipped",
        ])
        .succeeded();
    place.refused(2, &["convert", "skipped"], &["skipped", "\"fc2\"", "skip"]);
}
