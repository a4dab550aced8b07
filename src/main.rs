//! The program `simqat`: everything it does is a call of the library.

use std::process::ExitCode;
use std::time::Instant;

mod cli;

fn main() -> ExitCode {
    cli::main(Instant::now())
}
