//! `simqat inspect`, and `--set`, which it shows best: neither needs an adapter.

use super::{CHECKPOINT, Place, assert_says};

#[test]
fn inspect_shows_the_network_of_a_recipe_without_an_adapter() {
    let place = Place::new();
    let recipe = format!("{}/recipes/convbn-mnist.toml", env!("CARGO_MANIFEST_DIR"));
    let text = place.run(&["inspect", &recipe, "--adapter", "Voodoo 2"]).succeeded().stdout;
    assert_says(&text, &["ConvBnOpt<", "(bn1): BatchNorm2d", "_input_quantizer", "93088 numbers"]);
    assert_says(&text, &["Conv2dBnFoldQuant<", "freeze_bn=5000"]);
    let text = place.run(&["inspect", &recipe, "--float"]).succeeded().stdout;
    assert_says(&text, &["ConvBn<", "(bn1): BatchNorm2d", "93088 numbers"]);
    assert!(!text.contains("quantizer"), "{text}");

    let set = ["--set", "simqat.one_conv_fold=true", "--set", "simqat.layer.\"fc*\".weight_bits=4", "--json"];
    let json = place.run(&[&["inspect", &recipe][..], &set].concat()).succeeded().json();
    assert_eq!((&json["network"], &json["trainable"]), (&"ConvBnOpt".into(), &93_088.into()));
    assert!(json["parameters"].as_u64().unwrap() > 93_088 && json["findings"].as_array().unwrap().is_empty());
    let layers = json["layers"].as_array().unwrap();
    let of = |name: &str| layers.iter().find(|layer| layer["name"] == name).unwrap();
    assert_eq!((&of("conv1")["class"], &of("conv1")["fold"]), (&"Conv2dBn".into(), &"one_conv".into()));
    assert_eq!(of("conv1")["shape"], serde_json::json!([16, 28, 28]));
    let bits = |name: &str| of(name)["quantizers"]["weight_quantizer"]["bits"].as_u64();
    assert_eq!((bits("conv1"), bits("fc1"), bits("flatten")), (Some(8), Some(4), None));
}

#[test]
fn the_classes_of_a_folder_are_told_or_counted() {
    let place = Place::new();
    let recipe = format!("{}/recipes/resnet50-imagenet.toml", env!("CARGO_MANIFEST_DIR"));
    let narrow =
        ["--set", "model.name=resnet18", "--set", "model.resnet.width=4", "--set", "data.name=pictures"];
    let inspect =
        |more: &[&'static str]| [&["inspect", recipe.as_str(), "--json"][..], &narrow, more].concat();
    let classes = |arguments: &[&'static str]| {
        let json = place.run(&inspect(arguments)).succeeded().json();
        let layers = json["layers"].as_array().unwrap();
        assert_eq!(json["findings"].as_array().unwrap().len(), 0, "{json}");
        layers.last().unwrap()["shape"].clone()
    };
    place.refused(2, &inspect(&[]), &["data.name = \"pictures\"", "--classes", "--data-dir"]);
    place.refused(2, &inspect(&["--classes", "0"]), &["--classes 0"]);
    assert_eq!(classes(&["--classes", "7"]), serde_json::json!([7]));
    for class in ["cat", "dog", "owl"] {
        place.write(&format!("data/pictures/train/{class}/1.png"), b"nobody looks into it");
    }
    assert_eq!(classes(&["--data-dir", "data"]), serde_json::json!([3]));
    assert_eq!(classes(&["--data-dir", "data", "--classes", "7"]), serde_json::json!([7]));
    place.write("datasets/pictures/val/cat/1.png", b"");
    place.refused(2, &inspect(&[]), &["pictures", "no train/ in it"]);

    // The published network.
    let json = place.run(&["inspect", &recipe, "--classes", "1000", "--json"]).succeeded().json();
    assert_eq!(json["trainable"], 25_557_032);
    // A checkpoint knows for itself.
    let place = place.with_checkpoint();
    place.run(&["inspect", CHECKPOINT, "--classes", "10"]).succeeded();
    place.refused(2, &["inspect", CHECKPOINT, "--classes", "7"], &["--classes 7", "10 classes"]);
}

#[test]
fn inspect_says_how_much_memory_a_step_takes() {
    let place = Place::new();
    let memory = |more: &[&str]| {
        let json = place.run(&[&["inspect", "tiny.toml", "--json"][..], more].concat()).succeeded().json();
        let of = |key: &str| json["step_memory"][key].as_u64().unwrap();
        (of("batch"), of("bytes"), of("fixed_bytes"), of("image_bytes"))
    };
    let (batch, bytes, fixed, image) = memory(&[]);
    assert_eq!((batch, bytes), (500, fixed + 500 * image));
    // Parameters, velocities and gradients of 61 684 numbers; images of 32 x 32 and what the first layer makes of them.
    assert!(fixed > 3 * 4 * 61_684 && image > 4 * (1024 + 6 * 28 * 28), "{fixed} {image}");
    let float = memory(&["--float"]);
    assert!(float.2 < fixed, "quantizers have state: {float:?}, {fixed}");
    let sums = memory(&["--set", "train.accumulate=2"]);
    assert_eq!((sums.2 - fixed, sums.3), (4 * 61_684, image));
    let text = place.run(&["inspect", "tiny.toml"]).succeeded().stdout;
    assert_says(&text, &["a step takes", "about ", "MiB of GPU memory at batch 500 (", " for each image)"]);
}

#[test]
fn inspect_and_train_tell_of_options_without_effect() {
    let place = Place::new();
    let set = [
        "--set",
        "simqat.freeze_bn=5",
        "--set",
        "simqat.enable_fusion=false",
        "--set",
        "simqat.one_conv_fold=true",
    ];
    let json = place.run(&[&["inspect", "tiny.toml", "--json"][..], &set].concat()).succeeded().json();
    let told: Vec<&str> =
        json["findings"].as_array().unwrap().iter().map(|f| f["option"].as_str().unwrap()).collect();
    let expected = ["bn_fold = true", "enable_fusion = false", "freeze_bn = 5", "one_conv_fold = true"];
    assert_eq!(told, expected.map(|option| format!("simqat.{option}")));
    let done = place.run(&[&["train", "tiny.toml", "--simqat"][..], &set].concat()).succeeded();
    assert_says(&done.stderr, &["simqat.freeze_bn = 5 has no effect: the network has no BatchNorm2d"]);
    assert_says(&done.stderr, &["simqat.one_conv_fold = true has no effect: the network has no Conv2d"]);
    // The checkpoint knows what was set.
    let quantized = "runs/tiny/checkpoints/simqat-8.safetensors";
    let json = place.run(&["inspect", quantized, "--json"]).succeeded().json();
    assert_eq!((&json["variant"], &json["step"]), (&"simqat".into(), &8.into()));
    assert_eq!(json["findings"].as_array().unwrap().len(), 4);
    let json = place.run(&["inspect", quantized, "--float", "--json"]).succeeded().json();
    assert_eq!((&json["network"], json["findings"].as_array().unwrap().len()), (&"LeNet5".into(), 0));
    assert!(
        place.run(&["train", "tiny.toml"]).succeeded().stderr.lines().all(|line| !line.contains("no effect"))
    );
}

#[test]
fn files_that_are_no_recipe_or_checkpoint_are_refused() {
    let place = Place::new();
    place.write("garbage.toml", b"\x00\xff\x00 = ");
    place.write("garbage", b"no checkpoint at all, but some text");
    place.write("empty", b"");
    place.refused(2, &["inspect", "nowhere.toml"], &["nowhere.toml", "(os error 2)"]);
    place.refused(2, &["inspect", "nowhere"], &["nowhere", "(os error 2)"]);
    place.refused(2, &["inspect", "garbage.toml"], &["garbage.toml"]);
    place.refused(2, &["inspect", "garbage"], &["garbage", "safetensors"]);
    place.refused(2, &["inspect", "empty"], &["empty", "truncated"]);
    place.refused(2, &["inspect", "."], &["."]);
}

#[test]
fn assignments_with_mistakes_are_refused() {
    let place = Place::new().with_checkpoint();
    let cases: [(&str, &[&str]); 9] = [
        ("simqat.one_con_fold=true", &["\"simqat.one_con_fold\"", "\"one_conv_fold\""]),
        ("simqat.one_conv_fold", &["\"simqat.one_conv_fold\"", "key = value"]),
        ("=3", &["\"=3\""]),
        ("a b=3", &["\"a b=3\""]),
        ("simqat.weights.bits=9", &["simqat.weights.bits = 9", "2 to 8"]),
        ("simqat.weights.bits=few", &["simqat.weights.bits = \"few\"", "integer"]),
        ("train=3", &["train = 3", "table"]),
        ("simqat.layer.\"fcc*\".weight_bits=4", &["simqat.layer.\"fcc*\"", "matches no layer", "fc1"]),
        ("simqat.layer.fc1.weight_bit=4", &["`weight_bit`", "`weight_bits`"]),
    ];
    for (assignment, parts) in cases {
        place.refused(2, &["run", "tiny.toml", "--set", assignment], parts);
        place.refused(2, &["inspect", "tiny.toml", "--set", assignment], parts);
        place.refused(2, &["calibrate", CHECKPOINT, "--set", assignment], parts);
        place.refused(2, &["train", "tiny.toml", "--simqat", "--set", assignment], parts);
    }
    place.refused(
        2,
        &["train", "--resume", CHECKPOINT, "--set", "train.epoch=3"],
        &["\"train.epoch\"", "\"epochs\""],
    );
    place.refused(2, &["bench", "step", "--set", "modle.init=he"], &["\"modle\"", "\"model\""]);
    place.refused(2, &["bench", "step", "--recipe", "nowhere.toml"], &["nowhere.toml", "(os error 2)"]);
    let others = ["bench", "step", "--data", "mnist-5k", "--folds"];
    place.refused(2, &others, &["--folds", "BatchNorm2d", "--recipe"]);
    place.write("other.toml", b"name = \"other\"\n[data]\nname = \"fashion-mnist\"");
    let both = ["bench", "step", "--recipe", "tiny.toml,other.toml"];
    place.refused(2, &both, &["\"tiny\" takes mnist-5k", "\"other\" takes fashion-mnist", "--data"]);
}
