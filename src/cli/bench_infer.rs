//! `simqat bench infer`: latency and throughput of a network in float, simulated and with integers.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;
use simqat::deploy::{CpuEngine, CpuOptions, Engine, GpuEngine, Int8Model};
use simqat::gpu::{Gpu, Recording};
use simqat::nn::Network;
use simqat::tensor::Tensor;
use simqat::tensor::random::Philox;
use simqat::train::Variant;
use simqat::train::checkpoint::Checkpoint;
use simqat::{Error, Result};

use super::Global;
use super::console::Console;
use super::deployed::Trained;
use super::session::{describe, open};
use super::table::Table;

#[derive(clap::Args)]
pub struct InferArgs {
    /// A checkpoint that was trained with SimQAT, or calibrated
    checkpoint: PathBuf,
    /// Images at once; several, separated by commas
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1,64")]
    batch: Vec<usize>,
    /// Run every configuration so often at each batch
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    runs: usize,
    /// Runs before the first that counts: they compile the kernels
    #[arg(long, value_name = "N", default_value_t = 20)]
    warm_up: usize,
}

/// A configuration and its times.
struct Contestant {
    name: &'static str,
    run: Box<dyn FnMut() -> Result<()>>,
    seconds: Vec<f64>,
}

/// What is printed of one.
#[derive(Serialize)]
struct Row {
    engine: &'static str,
    batch: usize,
    median_us: f64,
    p99_us: f64,
    images_per_s: f64,
}

/// Turns in which the runs are made, so that a machine that gets busy slows all alike.
const TURNS: usize = 10;

pub fn run(args: &InferArgs, global: &Global, console: &Console) -> Result<()> {
    let zero = [("--runs", args.runs), ("--batch", args.batch.iter().copied().min().unwrap_or(0))];
    if let Some((option, _)) = zero.into_iter().find(|(_, n)| *n == 0) {
        return Err(Error::Invalid(format!("{option} 0: it must be at least 1")));
    }
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let gpu = open(global)?;
    let trained = Trained::of(&gpu, &checkpoint)?;
    let model = trained.converted(&checkpoint)?.model;
    let float = trained.recipe.blank_network(&gpu, trained.classes, Variant::Float)?;
    checkpoint.load_into(&float)?;

    let mut rows = Vec::new();
    for &batch in &args.batch {
        let mut contestants = contestants(&gpu, &float, &trained.network, &model, batch)?;
        for contestant in &mut contestants {
            (0..args.warm_up).try_for_each(|_| (contestant.run)())?;
        }
        for turn in 0..TURNS {
            let runs = args.runs * (turn + 1) / TURNS - args.runs * turn / TURNS;
            for contestant in &mut contestants {
                for _ in 0..runs {
                    let start = Instant::now();
                    (contestant.run)()?;
                    contestant.seconds.push(start.elapsed().as_secs_f64());
                }
            }
        }
        rows.extend(contestants.into_iter().map(|contestant| row(contestant, batch)));
        console.say(format!("batch {batch} done"));
    }
    let sizes = [4 * trained.network.trainable_count(), model.to_bytes()?.len()];
    let mut table = Table::default();
    table.row(["", "batch", "median us", "p99 us", "images/s"]);
    for row in &rows {
        table.row([
            row.engine.to_string(),
            row.batch.to_string(),
            format!("{:.1}", row.median_us),
            format!("{:.1}", row.p99_us),
            format!("{:.0}", row.images_per_s),
        ]);
    }
    console.result(&format!(
        "\n{}: {} runs of each, from values on the host to logits on the host, on {}\n{}\n\nweights in f32 {:.1} kB, int8 file {:.1} kB",
        trained.network.name(),
        args.runs,
        describe(&gpu.caps().adapter),
        table.numbers(),
        sizes[0] as f64 / 1e3,
        sizes[1] as f64 / 1e3,
    ))?;
    console.result_json(&json!({
        "network": model.name,
        "adapter": gpu.caps().adapter.name,
        "runs": args.runs,
        "rows": rows,
        "float_bytes": sizes[0],
        "int8_bytes": sizes[1],
    }))
}

fn contestants(
    gpu: &Gpu,
    float: &Network,
    simulated: &Network,
    model: &Int8Model,
    batch: usize,
) -> Result<Vec<Contestant>> {
    let shape = [&[batch], &float.input_shape()[..]].concat();
    let mut random = Philox::new(1, 9);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal()).collect();
    let one = CpuOptions { threads: 1, ..CpuOptions::default() };
    let mut all = vec![
        contestant("float, adapter", recorded(gpu, float, &shape, &values)?),
        contestant("simulated, adapter", recorded(gpu, simulated, &shape, &values)?),
        contestant("int8, adapter", engine(Box::new(GpuEngine::new(gpu, model)?), &values)),
        contestant("int8, CPU, one thread", engine(Box::new(CpuEngine::with_options(model, one)?), &values)),
    ];
    if CpuOptions::default().threads > 1 {
        all.push(contestant("int8, CPU, all threads", engine(Box::new(CpuEngine::new(model)?), &values)));
    }
    Ok(all)
}

fn contestant(name: &'static str, run: Box<dyn FnMut() -> Result<()>>) -> Contestant {
    Contestant { name, run, seconds: Vec::new() }
}

/// A network in f32: values in, a replay of its recorded evaluation, logits out.
fn recorded(
    gpu: &Gpu,
    network: &Network,
    shape: &[usize],
    values: &[f32],
) -> Result<Box<dyn FnMut() -> Result<()>>> {
    let input = Tensor::from_f32(gpu, shape, values)?;
    // Pipelines are made outside the recording.
    network.predict(&input)?.read_f32()?;
    let (recording, logits): (Recording, Tensor) = gpu.record(|| network.predict(&input))?;
    let values = values.to_vec();
    Ok(Box::new(move || {
        input.write_f32(&values)?;
        recording.replay()?;
        logits.read_f32().map(drop)
    }))
}

/// An integer engine: values to codes, the network, codes to logits.
fn engine(mut engine: Box<dyn Engine>, values: &[f32]) -> Box<dyn FnMut() -> Result<()>> {
    let values = values.to_vec();
    Box::new(move || engine.predict(&values).map(drop))
}

fn row(contestant: Contestant, batch: usize) -> Row {
    let Contestant { name, mut seconds, .. } = contestant;
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share).round_ties_even() as usize];
    let median = at(0.5);
    Row {
        engine: name,
        batch,
        median_us: 1e6 * median,
        p99_us: 1e6 * at(0.99),
        images_per_s: batch as f64 / median,
    }
}
