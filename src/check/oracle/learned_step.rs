//! Learned step size quantization on the host: values and the gradient of x in f32 and to the bit, sums in f64.

use crate::kernel::counter::FROZEN;
use crate::kernel::learned_step::{LEAST_STEP, StepRule, UNSET};
use crate::kernel::quantize::Observation;

/// One channel of a quantizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// What codes are multiplied with.
    pub scale: f32,
    /// Training steps seen, with the mark of frozen state.
    pub steps: u32,
}

/// Lowest and highest code, written out for the three kinds.
fn codes(rule: &StepRule) -> (f32, f32) {
    let half = 2f32.powi(rule.bits as i32 - 1);
    match (rule.signed, rule.narrow_range) {
        (true, false) => (-half, half - 1.0),
        (true, true) => (1.0 - half, half - 1.0),
        (false, _) => (0.0, 2.0 * half - 1.0),
    }
}

/// The step that values are rounded with; `None`: they pass.
pub type Step = Option<f32>;

impl Scale {
    /// As a quantizer starts.
    pub const START: Scale = Scale { scale: UNSET, steps: 0 };

    /// What the values tell a scale that is unset: 2 mean|x| / sqrt(highest code).
    pub fn told_by(x: &[f32], rule: &StepRule) -> f32 {
        let sum: f64 = x.iter().map(|&v| f64::from(v.abs())).sum();
        (2.0 * sum / x.len() as f64 / f64::from(codes(rule).1).sqrt()) as f32
    }

    /// The step of a pass, and what it does to the state.
    pub fn pass(&mut self, x: &[f32], rule: &StepRule, observation: Observation) -> Step {
        let (marked, count) = (self.steps & FROZEN != 0, self.steps & !FROZEN);
        let passes = match observation {
            Observation::Off => false,
            Observation::Train => {
                self.steps += 1;
                if count >= rule.delay && self.scale == UNSET && !marked {
                    self.scale = Scale::told_by(x, rule);
                }
                count < rule.delay
            }
            Observation::Calibrate { batch } => {
                self.steps = self.steps.max(1);
                if !marked {
                    let old = if batch == 0 { 0.0 } else { self.scale };
                    self.scale = old + (Scale::told_by(x, rule) - old) / (batch + 1) as f32;
                }
                true
            }
        };
        (!passes && self.scale != UNSET).then_some(self.scale.max(LEAST_STEP))
    }
}

/// The value at the nearest code, half up.
pub fn apply(x: f32, step: Step, rule: &StepRule) -> f32 {
    let (lowest, highest) = codes(rule);
    step.map_or(x, |step| (x / step + 0.5).floor().clamp(lowest, highest) * step)
}

/// The gradient of a value.
pub fn gradient(dy: f32, x: f32, step: Step, rule: &StepRule) -> f32 {
    let (lowest, highest) = codes(rule);
    let passes = step.is_none_or(|step| lowest < x / step && x / step < highest);
    if passes { dy } else { 0.0 }
}

/// How far a device's sum of so many terms may be off, relative to the sum of their sizes: half a unit in the last place for
/// each of the additions in the longest chain. At least four lanes take turns, so no chain is longer than a quarter of
/// the terms and the joins; what is computed before and after the sum adds a few more.
pub fn rounding(terms: usize) -> f32 {
    (terms as f32 / 4.0 + 80.0) * f32::EPSILON / 2.0
}

/// The gradient of a scale from the values that share it, and how far a device may be off.
pub fn scale_gradient(dy: &[f32], x: &[f32], step: Step, rule: &StepRule) -> (f32, f32) {
    let Some(step) = step else { return (0.0, 0.0) };
    let (lowest, highest) = codes(rule);
    let (mut sum, mut size, mut quotients) = (0.0, 0.0, 0.0);
    for (&x, &dy) in x.iter().zip(dy) {
        let place = x / step;
        let slope = match place {
            p if p <= lowest => lowest,
            p if p >= highest => highest,
            p => {
                quotients += f64::from(p * dy).abs();
                (p + 0.5).floor() - p
            }
        };
        let term = f64::from(slope) * f64::from(dy);
        sum += term;
        size += term.abs();
    }
    let factor = 1.0 / (x.len() as f64 * f64::from(highest)).sqrt();
    // A quotient may be off by 2.5 units in its last place (WGSL, accuracy of f32 division), and the host's by half of one;
    // what is left after the code is subtracted may be much smaller than the quotient.
    let off = f64::from(rounding(x.len())) * size + 3.0 * f64::from(f32::EPSILON) * quotients;
    ((sum * factor) as f32, (off * factor) as f32)
}
