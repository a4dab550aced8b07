//! Training steps that are timed against each other.

use std::time::Instant;

use serde::Serialize;
use simqat::Result;
use simqat::data::Dataset;
use simqat::gpu::Gpu;
use simqat::nn::{BnFold, Layer, Network};
use simqat::train::{Recipe, RunMode, Trainer, Variant};

use super::inspect::fold_name;
use super::progress::title;
use super::table::Table;

/// Trainings that differ in their quantization alone, float first.
pub struct Heat {
    contests: Vec<Contest>,
}

/// One training and its times.
pub struct Contest {
    recipe: String,
    model: String,
    variant: Variant,
    fold: Option<&'static str>,
    mode: RunMode,
    batch: usize,
    trainer: Trainer,
    /// Milliseconds per step of each repetition.
    times: Vec<f64>,
}

#[derive(Serialize)]
pub struct Row {
    model: String,
    recipe: String,
    batch: usize,
    /// Height and width of the images.
    size: usize,
    quant: &'static str,
    /// How normalizations are folded, where there are such: as [`fold_name`] says, or "unfused".
    #[serde(skip_serializing_if = "Option::is_none")]
    fold: Option<&'static str>,
    mode: &'static str,
    ms_median: f64,
    ms_min: f64,
    ms_max: f64,
    /// Images of a step through the median of its time.
    images_per_s: f64,
    /// Median over the repetitions of this time through float's in the same repetition.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
}

impl Heat {
    /// Float, then SimQAT as the recipe says; with `folds`, also the other forms of the fold where the network has
    /// something to fold.
    pub fn new(
        gpu: &Gpu,
        data: &Dataset,
        recipe: &Recipe,
        batch: usize,
        mode: RunMode,
        folds: bool,
    ) -> Result<Heat> {
        let mut recipe = recipe.clone();
        // One pass is the step that is timed: a step of several would be called one of `batch` images.
        (recipe.data.batch, recipe.train.accumulate, recipe.train.mode) = (batch, 1, mode);
        // So that every timed step quantizes.
        recipe.simqat = recipe.simqat.quant_delay(0);
        for layer in recipe.simqat.layer.values_mut() {
            (layer.weight_quant_delay, layer.activation_quant_delay) = (None, None);
        }
        let contest = |recipe: &Recipe, variant| Contest::new(gpu, data, recipe, variant);
        let mut contests = vec![contest(&recipe, Variant::Float)?];
        let forms = [BnFold::TwoConv, BnFold::OneConv, BnFold::Without];
        let folded = forms.map(|form| Recipe { simqat: recipe.simqat.clone().fold(form), ..recipe.clone() });
        if folds && has_joined(&folded[0].variant_network(gpu, data.classes, Variant::SimQat)?) {
            for recipe in &folded {
                contests.push(contest(recipe, Variant::SimQat)?);
            }
        } else {
            contests.push(contest(&recipe, Variant::SimQat)?);
        }
        Ok(Heat { contests })
    }

    pub fn contests(&mut self) -> impl DoubleEndedIterator<Item = &mut Contest> {
        self.contests.iter_mut()
    }

    /// True where several forms of the fold take part.
    pub fn has_folds(&self) -> bool {
        self.contests.len() > 2
    }

    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let (float, others) = self.contests.split_at(1);
        let ratio = |c: &Contest| median(c.times.iter().zip(&float[0].times).map(|(a, b)| a / b).collect());
        let others: Vec<Row> = others.iter().map(|c| c.row(Some(ratio(c)))).collect();
        [float[0].row(None)].into_iter().chain(others)
    }
}

impl Contest {
    fn new(gpu: &Gpu, data: &Dataset, recipe: &Recipe, variant: Variant) -> Result<Contest> {
        let network = recipe.variant_network(gpu, data.classes, variant)?;
        let feed = recipe.train_feed(&network, data)?;
        Ok(Contest {
            recipe: recipe.name.clone(),
            model: recipe.model.name.clone(),
            variant,
            fold: if variant == Variant::Float { None } else { fold(&network) },
            mode: recipe.train.mode,
            batch: recipe.data.batch,
            trainer: Trainer::new(network, feed, recipe.trainer_options())?,
            times: Vec::new(),
        })
    }

    pub fn mode(&self) -> RunMode {
        self.mode
    }

    /// Takes steps and waits until the device has done them.
    pub fn run(&mut self, steps: usize) -> Result<()> {
        (0..steps).try_for_each(|_| self.trainer.step())?;
        self.trainer.network().gpu().wait()
    }

    /// The same, with its time as a repetition.
    pub fn time(&mut self, steps: usize) -> Result<()> {
        let start = Instant::now();
        self.run(steps)?;
        self.times.push(start.elapsed().as_secs_f64() * 1e3 / steps as f64);
        Ok(())
    }

    fn row(&self, ratio: Option<f64>) -> Row {
        let all = || self.times.iter().copied();
        let ms_median = median(self.times.clone());
        Row {
            model: self.model.clone(),
            recipe: self.recipe.clone(),
            batch: self.batch,
            size: self.trainer.network().input_shape()[1],
            quant: self.variant.name(),
            fold: self.fold,
            mode: match self.mode {
                RunMode::Eager => "eager",
                RunMode::Graph => "graph",
            },
            ms_median,
            ms_min: all().fold(f64::INFINITY, f64::min),
            ms_max: all().fold(0.0, f64::max),
            images_per_s: self.batch as f64 * 1e3 / ms_median,
            ratio,
        }
    }

    /// Time by kernel of so many steps.
    pub fn profile(&mut self, gpu: &Gpu, steps: usize) -> Result<String> {
        let (times, ()) = gpu.profile(|| self.run(steps))?;
        let all: f64 = times.iter().map(|t| t.total.as_secs_f64()).sum();
        let mut table = Table::default();
        table.row(["us/step", "share", "calls/step", "kernel"]);
        for time in &times {
            let seconds = time.total.as_secs_f64();
            table.row([
                format!("{:.1}", seconds * 1e6 / steps as f64),
                format!("{:.1} %", 100.0 * seconds / all),
                format!("{:.1}", time.calls as f64 / steps as f64),
                time.kernel.clone(),
            ]);
        }
        Ok(format!(
            "\n{}: {}, batch {}: {:.3} ms per step in kernels\n{}",
            self.recipe,
            named(self.variant, self.fold),
            self.batch,
            all * 1e3 / steps as f64,
            table.text()
        ))
    }
}

/// How a quantized network folds its normalizations.
fn fold(network: &Network) -> Option<&'static str> {
    let joined = network.nodes().iter().find_map(|node| match &node.layer {
        Layer::Conv2dBn(layer) => Some(fold_name(layer.fold)),
        _ => None,
    });
    joined.or(network.norms().next().map(|_| "unfused"))
}

fn has_joined(network: &Network) -> bool {
    network.nodes().iter().any(|node| matches!(node.layer, Layer::Conv2dBn(_)))
}

/// A variant in front of people, with the form of its fold.
fn named(variant: Variant, fold: Option<&str>) -> String {
    match fold {
        None => title(variant).into(),
        Some(fold) => format!("{}, fold {fold}", title(variant)),
    }
}

/// Rows as people read them.
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::default();
    table.row(["", "network", "batch", "mode", "median", "min", "max", "images/s", "/ float"]);
    for row in rows {
        let ms = |value: f64| format!("{value:.3}");
        let variant = if row.quant == Variant::Float.name() { Variant::Float } else { Variant::SimQat };
        table.row([
            row.recipe.clone(),
            named(variant, row.fold),
            row.batch.to_string(),
            row.mode.to_string(),
            ms(row.ms_median),
            ms(row.ms_min),
            ms(row.ms_max),
            format!("{:.1}", row.images_per_s),
            row.ratio.map_or(String::new(), |ratio| format!("{ratio:.3}")),
        ]);
    }
    table.numbers()
}

/// The middle one, or the mean of the middle two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians_are_of_sorted_values() {
        assert_eq!([median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0, 3.0, 2.0])], [2.0, 2.5]);
    }
}
