//! `simqat check`

use serde_json::{Map, Value, json};
use simqat::check::{self, CheckOptions, Depth, Outcome, Report, Verdict};
use simqat::gpu::{AdapterSummary, GpuOptions, adapters};
use simqat::shader_test::Deviation;
use simqat::{Error, Result};

use super::Global;
use super::console::Console;
use super::session::describe;
use super::table::Table;

#[derive(clap::Args)]
pub struct Args {
    /// Try everything, also what only finds faults of this library; takes minutes
    #[arg(long)]
    thorough: bool,
    /// Only families whose names contain NAME, such as "convolution" or "training"
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    family: String,
    /// Seed of the random shapes and values
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// `--adapter all`.
const ALL: &str = "all";

pub fn run(args: &Args, global: &Global, console: &Console) -> Result<()> {
    let wanted: Vec<Option<String>> = match &global.adapter {
        Some(name) if name.eq_ignore_ascii_case(ALL) => {
            let found = pollster::block_on(adapters());
            let twins =
                |i: usize| found[..i].iter().filter(|a| a.full_name() == found[i].full_name()).count();
            let numbered = |i: usize| format!("{}#{}", found[i].full_name(), twins(i) + 1);
            let names: Vec<_> = (0..found.len()).map(|i| Some(numbered(i))).collect();
            if names.is_empty() { vec![None] } else { names }
        }
        named => vec![named.clone()],
    };
    let several = wanted.len() > 1;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for adapter in wanted {
        let what = adapter.clone().unwrap_or_else(|| "the adapter".into());
        match one(args, adapter, console) {
            Ok(report) => {
                if !report.passed() {
                    failed.push(what);
                }
                console.result(&text(&report))?;
                rows.push(object(&report));
            }
            // The others are tried all the same.
            Err(error) if several && !matches!(error, Error::Invalid(_)) => {
                console.insist(format!("{what}: {error}"));
                rows.push(json!({"adapter": {"name": what}, "passed": false, "error": error.to_string()}));
                failed.push(what);
            }
            Err(error) => return Err(error),
        }
    }
    console.result_json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "passed": failed.is_empty(),
        "adapters": rows,
    }))?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::Mismatch(format!(
        "{} did not pass; please report it with the output of `simqat check --json`",
        failed.join(", ")
    )))
}

fn one(args: &Args, adapter: Option<String>, console: &Console) -> Result<Report> {
    let options = CheckOptions {
        gpu: GpuOptions { adapter, ..GpuOptions::default() },
        depth: if args.thorough { Depth::Thorough } else { Depth::Quick },
        family: args.family.clone(),
        seed: args.seed,
    };
    let mut told = false;
    check::run(&options, |caps, outcome, left| {
        if !std::mem::replace(&mut told, true) {
            console.say(format!("checking {}", describe(&caps.adapter)));
        }
        let Outcome { case, kernels, verdict, time, .. } = outcome;
        let line = |what: &str| {
            format!("{what} {case} ({kernels} kernels, {:.1} s, {left} to go)", time.as_secs_f64())
        };
        match verdict {
            Verdict::Passed => console.say(line("ok    ")),
            Verdict::Failed(why) => console.insist(format!("{}\n       {why}", line("FAILED"))),
            Verdict::NotRun(why) => console.insist(format!("{}\n       {why}", line("not run"))),
        }
    })
}

fn text(report: &Report) -> String {
    let mut table = Table::default();
    table.row(["family", "runs", "failed", "worst error", "bound", "seconds"]);
    let rows = report.by_family();
    for row in &rows {
        let failed = match row.not_run {
            0 => row.failed.to_string(),
            n => format!("{} and {n} not run", row.failed),
        };
        let [error, bound] = numbers(&row.worst);
        table.row([
            row.family,
            &row.runs.to_string(),
            &failed,
            &error,
            &bound,
            &format!("{:.1}", row.time.as_secs_f64()),
        ]);
    }
    let caps = &report.caps;
    let start = report.start.map_or(String::new(), |[first, second]| {
        let [first, second] = [first, second].map(|time| time.as_secs_f64());
        format!("start: {first:.1} s until LeNet5's first quantized step was done, with compiling; the next took {second:.3} s\n")
    });
    let kernels = if caps.prefers_broadcast() { "broadcast (and tiled, which GPUs get)" } else { "tiled" };
    format!(
        "{}\n\n{}\ndriver: {}\nkernels: {kernels}; {} compiled\n{start}{} in {:.1} s",
        table.numbers(),
        describe(&caps.adapter),
        caps.adapter.driver,
        report.variants.len(),
        conclusion(report),
        report.time.as_secs_f64(),
    )
}

fn conclusion(report: &Report) -> String {
    let all = report.outcomes.len();
    match report.outcomes.iter().filter(|o| !matches!(o.verdict, Verdict::Passed)).count() {
        0 => format!("all {all} checks passed"),
        wrong => format!("{wrong} of {all} checks did NOT pass"),
    }
}

/// Error and bound as people read them; whole numbers and bits have neither.
fn numbers(worst: &Deviation) -> [String; 2] {
    if worst.bound == 0.0 {
        ["exact".into(), "0".into()]
    } else {
        [worst.error, worst.bound].map(|v| format!("{v:.1e}"))
    }
}

fn object(report: &Report) -> Value {
    let caps = &report.caps;
    let AdapterSummary { name, backend, kind, driver, is_software } = &caps.adapter;
    let families: Vec<Value> = report
        .by_family()
        .iter()
        .map(|row| {
            json!({
                "family": row.family, "runs": row.runs, "failed": row.failed, "not_run": row.not_run,
                "worst_error": row.worst.error, "bound": row.worst.bound, "seconds": row.time.as_secs_f64(),
            })
        })
        .collect();
    let cases: Vec<Value> = report
        .outcomes
        .iter()
        .map(|outcome| {
            let (state, message) = match &outcome.verdict {
                Verdict::Passed => ("passed", None),
                Verdict::Failed(why) => ("failed", Some(why)),
                Verdict::NotRun(why) => ("not run", Some(why)),
            };
            let Outcome { case, kernels, worst, time, .. } = outcome;
            json!({
                "family": case.family, "case": case.name, "kernels": kernels, "state": state, "message": message,
                "worst_error": worst.error, "bound": worst.bound, "seconds": time.as_secs_f64(),
            })
        })
        .collect();
    json!({
        "adapter": {"name": name, "backend": backend, "kind": kind, "driver": driver, "software": is_software},
        "features": report.features,
        "limits": report.limits.iter().map(|&(name, value)| (name.to_string(), json!(value))).collect::<Map<_, _>>(),
        "subgroup_size": caps.subgroup_size,
        "f16": caps.f16,
        "timestamps": caps.timestamps,
        "kernels": if caps.prefers_broadcast() { "broadcast" } else { "tiled" },
        "variants": report.variants,
        "seed": report.seed,
        "first_step_seconds": report.start.map(|[first, _]| first.as_secs_f64()),
        "second_step_seconds": report.start.map(|[_, second]| second.as_secs_f64()),
        "seconds": report.time.as_secs_f64(),
        "passed": report.passed(),
        "families": families,
        "cases": cases,
    })
}
