//! Learning rates as functions of the step: plain arithmetic, so that a resumed training has the same rates.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the learning rate falls behind the warm-up. `max` is the optimizer's learning rate, i the step from 0 at the start
/// of the training, T all steps and W those of the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// max
    #[default]
    Constant,
    /// max * gamma^(milestones reached) (PyTorch: `MultiStepLR`)
    Step,
    /// end + (max - end) * ((T - i) / (T - W))^power (PyTorch: `PolynomialLR`, where end is 0)
    Polynomial,
    /// end + (max - end) * (1 + cos(pi * (i - W) / (T - W))) / 2 (Loshchilov & Hutter 2017, equation 5, without restarts;
    /// PyTorch: `CosineAnnealingLR`)
    Cosine,
    /// max * ((T - i) / (T - W) * (1 + cos(0.94 * pi * i / (T - W))) / 2 + 1e-5), as the ResNet-50 of the MindSpore model
    /// zoo is trained (`_generate_cosine_lr` in its `lr_generator.py`). There i runs from the start of the training, not
    /// from the end of the warm-up, so the rate falls a little where the warm-up ends.
    LinearCosine,
}

/// A learning rate for every step: a warm-up, then one of [`ScheduleKind`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// How it falls.
    pub kind: ScheduleKind,
    /// Epochs in which the rate rises in a line to the optimizer's learning rate, which the last step of them has.
    pub warmup_epochs: usize,
    /// Where it rises from: the first step is one part of the way above.
    pub warmup_from: f32,
    /// Of `Step`: epochs, counted from the start of the training, behind which the rate falls.
    pub milestones: Vec<usize>,
    /// Of `Step`: factor at each milestone.
    pub gamma: f32,
    /// Of `Polynomial`: the exponent. Unless said, 2; PyTorch's `PolynomialLR` has 1 there, which is a line.
    pub power: f32,
    /// Of `Polynomial` and `Cosine`: the rate behind the last step.
    pub end: f32,
}

impl Default for Schedule {
    /// Constant. The other values are those with which the kinds are used most.
    fn default() -> Self {
        Schedule {
            kind: ScheduleKind::Constant,
            warmup_epochs: 0,
            warmup_from: 0.0,
            milestones: Vec::new(),
            gamma: 0.1,
            power: 2.0,
            end: 0.0,
        }
    }
}

/// How long a training is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Optimizer steps in an epoch.
    pub steps_per_epoch: usize,
    /// Passes over the images.
    pub epochs: usize,
}

impl Schedule {
    /// Without warm-up.
    pub fn new(kind: ScheduleKind) -> Schedule {
        Schedule { kind, ..Schedule::default() }
    }

    /// With a rise in a line from `from` over `epochs` epochs.
    pub fn warmup(mut self, epochs: usize, from: f32) -> Schedule {
        (self.warmup_epochs, self.warmup_from) = (epochs, from);
        self
    }

    /// True where every step has the optimizer's learning rate.
    pub fn is_constant(&self) -> bool {
        self.kind == ScheduleKind::Constant && self.warmup_epochs == 0
    }

    /// Fails where a value makes no sense in a training of `epochs` epochs that reaches the rate `max`, with its key.
    ///
    /// # Errors
    /// See above.
    pub fn validate(&self, max: f32, epochs: usize) -> Result<()> {
        let wrong = |key: &str, value: String, hint: String| {
            Err(Error::Invalid(format!("schedule.{key} = {value}: {hint}")))
        };
        let rate = |v: f32| (0.0..=max).contains(&v);
        if self.warmup_epochs > 0 && self.warmup_epochs >= epochs {
            let hint = format!("the warm-up must end before the training, which has train.epochs = {epochs}");
            return wrong("warmup_epochs", self.warmup_epochs.to_string(), hint);
        }
        if !rate(self.warmup_from) {
            let hint = format!("it must be at least 0 and at most optimizer.learning_rate = {max}");
            return wrong("warmup_from", self.warmup_from.to_string(), hint);
        }
        if !self.milestones.is_sorted_by(|a, b| a < b) || self.milestones.first() == Some(&0) {
            let hint = "they are epochs from 1 on, each later than the one before".into();
            return wrong("milestones", format!("{:?}", self.milestones), hint);
        }
        if self.kind == ScheduleKind::Step && self.milestones.is_empty() {
            let hint = "kind = \"step\" needs the epochs behind which the rate falls, such as [30, 60, 80]";
            return wrong("milestones", "[]".into(), hint.into());
        }
        if !(self.gamma > 0.0 && self.gamma <= 1.0) {
            return wrong("gamma", self.gamma.to_string(), "it must be above 0 and at most 1".into());
        }
        if !(self.power > 0.0 && self.power.is_finite()) {
            return wrong("power", self.power.to_string(), "it must be a positive number".into());
        }
        if !rate(self.end) {
            let hint = format!("it must be at least 0 and at most optimizer.learning_rate = {max}");
            return wrong("end", self.end.to_string(), hint);
        }
        Ok(())
    }

    /// Keys that the kind does not read, or reads to no effect, although they are not at their defaults: key and value.
    pub fn idle(&self) -> Vec<(&'static str, String)> {
        let usual = Schedule::default();
        let falls_to_end = matches!(self.kind, ScheduleKind::Polynomial | ScheduleKind::Cosine);
        let keys = [
            ("milestones", self.kind == ScheduleKind::Step, self.milestones != usual.milestones),
            ("gamma", self.kind == ScheduleKind::Step, self.gamma != usual.gamma),
            ("power", self.kind == ScheduleKind::Polynomial, self.power != usual.power),
            ("end", falls_to_end, self.end != usual.end),
            ("warmup_from", self.warmup_epochs > 0, self.warmup_from != usual.warmup_from),
        ];
        let value = |key| match key {
            "milestones" => format!("{:?}", self.milestones),
            "gamma" => self.gamma.to_string(),
            "power" => self.power.to_string(),
            "end" => self.end.to_string(),
            _ => self.warmup_from.to_string(),
        };
        let idle = keys.into_iter().filter(|(_, used, changed)| *changed && !used);
        idle.map(|(key, ..)| (key, value(key))).collect()
    }

    /// The rate of step number `step`, counted from 0 at the start of the training.
    pub fn rate(&self, max: f32, step: usize, span: Span) -> f32 {
        if self.is_constant() {
            return max;
        }
        let peak = f64::from(max);
        let warmup = self.warmup_epochs * span.steps_per_epoch;
        if step < warmup {
            let from = f64::from(self.warmup_from);
            return (from + (peak - from) * (step + 1) as f64 / warmup as f64) as f32;
        }
        let total = span.epochs * span.steps_per_epoch;
        let decay = total.saturating_sub(warmup).max(1) as f64;
        let (done, left) = ((step - warmup) as f64, total.saturating_sub(step) as f64);
        let end = f64::from(self.end);
        let rate = match self.kind {
            ScheduleKind::Constant => peak,
            ScheduleKind::Step => {
                let epoch = step / span.steps_per_epoch.max(1);
                let reached = self.milestones.iter().filter(|&&milestone| milestone <= epoch).count();
                peak * f64::from(self.gamma).powi(reached as i32)
            }
            ScheduleKind::Polynomial => end + (peak - end) * (left / decay).powf(f64::from(self.power)),
            ScheduleKind::Cosine => end + (peak - end) * (1.0 + (PI * (done / decay).min(1.0)).cos()) / 2.0,
            ScheduleKind::LinearCosine => {
                peak * (left / decay * (1.0 + (0.94 * PI * step as f64 / decay).cos()) / 2.0 + 1e-5)
            }
        };
        // A high power of little is 0 in f32, and no rate.
        (rate as f32).max(f32::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { steps_per_epoch: 10, epochs: 10 };

    #[track_caller]
    fn assert_rates(schedule: &Schedule, max: f32, expected: &[(usize, f64)]) {
        schedule.validate(max, SPAN.epochs).unwrap();
        for &(step, rate) in expected {
            let found = f64::from(schedule.rate(max, step, SPAN));
            // Computed in f64 and rounded once to f32.
            assert!((found - rate).abs() <= 1e-7 * rate, "step {step}: {found}, and {rate} was expected");
        }
    }

    #[test]
    fn constant_is_the_rate_itself() {
        let schedule = Schedule::default();
        assert!(schedule.is_constant());
        assert_eq!([0, 50, 99].map(|step| schedule.rate(0.1, step, SPAN)), [0.1; 3]);
        assert!(!schedule.warmup(1, 0.0).is_constant());
    }

    #[test]
    fn a_warmup_rises_in_a_line_and_its_last_step_has_the_full_rate() {
        let schedule = Schedule::default().warmup(2, 0.01);
        // 20 steps of 0.09 / 20.
        assert_rates(&schedule, 0.1, &[(0, 0.0145), (9, 0.055), (19, 0.1), (20, 0.1), (99, 0.1)]);
    }

    #[test]
    fn step_falls_behind_each_milestone() {
        let schedule = Schedule { milestones: vec![3, 6], ..Schedule::new(ScheduleKind::Step) };
        assert_rates(
            &schedule,
            0.5,
            &[(0, 0.5), (29, 0.5), (30, 0.05), (59, 0.05), (60, 0.005), (99, 0.005)],
        );
    }

    #[test]
    fn polynomial_falls_with_the_power_of_what_is_left() {
        let schedule = Schedule::new(ScheduleKind::Polynomial);
        assert_rates(&schedule, 0.5, &[(0, 0.5), (50, 0.125), (90, 0.005)]);
        let schedule = Schedule { power: 1.0, end: 0.125, ..schedule.warmup(2, 0.0) };
        // Half of the 80 steps behind the warm-up are left at step 60.
        assert_rates(&schedule, 0.5, &[(9, 0.25), (20, 0.5), (60, 0.3125)]);
    }

    #[test]
    fn cosine_is_half_way_in_the_middle() {
        let schedule = Schedule { end: 0.25, ..Schedule::new(ScheduleKind::Cosine) };
        let third = 0.25 + 0.25 * 0.75;
        assert_rates(&schedule.clone().warmup(1, 0.0), 0.5, &[(9, 0.5), (10, 0.5), (40, third), (55, 0.375)]);
        assert_rates(&schedule, 0.5, &[(0, 0.5), (50, 0.375), (100, 0.25)]);
    }

    /// Values that the model zoo's formula gives, worked out by a calculator of 12 digits.
    #[test]
    fn linear_cosine_is_the_model_zoo_s() {
        let schedule = Schedule::new(ScheduleKind::LinearCosine).warmup(5, 0.01);
        let span = Span { steps_per_epoch: 195, epochs: 180 };
        let rate = |step| f64::from(schedule.rate(0.1, step, span));
        let expected = [
            // .01 + .09 / 975
            (0, 0.010_092_307_692),
            (974, 0.1),
            // (34125 / 34125 * (1 + cos(0.94 pi * 975 / 34125)) / 2 + 1e-5) * 0.1
            (975, 0.099_823_130_406_8),
            (17_550, 0.027_053_384_233_8),
            (35_099, 1.007_948_323_63e-6),
        ];
        for (step, expected) in expected {
            assert!((rate(step) - expected).abs() < 1e-7 * expected, "{step}: {} {expected}", rate(step));
        }
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        let usual = Schedule::default;
        let cases = [
            (usual().warmup(10, 0.0), "schedule.warmup_epochs = 10"),
            (usual().warmup(1, 0.2), "schedule.warmup_from = 0.2"),
            (usual().warmup(1, -0.1), "schedule.warmup_from = -0.1"),
            (usual().warmup(1, f32::NAN), "schedule.warmup_from = NaN"),
            (Schedule::new(ScheduleKind::Step), "schedule.milestones = []"),
            (Schedule { milestones: vec![6, 3], ..usual() }, "schedule.milestones = [6, 3]"),
            (Schedule { milestones: vec![0], ..usual() }, "schedule.milestones = [0]"),
            (Schedule { gamma: 0.0, ..usual() }, "schedule.gamma = 0"),
            (Schedule { gamma: 1.5, ..usual() }, "schedule.gamma = 1.5"),
            (Schedule { power: -1.0, ..usual() }, "schedule.power = -1"),
            (Schedule { end: 0.2, ..usual() }, "schedule.end = 0.2"),
        ];
        for (schedule, part) in cases {
            let error = schedule.validate(0.1, 10).unwrap_err().to_string();
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }

    #[test]
    fn keys_of_other_kinds_are_found() {
        let schedule = Schedule { power: 1.0, end: 0.01, ..Schedule::new(ScheduleKind::Cosine) };
        assert_eq!(schedule.idle(), [("power", "1".to_string())]);
        let schedule = Schedule { milestones: vec![3], warmup_from: 0.1, ..Schedule::default() };
        assert_eq!(
            schedule.idle().iter().map(|(key, _)| *key).collect::<Vec<_>>(),
            ["milestones", "warmup_from"]
        );
        assert_eq!(Schedule::default().idle(), []);
    }
}
