//! The table at the end of a training.

use std::path::Path;

use simqat::data::Dataset;
use simqat::gpu::AdapterSummary;
use simqat::train::{Recipe, RunFolder, Summary, TrainingSummary};

use super::session::describe;
use super::table::Table;

/// What MindSpore publishes of LeNet5 on MNIST: Golden Stick r0.3, "Applying the SimQAT Algorithm", top-1 of the
/// baseline and of SimQAT in per cent.
const PUBLISHED_ACCURACY: [&str; 2] = ["98.82 %", "98.94 %"];
/// The same page's time of a SimQAT step, batch 32.
const PUBLISHED_STEP: &str = "4.5 ms (CUDA GPU)";

/// Deployed files and the time of an image on an Arm CPU, same source.
const PUBLISHED_SIZE: &str = "245 kB / 241 kB";
const PUBLISHED_LATENCY: &str = "87 us / 89 us (Arm)";

/// Everything that the table tells.
pub struct Results<'a> {
    pub recipe: &'a Recipe,
    pub data: &'a Dataset,
    pub adapter: &'a AdapterSummary,
    pub summary: &'a Summary,
    pub folder: &'a RunFolder,
    pub checkpoints: &'a [std::path::PathBuf],
}

impl Results<'_> {
    pub fn text(&self) -> String {
        format!("\n{}\n\n{}", self.numbers(), self.circumstances())
    }

    fn numbers(&self) -> String {
        let variants = [("float", self.summary.baseline), ("SimQAT", self.summary.simqat)];
        let there: Vec<(&str, TrainingSummary)> =
            variants.into_iter().filter_map(|(name, part)| part.map(|p| (name, p))).collect();
        let int8 = self.summary.int8.as_ref();
        let published = self.recipe.model.name == "lenet5"
            && ["mnist", "mnist-5k"].contains(&self.recipe.data.name.as_str());
        let mut table = Table::default();
        let mut row = |name: &str,
                       trained: &dyn Fn(&TrainingSummary) -> String,
                       integers: String,
                       said: &str| {
            let cells = there.iter().map(|(_, part)| trained(part));
            let said = published.then(|| said.to_string());
            table.row([name.to_string()].into_iter().chain(cells).chain(int8.map(|_| integers)).chain(said));
        };
        let per_cent = |share: f64| format!("{:.2} %", 100.0 * share);
        let perhaps = |share: Option<f64>| share.map_or("-".into(), per_cent);
        let kilobytes = |bytes: u64| format!("{:.1} kB", bytes as f64 / 1e3);
        row(
            "test accuracy",
            &|p| per_cent(p.top1),
            perhaps(int8.map(|p| p.top1)),
            &PUBLISHED_ACCURACY.join(" / "),
        );
        if there.iter().any(|(_, part)| part.validation_top1.is_some()) {
            row("validation accuracy", &|p| perhaps(p.validation_top1), "-".into(), "");
        }
        if there.iter().any(|(_, part)| part.top5.is_some()) {
            row("top-5 accuracy", &|p| perhaps(p.top5), perhaps(int8.and_then(|p| p.top5)), "");
        }
        row("time per step", &|p| milliseconds(p.ms_per_step), String::new(), PUBLISHED_STEP);
        row("checkpoint", &|p| kilobytes(p.checkpoint_bytes), String::new(), "");
        if let Some(int8) = int8 {
            let nothing = |_: &TrainingSummary| String::new();
            row("model", &nothing, kilobytes(int8.bytes), PUBLISHED_SIZE);
            row("an image, CPU", &nothing, format!("{:.1} us", int8.cpu_us), PUBLISHED_LATENCY);
            row("an image, adapter", &nothing, format!("{:.1} us", int8.gpu_us), "");
        }
        let mut headed = Table::default();
        let head = there.iter().map(|(name, _)| name.to_string()).chain(int8.map(|_| "int8".into()));
        let said = published.then(|| "published float / SimQAT".to_string());
        headed.row([String::new()].into_iter().chain(head).chain(said));
        headed.append(table);
        let mut text = headed.numbers();
        if published && self.data.is_sample {
            text += "\nTrained on the shipped SAMPLE of MNIST: accuracies are not comparable with the published ones.";
        }
        text
    }

    fn circumstances(&self) -> String {
        let mut table = Table::default();
        table.row(["data", &self.data.source]);
        table.row(["adapter", &describe(self.adapter)]);
        if let Some(seconds) = self.summary.first_step_s {
            table.row(["first step", &format!("after {seconds:.1} s")]);
        }
        table.row(["run folder", &shown(self.folder.path())]);
        for path in self.checkpoints {
            table.row(["checkpoint", &shown(path)]);
        }
        if self.summary.int8.is_some() {
            table.row(["int8 model", &shown(&self.folder.int8_model())]);
        }
        table.text()
    }
}

fn milliseconds(ms: f64) -> String {
    // Resumed at the very end: there was no step to time.
    if ms > 0.0 { format!("{ms:.2} ms") } else { "-".into() }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
