//! The check that users run: all of its families pass here, what is broken does not, and no family is forgotten by the
//! other tests.

mod faults;

use simqat::check::{self, CheckOptions, Depth, Report, Verdict};
use simqat::gpu::{Fault, GpuOptions};
use simqat::{Error, Result};

/// Kernels as users get them: without bounds checks, so that a stray store is not stopped by a guard of the compiler's.
fn options(family: &str, fault: Option<Fault>) -> CheckOptions {
    let gpu = GpuOptions { checked: false, fault, ..GpuOptions::default() };
    CheckOptions { gpu, depth: Depth::Quick, family: family.into(), seed: 0 }
}

fn run(family: &str, fault: Option<Fault>) -> Result<Report> {
    check::run(&options(family, fault), |_, _, _| {})
}

/// What failed, with the reason.
fn failures(report: &Report) -> Vec<String> {
    let failed = report.outcomes.iter().filter_map(|outcome| match &outcome.verdict {
        Verdict::Passed => None,
        Verdict::Failed(why) | Verdict::NotRun(why) => Some(format!("{}: {why}", outcome.case)),
    });
    failed.collect()
}

/// Everything of a family, as the program runs it.
fn family(name: &str) {
    let report =
        check::run(&CheckOptions { depth: Depth::Thorough, ..options(name, None) }, |_, _, _| {}).unwrap();
    assert_eq!(failures(&report), Vec::<String>::new());
    assert!(report.passed() && !report.outcomes.is_empty());
    assert!(report.variants.iter().any(|v| v.starts_with("deploy/")), "{:?}", report.variants);
    assert_eq!(report.start.is_some(), name == "training");
}

#[test]
fn training() {
    family("training");
}

#[test]
fn integer_networks() {
    family("integer networks");
}

#[test]
fn an_unknown_family_is_an_error_that_lists_those_there_are() {
    let error = run("convolusions", None).err().unwrap();
    assert!(matches!(error, Error::Invalid(_)));
    assert!(
        error.to_string().contains("convolusions") && error.to_string().contains("convolutions"),
        "{error}"
    );
}

#[test]
fn an_unknown_adapter_is_an_error() {
    let gpu = GpuOptions { adapter: Some("no such adapter".into()), ..GpuOptions::default() };
    let error = check::run(&CheckOptions { gpu, ..options("counters", None) }, |_, _, _| {}).err().unwrap();
    assert!(matches!(error, Error::NoAdapter(_)), "{error}");
}

#[test]
fn the_report_adds_up_by_family() {
    let mut seen = Vec::new();
    let report = check::run(&options("pooling", None), |caps, outcome, left| {
        assert!(!caps.adapter.name.is_empty());
        seen.push((outcome.case.name, left));
    })
    .unwrap();
    assert_eq!(seen.last().unwrap().1, 0);
    let [row] = &report.by_family()[..] else { panic!("one family was asked for") };
    assert_eq!((row.family, row.runs, row.failed, row.not_run), ("pooling", seen.len(), 0, 0));
    assert!(row.worst.share() <= 1.0 && row.worst.error > 0.0, "{:?}", row.worst);
}
