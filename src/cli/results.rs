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
        let published = self.recipe.model.name == "lenet5"
            && ["mnist", "mnist-5k"].contains(&self.recipe.data.name.as_str());
        let mut table = Table::default();
        let mut row = |name: &str, cell: &dyn Fn(&TrainingSummary) -> String, said: &str| {
            let cells = there.iter().map(|(_, part)| cell(part));
            let said = published.then(|| said.to_string());
            table.row([name.to_string()].into_iter().chain(cells).chain(said));
        };
        let accuracy = PUBLISHED_ACCURACY.join(" / ");
        row("test accuracy", &|p| format!("{:.2} %", 100.0 * p.top1), &accuracy);
        if there.iter().any(|(_, part)| part.top5.is_some()) {
            let per_cent = |share: f64| format!("{:.2} %", 100.0 * share);
            row("top-5 accuracy", &|p| p.top5.map_or("-".into(), per_cent), "");
        }
        row("time per step", &|p| milliseconds(p.ms_per_step), PUBLISHED_STEP);
        row("checkpoint", &|p| format!("{:.1} kB", p.checkpoint_bytes as f64 / 1e3), "");
        let mut headed = Table::default();
        let head = there.iter().map(|(name, _)| name.to_string());
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
