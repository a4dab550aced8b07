//! The command line: arguments, progress, tables. One file for each command; what several of them need is in
//! `checkpoints`, `console`, `deployed`, `outputs`, `overrides`, `progress`, `session` and `table`. Nothing here computes.

mod bench;
mod bench_infer;
mod bench_loader;
mod calibrate;
mod check;
mod checkpoints;
mod console;
mod contest;
mod convert;
mod data;
mod deployed;
mod eval;
mod exchange;
mod infer;
mod info;
mod inspect;
mod inspect_int8;
mod interrupt;
mod outputs;
mod overrides;
mod parity;
mod progress;
mod results;
mod run;
mod session;
mod table;
mod train;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use simqat::Result;

use console::Console;

/// Quantization-aware training on any GPU.
#[derive(Parser)]
#[command(
    name = "simqat",
    version,
    max_term_width = 100,
    after_help = "Results go to stdout, everything else to stderr.\n\
                  Exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
pub struct Global {
    /// Use the adapter whose name contains NAME, in any case (see `simqat info`)
    ///
    /// NAME#2 is the second of several that fit. `simqat check` also takes "all".
    ///
    /// NAME may also be a backend (vulkan, metal, dx12, opengl), or BACKEND/NAME. Without it: the one in the environment
    /// variable SIMQAT_ADAPTER, else the best real GPU, else a software adapter, else one that only OpenGL reaches.
    #[arg(long, global = true, value_name = "NAME")]
    adapter: Option<String>,
    /// Make the last line on stdout one JSON object with the results
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more on stderr; twice: much more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Show the adapters of this machine and what the chosen one can do
    Info,
    /// Prove an adapter: does it compute what it should?
    ///
    /// Every family of kernels against plain functions on the CPU, every gradient against finite differences, a few steps of
    /// training eager, recorded and resumed, and integer networks on CPU and GPU. Needs no data. `--adapter all` goes over
    /// all adapters that answer. Exit code 1 if anything is wrong; `--json` is what a bug report wants.
    Check(check::Args),
    /// Get data sets
    Data(data::Args),
    /// Train a recipe in float and with SimQAT, and compare
    Run(run::Args),
    /// Train one variant of a recipe, or go on from a checkpoint
    Train(train::Args),
    /// Measure the accuracy of a checkpoint or an int8 model on all test images
    Eval(eval::Args),
    /// Quantize a trained float network without training it
    Calibrate(calibrate::Args),
    /// Make an int8 model of a quantized checkpoint
    ///
    /// It has int8 weights and activations, int32 sums, and no float in between. docs/int8-format.md describes the file.
    Convert(convert::Args),
    /// Hold an int8 model against the simulated network it comes from, code by code
    ///
    /// Every simulated layer is given the numbers that the int8 layer's own input codes stand for, so that a difference is
    /// that layer's ("carried on": of the networks as wholes). Its weights and biases are those that the int8 model stores;
    /// predictions are compared with the checkpoint's own. Where engines differ from each other, which they must never, the
    /// exit code is 1.
    Parity(parity::Args),
    /// Say what is on pictures: the class, and how sure the network is
    ///
    /// Pictures are cut, resized and normalized as the recipe says that the model was trained by; confidence is softmax's.
    Infer(infer::Args),
    /// Print the network of a recipe, a checkpoint or an int8 model, and options that have no effect on it
    Inspect(inspect::Args),
    /// Take weights from PyTorch: a state dict in a safetensors file becomes a checkpoint
    Import(exchange::ImportArgs),
    /// Give a checkpoint's weights to PyTorch, as a state dict in a safetensors file, or its float network to ONNX Runtime
    Export(exchange::ExportArgs),
    /// Measure how fast this machine is
    Bench(bench::Args),
}

/// Carries out the command line; `start` is when the program began.
pub fn main(start: Instant) -> ExitCode {
    let cli = Cli::parse(); // ends the program with code 2 where the usage is wrong
    start_log(&cli.global);
    let console = Console::new(&cli.global);
    match dispatch(&cli, &console, start) {
        Ok(code) => code,
        Err(error) => {
            console.error(&error);
            ExitCode::from(if error.is_bad_input() { 2 } else { 1 })
        }
    }
}

fn dispatch(cli: &Cli, console: &Console, start: Instant) -> Result<ExitCode> {
    let global = &cli.global;
    match &cli.command {
        Command::Info => info::run(global, console),
        Command::Check(args) => check::run(args, global, console),
        Command::Data(args) => data::run(args, console),
        Command::Run(args) => return run::run(args, global, console, start),
        Command::Train(args) => return train::run(args, global, console, start),
        Command::Eval(args) => eval::run(args, global, console),
        Command::Calibrate(args) => calibrate::run(args, global, console),
        Command::Convert(args) => convert::run(args, global, console),
        Command::Parity(args) => parity::run(args, global, console),
        Command::Infer(args) => infer::run(args, global, console),
        Command::Inspect(args) => inspect::run(args, console),
        Command::Import(args) => exchange::import(args, console),
        Command::Export(args) => exchange::export(args, console),
        Command::Bench(args) => bench::run(args, global, console),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// The library's log, on stderr: its warnings, or what RUST_LOG asks for. Of wgpu's only errors: it warns of
/// drivers that are well enough for us. Of the search for data nothing: the first line says what was found.
fn start_log(global: &Global) {
    let default = match global.verbose {
        0 => "error,simqat=warn,simqat::data=error",
        1 => "warn,simqat=info",
        _ => "info,simqat=debug",
    };
    let environment = env_logger::Env::default().default_filter_or(default);
    env_logger::Builder::from_env(environment).format_timestamp(None).format_target(false).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
