//! `simqat convert`

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;
use simqat::Result;
use simqat::deploy::onnx::{OnnxOptions, WeightType, write_int8};
use simqat::deploy::{Int8Model, Op};
use simqat::train::checkpoint::Checkpoint;

use super::Global;
use super::checkpoints::history;
use super::console::Console;
use super::deployed::Trained;
use super::outputs;
use super::progress::title;
use super::session::open;
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint that was trained with SimQAT, or calibrated
    checkpoint: PathBuf,
    /// Write the model to FILE [default: beside the checkpoint, ending in .int8.safetensors]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write it to FILE too for ONNX Runtime, as QuantizeLinear / DequantizeLinear pairs
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// How weights are written there
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = OnnxWeights::Uint8, requires = "onnx")]
    onnx_weights: OnnxWeights,
}

/// `--onnx-weights`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnnxWeights {
    /// With the zero point 128: exact in ONNX Runtime on every processor
    Uint8,
    /// With the zero point 0, as some other runtimes ask; in ONNX Runtime exact where the processor has VNNI
    Int8,
}

impl From<OnnxWeights> for WeightType {
    fn from(weights: OnnxWeights) -> Self {
        match weights {
            OnnxWeights::Uint8 => WeightType::Uint8,
            OnnxWeights::Int8 => WeightType::Int8,
        }
    }
}

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    let out = args.out.clone().unwrap_or_else(|| args.checkpoint.with_extension("int8.safetensors"));
    outputs::check(&args.checkpoint, &[("--out", Some(&out)), ("--onnx", args.onnx.as_ref())])?;
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let trained = Trained::of(&open(global)?, &checkpoint)?;
    let conversion = trained.converted(&checkpoint)?;
    let model = &conversion.model;
    model.write(&out)?;
    if let Some(path) = &args.onnx {
        write_int8(model, &OnnxOptions { weights: args.onnx_weights.into() }, path)?;
    }
    for note in &conversion.notes {
        console.warn(note);
    }

    let float: usize = 4 * trained.network.trainable_count();
    let size = size_of(&out)?;
    let mut table = Table::default();
    table.row(["network", &format!("{}, {} int8 layers", model.name, model.layers.len())]);
    table.row(["trained", &format!("{}, {}", title(trained.variant), history(&checkpoint))]);
    table.row(["weights", &format!("{} numbers, {}", weights(model), bits(model))]);
    table.row(["in f32", &format!("{:.1} kB", float as f64 / 1e3)]);
    table.row(["int8 file", &format!("{:.1} kB", size as f64 / 1e3)]);
    table.row(["model", &out.display().to_string()]);
    if let Some(path) = &args.onnx {
        table.row(["ONNX", &format!("{}, {:.1} kB", path.display(), size_of(path)? as f64 / 1e3)]);
    }
    console.result(&table.text())?;
    console.result_json(&json!({
        "network": model.name,
        "layers": model.layers.len(),
        "float_bytes": float,
        "bytes": size,
        "notes": conversion.notes,
        "model": out,
        "onnx": args.onnx,
    }))
}

fn size_of(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(simqat::Error::io(path))?.len())
}

fn weights(model: &Int8Model) -> usize {
    model.layers.iter().filter_map(|layer| Some(layer.op.linear()?.weight.len())).sum()
}

/// How many bits weights have, in words.
fn bits(model: &Int8Model) -> String {
    let mut bits: Vec<u32> = model.layers.iter().filter_map(|layer| Some(layer.op.linear()?.bits)).collect();
    bits.sort_unstable();
    bits.dedup();
    let listed: Vec<String> = bits.iter().map(ToString::to_string).collect();
    format!("{} bits", listed.join(" and "))
}

/// The word for an operation in tables.
pub fn operation(op: &Op) -> String {
    match op {
        Op::Input => "Input".into(),
        Op::Conv2d(conv) => {
            let [height, width] = conv.kernel;
            format!("Conv2d {height}x{width}")
        }
        Op::Dense(_) => "Dense".into(),
        Op::MaxPool2d(window) => format!("MaxPool2d {}x{}", window.kernel[0], window.kernel[1]),
        Op::AvgPool2d(window) => format!("AvgPool2d {}x{}", window.kernel[0], window.kernel[1]),
        Op::Flatten => "Flatten".into(),
        Op::Add => "Add".into(),
        Op::Table(table) => format!("{:?}", table.function),
    }
}
