//! Fake quantization on the host, in f32 and in the order of operations that the shaders promise: what the
//! device computes must be the same to the bit.

use crate::kernel::counter::FROZEN;
use crate::kernel::quantize::{GridRule, MOVING_AVERAGE_RATE, Observation, RangeObserver};

/// What a grid does to a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// y = x
    Passes,
    /// y is a point of the grid
    Quantizes,
    /// y = 0: the range is a point
    Vanishes,
}

/// Ends, step and action.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// The lower end.
    pub lo: f32,
    /// The upper end.
    pub hi: f32,
    /// The step.
    pub scale: f32,
    /// What is done.
    pub action: Action,
}

impl Grid {
    /// The grid of a range that holds zero.
    pub fn of(mut min: f32, mut max: f32, rule: &GridRule) -> Grid {
        if rule.symmetric {
            max = max.max(min.abs());
            min = -max;
        }
        let (qmin, qmax) = codes(rule);
        let scale = (max - min) / (qmax - qmin);
        // Also a range whose step is no normal number, before it is rounded to one: dividing by it could give NaN.
        if f64::from(max - min) / f64::from(qmax - qmin) < f64::from(f32::MIN_POSITIVE) {
            return Grid { lo: 0.0, hi: 0.0, scale: 0.0, action: Action::Vanishes };
        }
        // Half up, in f64, where adding a half is exact.
        let zero_point = (f64::from((qmin - min / scale).clamp(qmin, qmax)) + 0.5).floor() as f32;
        let (lo, hi) = ((qmin - zero_point) * scale, (qmax - zero_point) * scale);
        Grid { lo, hi, scale, action: Action::Quantizes }
    }

    /// The value on the grid, half up.
    pub fn apply(&self, x: f32) -> f32 {
        match self.action {
            Action::Passes => x,
            Action::Vanishes => 0.0,
            Action::Quantizes => {
                let index = ((x.clamp(self.lo, self.hi) - self.lo) / self.scale + 0.5).floor();
                // Two roundings: Rust never contracts a product and a sum.
                index * self.scale + self.lo
            }
        }
    }

    /// The straight-through gradient.
    pub fn gradient(&self, dy: f32, x: f32) -> f32 {
        if self.action == Action::Passes || (self.lo <= x && x <= self.hi) { dy } else { 0.0 }
    }

    /// As the device holds it.
    pub fn on_device(&self) -> [f32; 4] {
        [self.lo, self.hi, self.scale, self.action as u32 as f32]
    }
}

/// Lowest and highest code.
pub fn codes(rule: &GridRule) -> (f32, f32) {
    (if rule.narrow_range { 1.0 } else { 0.0 }, ((1u32 << rule.bits) - 1) as f32)
}

/// One channel of a quantizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The smallest value, at most 0.
    pub min: f32,
    /// The largest, at least 0.
    pub max: f32,
    /// Training steps seen, with the mark of frozen state.
    pub steps: u32,
}

impl Range {
    /// As a quantizer starts.
    pub const START: Range = Range { min: -6.0, max: 6.0, steps: 0 };

    /// A training step: moves the range and gives the grid of the step.
    pub fn observe(&mut self, batch: &[f32], rule: &GridRule) -> Grid {
        self.pass(batch, rule, Observation::Train)
    }

    /// Any pass: does to the range what is said, and gives the grid of the pass.
    pub fn pass(&mut self, batch: &[f32], rule: &GridRule, observation: Observation) -> Grid {
        let (marked, count) = (self.steps & FROZEN != 0, self.steps & !FROZEN);
        // Share of the batch; None: all of it.
        let (share, still, passes) = match observation {
            Observation::Off => return Grid::of(self.min, self.max, rule),
            Observation::Train => {
                let moving = rule.observer == RangeObserver::MovingAverage && count > 0;
                (moving.then_some(MOVING_AVERAGE_RATE), marked || count >= rule.freeze, count < rule.delay)
            }
            Observation::Calibrate { batch: 0 } => (None, marked, true),
            Observation::Calibrate { batch } => (Some(1.0 / (batch + 1) as f32), marked, true),
        };
        if !still {
            let mut low = batch.iter().copied().fold(f32::INFINITY, f32::min);
            let mut high = batch.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if let Some(share) = share {
                low = self.min + share * (low - self.min);
                high = self.max + share * (high - self.max);
            }
            (self.min, self.max) = (low.min(0.0), high.max(0.0));
            if rule.symmetric {
                self.max = self.max.max(-self.min);
                self.min = -self.max;
            }
        }
        let mut grid = Grid::of(self.min, self.max, rule);
        if passes {
            grid.action = Action::Passes;
        }
        self.steps = match observation {
            Observation::Calibrate { .. } => self.steps.max(1),
            _ => self.steps + 1,
        };
        grid
    }
}
