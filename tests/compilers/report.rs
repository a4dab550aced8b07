//! What became of the variants, as a row of the table in docs/portability.md, and as a failure that names each one refused.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

/// Names a file to which rows are added.
const TABLE: &str = "SIMQAT_COMPILERS_TABLE";

/// One compiler over all variants of one form.
pub struct Run {
    /// Its name.
    pub compiler: String,
    /// As it tells it itself.
    pub version: String,
    /// The form, and what the compiler was asked for.
    pub given: String,
    /// How many variants it was given.
    pub variants: usize,
    /// Variants that it would not take, with its message.
    pub refused: Vec<(String, String)>,
    /// What compiling took.
    pub time: Duration,
}

impl Run {
    fn row(&self) -> String {
        let Run { compiler, version, given, variants, refused, time } = self;
        let (refused, seconds) = (refused.len(), time.as_secs_f64());
        format!("| {compiler} | {version} | {given} | {variants} | {refused} | {seconds:.1} |")
    }
}

/// Tells how it went.
///
/// # Panics
/// Where a variant was refused.
pub fn conclude(runs: &[Run]) {
    let mut table = std::env::var_os(TABLE).map(|path| {
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    });
    let mut text = String::new();
    for run in runs {
        println!("{}", run.row());
        if let Some(table) = &mut table {
            writeln!(table, "{}", run.row()).unwrap();
        }
        assert!(run.variants > 100, "{} was given only {} variants", run.compiler, run.variants);
        for (name, message) in &run.refused {
            // Messages repeat themselves for each use of a name.
            let lines: Vec<&str> = message.trim().lines().take(4).collect();
            let _ = writeln!(
                text,
                "{} ({}) refuses {name}:\n    {}",
                run.compiler,
                run.given,
                lines.join("\n    ")
            );
        }
    }
    let refused: usize = runs.iter().map(|run| run.refused.len()).sum();
    assert!(refused == 0, "{refused} refused\n{text}");
}
