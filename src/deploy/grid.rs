//! Codes of a tensor, and the numbers that they stand for.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The codes of a tensor: `code` stands for `scale * (code - zero_point)`.
///
/// Codes are signed: where the simulated network counts from 0 to 2^bits - 1, 2^(bits - 1) is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Distance of the numbers that neighbouring codes stand for; positive, and so small that all of these are finite.
    pub scale: f32,
    /// The code of 0.
    pub zero_point: i8,
    /// The lowest code in use.
    pub low: i8,
    /// The highest code in use.
    pub high: i8,
}

impl Grid {
    /// What a code stands for.
    pub fn value(&self, code: i8) -> f32 {
        (i32::from(code) - i32::from(self.zero_point)) as f32 * self.scale
    }

    /// The code nearest to `value`, half up; what lies beyond the ends, and NaN, gets an end's code.
    ///
    /// The formula and the order of its roundings are those of the fake quantizer (`quant/round.wgsl`), so that codes of a
    /// network's input agree with the simulated network's.
    pub fn code(&self, value: f32) -> i8 {
        self.coder()(value)
    }

    /// [`Grid::code`] for many values: what it needs is looked up once, which compilers do not see through a reference.
    pub fn codes(&self, values: &[f32]) -> Vec<i8> {
        let code = self.coder();
        values.iter().map(|&value| code(value)).collect()
    }

    fn coder(&self) -> impl Fn(f32) -> i8 + use<> {
        let [first, last] = [self.value(self.low), self.value(self.high)];
        let (scale, low, high) = (self.scale, i32::from(self.low), i32::from(self.high));
        move |value| {
            // A minimum of maxima, as WGSL's clamp, which sends NaN to an end.
            let inside = value.max(first).min(last);
            // Never negative, so cutting off is rounding down, and compilers find vectors for it.
            let index = ((inside - first) / scale + 0.5) as i32;
            // From 0 to 255: the sum fits.
            (low + index).min(high) as i8
        }
    }

    /// Fails where there is no such grid, in words that go behind the name of a layer.
    ///
    /// # Errors
    /// Where the scale is not a positive number, codes stand for numbers beyond f32, or they are out of order.
    pub fn check(&self) -> Result<()> {
        if !(self.scale.is_normal() && self.scale > 0.0) {
            return Err(Error::Invalid(format!(
                "a scale of {} is no distance between codes; scales are positive, finite numbers",
                self.scale
            )));
        }
        if !(self.low..=self.high).contains(&self.zero_point) {
            return Err(Error::Invalid(format!(
                "its codes go from {} to {}, and its zero point {} is none of them",
                self.low, self.high, self.zero_point
            )));
        }
        // The distance of both ends, which is more than either's from zero.
        if !(self.scale * (f32::from(self.high) - f32::from(self.low))).is_finite() {
            return Err(Error::Invalid(format!(
                "with a scale of {}, codes from {} to {} stand for numbers that f32 cannot hold; take a smaller scale",
                self.scale, self.low, self.high
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { scale: 0.25, zero_point: -100, low: -128, high: 127 };

    #[test]
    fn codes_are_nearest_half_up_and_end_at_the_ends() {
        let codes = [0.0, 0.1, 0.125, -0.125, -0.126, -7.0, -7.2, 56.75, 57.0, f32::MAX, -f32::INFINITY]
            .map(|value| GRID.code(value));
        assert_eq!(codes, [-100, -100, -99, -100, -101, -128, -128, 127, 127, 127, -128]);
        assert_eq!(GRID.code(f32::NAN), -128);
    }

    #[test]
    fn every_code_comes_back() {
        for code in i8::MIN..=i8::MAX {
            assert_eq!(GRID.code(GRID.value(code)), code);
            assert_eq!(GRID.codes(&[GRID.value(code); 3]), [code; 3]);
        }
    }

    #[test]
    fn a_scale_that_is_no_distance_is_refused() {
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-45] {
            let message = Grid { scale, ..GRID }.check().unwrap_err().to_string();
            assert!(message.contains(&scale.to_string()), "{message}");
        }
        assert!(Grid { low: -90, ..GRID }.check().is_err());
        let message = Grid { scale: 1e37, ..GRID }.check().unwrap_err().to_string();
        assert!(message.contains("10000000000000000000000000000000000000,"), "{message}");
        assert!(Grid { scale: 1e36, ..GRID }.check().is_ok());
        assert!(GRID.check().is_ok());
    }
}
