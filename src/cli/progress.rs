//! What moves while one waits: a bar on a terminal, a line per epoch elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use simqat::Result;
use simqat::train::{Callback, EpochReport, StepReport, Trainer, Variant};

use super::console::Console;

/// How often a bar is drawn again at least, so that one sees that the program lives.
const TICK: Duration = Duration::from_millis(200);

fn style(template: &str) -> ProgressStyle {
    // A mistake in a template is better a plain bar than an end of the program.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Progress of downloads.
pub struct DownloadBar<'a> {
    console: &'a Console,
    bar: Option<ProgressBar>,
    file: String,
}

impl<'a> DownloadBar<'a> {
    pub fn new(console: &'a Console) -> Self {
        DownloadBar { console, bar: None, file: String::new() }
    }

    /// `done` of `all` bytes of `file` are there.
    pub fn update(&mut self, file: &str, done: u64, all: u64) {
        if self.file != file {
            self.finish();
            self.file = file.to_string();
            if self.console.draws() {
                let bar = ProgressBar::new(all).with_message(file.to_string());
                bar.set_style(style("{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} left"));
                self.bar = Some(bar);
            } else {
                self.console.say(format!("downloading {file} ({all} bytes)"));
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// The word for a variant in front of people.
pub fn title(variant: Variant) -> &'static str {
    match variant {
        Variant::Float => "float",
        Variant::SimQat => "SimQAT",
    }
}

/// Watches one training for the terminal.
pub struct Progress<'a> {
    console: &'a Console,
    variant: Variant,
    classes: usize,
    /// Said where the loss stays flat.
    advice: &'static str,
    program_start: Instant,
    first_step: Option<Duration>,
    bar: Option<ProgressBar>,
    /// Accuracy after the last epoch, in words.
    tested: String,
    epoch: EpochMeans,
}

/// Mean loss of the epoch under way, and the share of its time in which images were waited for.
#[derive(Default)]
struct EpochMeans {
    seen: usize,
    steps: usize,
    loss: f64,
    time: f64,
    waited: f64,
}

impl EpochMeans {
    fn add(&mut self, report: &StepReport) {
        // A resumed training begins in the middle: its first report counts what it covers at most.
        let steps = report.step.saturating_sub(self.seen).min(report.step_in_epoch);
        self.seen = report.step;
        self.steps += steps;
        self.loss += report.mean_loss * steps as f64;
        let time = report.ms_per_step * steps as f64;
        self.time += time;
        self.waited += report.data_wait * time;
    }

    fn take(&mut self) -> (f64, f64) {
        let loss = self.loss / self.steps.max(1) as f64;
        let waited = self.waited / self.time.max(f64::MIN_POSITIVE);
        *self = EpochMeans { seen: self.seen, ..EpochMeans::default() };
        (loss, waited)
    }
}

impl<'a> Progress<'a> {
    pub fn new(
        console: &'a Console,
        variant: Variant,
        classes: usize,
        advice: &'static str,
        program_start: Instant,
    ) -> Self {
        let bar = console.draws().then(|| {
            let bar = ProgressBar::new(1).with_prefix(title(variant)).with_message("getting ready");
            // Two lines, so that 80 columns are enough for all of it.
            bar.set_style(style("{prefix:6} [{wide_bar}] {msg}"));
            bar.enable_steady_tick(TICK);
            bar
        });
        Progress {
            console,
            variant,
            classes,
            advice,
            program_start,
            first_step: None,
            bar,
            tested: String::new(),
            epoch: EpochMeans::default(),
        }
    }

    /// From the start of the program to the end of the first step.
    pub fn first_step(&self) -> Option<Duration> {
        self.first_step
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.console.say(text)),
            None => self.console.say(text),
        }
    }

    /// Takes the bar away; also where the training failed.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Callback for Progress<'_> {
    fn after_step(&mut self, trainer: &Trainer) -> Result<()> {
        if self.first_step.is_none() {
            trainer.network().gpu().wait()?;
            self.first_step = Some(self.program_start.elapsed());
        }
        Ok(())
    }

    fn on_report(&mut self, report: &StepReport) -> Result<()> {
        self.epoch.add(report);
        if let Some(bar) = &self.bar {
            bar.set_length(report.total_steps as u64);
            bar.set_position(report.step as u64);
            bar.set_message(format!(
                "{} left\nepoch {}/{}  step {}/{}  loss {:.4}  accuracy {:.2} %  {} images/s{}{}",
                clock(report.seconds_left),
                report.epoch + 1,
                report.total_steps / report.steps_per_epoch,
                report.step_in_epoch,
                report.steps_per_epoch,
                report.mean_loss,
                100.0 * report.accuracy,
                speed(report.images_per_s),
                waiting(report.data_wait),
                self.tested
            ));
        }
        Ok(())
    }

    fn on_epoch(&mut self, _: &Trainer, report: &EpochReport) -> Result<()> {
        let (loss, waited) = self.epoch.take();
        let mut tested = String::new();
        if let Some(evaluation) = report.evaluation {
            let accuracy = 100.0 * evaluation.top1();
            let images = report.evaluated_on;
            self.tested = format!("  {images} {accuracy:.2} %");
            tested = format!("  {images} accuracy {accuracy:.2} %");
            if let Some(top5) = evaluation.top5() {
                tested += &format!(", top-5 {:.2} %", 100.0 * top5);
            }
        }
        let line = format!(
            "{:6}  epoch {}/{}  loss {loss:.4}{tested}  {:.2} ms/step  {:.1} s{}",
            title(self.variant),
            report.epoch,
            report.epochs,
            report.ms_per_step(),
            report.train_time.as_secs_f64(),
            waiting(waited)
        );
        // On a terminal the bar says it all; its last word stays.
        if self.bar.is_none() || report.epoch == report.epochs {
            self.say(&line);
        }
        let guessing = (self.classes as f64).ln();
        // A mean over an epoch's few steps may be high although the last of them know better.
        let is_guess = report.evaluation.is_none_or(|e| e.top1() * (self.classes as f64) < 2.0);
        if report.epoch == 1 && loss > 0.9 * guessing && is_guess {
            self.say(&format!(
                "the loss is still flat after the first epoch: {loss:.3}, and guessing among {} classes has {guessing:.3}; {}",
                self.classes, self.advice
            ));
        }
        Ok(())
    }
}

/// Images for each second, with as many digits as mean something.
fn speed(images_per_s: f64) -> String {
    if images_per_s < 100.0 { format!("{images_per_s:.1}") } else { format!("{images_per_s:.0}") }
}

/// That images were waited for, where it is worth a word.
fn waiting(share: f64) -> String {
    if share < 0.005 { String::new() } else { format!("  {:.0} % waiting for data", 100.0 * share) }
}

/// Seconds as people write them.
fn clock(seconds: f64) -> String {
    let whole = seconds.round_ties_even() as u64;
    match whole / 3600 {
        0 => format!("{}:{:02}", whole / 60, whole % 60),
        hours => format!("{hours}:{:02}:{:02}", whole / 60 % 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{clock, speed, waiting};

    #[test]
    fn times_read_like_a_clock() {
        assert_eq!(
            [clock(0.4), clock(61.0), clock(3599.6), clock(36_061.0)],
            ["0:00", "1:01", "1:00:00", "10:01:01"]
        );
    }

    #[test]
    fn speeds_and_waits_are_short() {
        assert_eq!([speed(3.149), speed(99.0), speed(3401.7)], ["3.1", "99.0", "3402"]);
        assert_eq!([waiting(0.0), waiting(0.004), waiting(0.126)], ["", "", "  13 % waiting for data"]);
    }
}
