//! `simqat bench`

use serde_json::Value;

use super::{Place, assert_says};

#[test]
fn bench_step_times_every_configuration() {
    let place = Place::new();
    let done = place
        .run(&[
            "bench",
            "step",
            "--data",
            "mnist-5k",
            "--batch",
            "16,32",
            "--repetitions",
            "2",
            "--steps",
            "2",
            "--warm-up",
            "1",
            "--profile",
            "--json",
        ])
        .succeeded();
    let rows = done.json()["rows"].as_array().unwrap().clone();
    let mut seen: Vec<String> = rows
        .iter()
        .map(|row| {
            assert_eq!((&row["model"], &row["size"]), (&"lenet5".into(), &32.into()));
            let ms = |key: &str| row[key].as_f64().unwrap();
            assert!(0.0 < ms("ms_min") && ms("ms_min") <= ms("ms_median") && ms("ms_median") <= ms("ms_max"));
            // A step has so many images, and the median is of its time; the two printed numbers are rounded.
            let images = ms("images_per_s") * ms("ms_median") / 1e3;
            assert!((images - row["batch"].as_f64().unwrap()).abs() < 1e-6, "{row}");
            format!("{} {} {}", row["batch"], row["quant"], row["mode"])
        })
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 8, "{seen:?}");
    assert_says(&done.stderr, &["warm-up that are not counted", "images/s", "conv/", "us/step"]);
}

#[test]
fn bench_step_times_recipes_and_every_form_of_the_fold() {
    let place = Place::new();
    let recipe = |name: &str| format!("{}/recipes/{name}-mnist.toml", env!("CARGO_MANIFEST_DIR"));
    let recipes = [recipe("convbn"), recipe("lenet5")].join(",");
    let numbers = ["--batch", "8", "--repetitions", "2", "--steps", "1", "--warm-up", "1"];
    let arguments =
        ["bench", "step", "--recipe", &recipes, "--folds", "--set", "data.name=mnist-5k", "--json"];
    let done = place.run(&[&arguments[..], &numbers].concat()).succeeded();
    let rows = done.json()["rows"].as_array().unwrap().clone();
    let field = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_string();
    let of = |row: &Value| ["model", "quant", "fold", "mode"].map(|key| field(row, key)).join(" ");
    let seen: Vec<String> = rows.iter().map(of).filter(|row| row.ends_with("graph")).collect();
    let expected = [
        "convbn float - graph",
        "convbn simqat two_conv graph",
        "convbn simqat one_conv graph",
        "convbn simqat none graph",
        "lenet5 float - graph",
        "lenet5 simqat - graph",
    ];
    assert_eq!(seen, expected);
    assert_eq!(rows.len(), 12);
    for row in &rows {
        let ratio = row["ratio"].as_f64();
        assert_eq!(ratio.is_some_and(|r| r > 0.0), row["quant"] == "simqat", "{row}");
    }
    assert_says(&done.stderr, &["convbn-mnist", "SimQAT, fold one_conv", "/ float"]);
}

/// The kernels of a step are those of one batch, although the recipe's steps take three.
#[test]
fn a_timed_step_is_one_batch() {
    let place = Place::new();
    let of = |accumulate: &str| {
        let arguments = ["bench", "step", "--data", "mnist-5k", "--batch", "16", "--repetitions", "1"];
        let more = ["--steps", "1", "--warm-up", "1", "--profile", "--set", accumulate];
        let said = place.run(&[&arguments[..], &more].concat()).succeeded();
        let both = said.stderr + &said.stdout;
        // Columns: time, share, calls for each step, kernel with its constants.
        let calls = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let kernel = words.iter().position(|word| word.starts_with("conv/"))?;
            Some((words[kernel..].join(" "), words[kernel - 1].to_string()))
        };
        let mut calls: Vec<(String, String)> = both.lines().filter_map(calls).collect();
        calls.sort();
        calls
    };
    let one = of("train.accumulate=1");
    assert!(!one.is_empty());
    assert_eq!(of("train.accumulate=3"), one);
}
