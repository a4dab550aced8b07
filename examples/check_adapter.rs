//! Proves the adapter of this machine from inside an application: for example once after a driver was updated, with the
//! outcome kept. Here only the families that are quick.
//!
//! cargo run --release --features check --example check_adapter

use simqat::check::{CheckOptions, run};

fn main() -> simqat::Result<()> {
    for family in ["counters", "products", "quantizers"] {
        let options = CheckOptions { family: family.into(), ..CheckOptions::default() };
        let report = run(&options, |_, outcome, left| {
            eprintln!("{} in {:.1} s, {left} to go", outcome.case, outcome.time.as_secs_f64());
        })?;
        for row in report.by_family() {
            println!(
                "{}: {} runs, {} failed; worst error {:.1e}",
                row.family, row.runs, row.failed, row.worst.error
            );
        }
        if !report.passed() {
            println!("do not train on \"{}\" ({})", report.caps.adapter.name, report.caps.adapter.driver);
        }
    }
    Ok(())
}
