//! An integer network in a program of one's own, without a GPU: this needs the feature `deploy` alone.
//!
//! `cargo run --release --no-default-features --features deploy --example int8_cpu -- [model.int8.safetensors]`; without a
//! file, a network of three layers that is written down here tells which quarter of a picture is the brightest.

use simqat::deploy::{CpuEngine, CpuOptions, Engine, Function, Grid, Int8Model, Layer, Linear, Op, Window};

fn main() -> simqat::Result<()> {
    let model = match std::env::args().nth(1) {
        Some(path) => Int8Model::read(path)?,
        None => brightest_quarter()?,
    };
    // A lone thread answers small networks soonest; the default takes all that the machine has.
    let mut engine = CpuEngine::with_options(&model, CpuOptions { threads: 1, ..CpuOptions::default() })?;

    // A picture that is bright in its lower right, [C, H, W].
    let shape = &model.input().shape;
    let [height, width] = [shape[shape.len().saturating_sub(2)], shape[shape.len() - 1]];
    let count: usize = shape.iter().product();
    let value = |place: usize| (place / width % height + place % width) as f32 / (height + width) as f32;
    let picture: Vec<f32> = (0..count).map(value).collect();

    // Values of classes; a loop over many pictures keeps both vectors and allocates nothing: `Engine::run`.
    let codes = model.quantize(&picture);
    let mut output = Vec::new();
    engine.run(&codes, &mut output)?;
    let values = model.dequantize(&output);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    // What the converter, or whoever wrote the model, calls them.
    let names = model.metadata.get("class_names").and_then(|names| serde_json::from_str(names).ok());
    let names: Vec<String> = names.unwrap_or_default();
    println!("{} on {shape:?}:", model.name);
    for class in order.into_iter().take(5) {
        println!("class {class:3} {:9.4} {}", values[class], names.get(class).map_or("", String::as_str));
    }
    Ok(())
}

/// One channel of 8 x 8: means of quarters, less the mean of all.
fn brightest_quarter() -> simqat::Result<Int8Model> {
    let pixels = Grid { scale: 1.0 / 255.0, zero_point: -128, low: -128, high: 127 };
    let differences = Grid { scale: 1.0 / 127.0, zero_point: 0, low: -127, high: 127 };
    let layer = |name: &str, op, inputs: &[usize], shape: &[usize], grid| Layer {
        name: name.into(),
        op,
        inputs: inputs.to_vec(),
        shape: shape.to_vec(),
        grid,
        activation: Function::Identity,
    };
    let quarters = Window { kernel: [4; 2], stride: [4; 2], padding: [0; 2] };
    // 3/4 for a quarter itself and -1/4 for the others: 96 and -32 in units of 1/128.
    let weight = (0..16).map(|k| if k / 4 == k % 4 { 96 } else { -32 }).collect();
    let dense = Linear { weight, scale: vec![1.0 / 128.0; 4], bits: 8, bias: vec![0; 4] };
    let names = r#"["upper left", "upper right", "lower left", "lower right"]"#;
    let model = Int8Model {
        name: "brightest_quarter".into(),
        layers: vec![
            layer("picture", Op::Input, &[], &[1, 8, 8], pixels),
            layer("quarters", Op::AvgPool2d(quarters), &[0], &[1, 2, 2], pixels),
            layer("flatten", Op::Flatten, &[1], &[4], pixels),
            layer("differences", Op::Dense(dense), &[2], &[4], differences),
        ],
        output: 3,
        metadata: [("class_names".into(), names.into())].into(),
    };
    model.check()?;
    Ok(model)
}
