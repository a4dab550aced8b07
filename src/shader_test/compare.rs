//! How far computed values are from the expected ones.

use std::fmt::Display;

use super::Estimate;
use crate::{Error, Result};

/// How far a value may be from the expected one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Not at all: the same bits. Both zeros are different, and so are two NaNs with other bits.
    Bits,
    /// The same number: both zeros are one.
    Equal,
    /// So many units in the last place of the expected value.
    Ulps(u32),
    /// `relative * |expected| + absolute`.
    Within {
        /// Share of the expected value's size.
        relative: f32,
        /// What is allowed besides.
        absolute: f32,
    },
}

impl Bound {
    /// The distance that is allowed from `expected`.
    pub fn allowed(self, expected: f32) -> f64 {
        match self {
            Bound::Bits | Bound::Equal => 0.0,
            Bound::Ulps(units) => f64::from(units) * ulp(expected),
            Bound::Within { relative, absolute } => {
                f64::from(relative) * f64::from(expected).abs() + f64::from(absolute)
            }
        }
    }

    fn is_met(self, actual: f32, expected: f32) -> bool {
        match self {
            _ if actual.to_bits() == expected.to_bits() => true,
            Bound::Bits => false,
            Bound::Equal => actual == expected,
            // Any NaN but the one that stands where nothing was written.
            _ if expected.is_nan() => actual.is_nan() && actual.to_bits() != crate::gpu::POISON,
            // Infinities are met by themselves alone.
            _ => {
                actual == expected
                    || distance(actual, expected) <= self.allowed(expected) && expected.is_finite()
            }
        }
    }
}

/// The distance of two neighbours at `value`; of the smallest ones, that at the smallest normal number, since a device
/// may take denormal numbers for zero.
fn ulp(value: f32) -> f64 {
    let exponent = (value.abs().max(f32::MIN_POSITIVE).to_bits() >> 23) as i32 - 127;
    2f64.powi(exponent - 23)
}

fn distance(actual: f32, expected: f32) -> f64 {
    if actual == expected { 0.0 } else { (f64::from(actual) - f64::from(expected)).abs() }
}

/// The worst of many comparisons: how far off a value was, and how far it might have been.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// Distance from what was expected.
    pub error: f64,
    /// Distance that was allowed there.
    pub bound: f64,
}

impl Deviation {
    /// The distance as a share of what is allowed: at most 1 if the bound is met.
    pub fn share(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.bound }
    }

    /// The one of both that comes nearer to its bound; of two without any error, the one that had more freedom.
    pub fn worse(self, other: Deviation) -> Deviation {
        let key = |d: &Deviation| (d.share(), d.error, d.bound);
        if key(&other) > key(&self) { other } else { self }
    }
}

/// Holds values against the expected ones, and answers how near the worst came to its bound.
///
/// # Errors
/// If a value is farther off than `bound` allows, or is NaN where no NaN is expected, or there are more or fewer
/// values. The message names `what`, how many are wrong, and the worst.
pub fn compare(what: impl Display, actual: &[f32], expected: &[f32], bound: Bound) -> Result<Deviation> {
    judge(what, actual, expected.len(), |at| {
        let (a, e) = (actual[at], expected[at]);
        Judgement {
            expected: e,
            own: Deviation { error: distance(a, e), bound: bound.allowed(e) },
            is_met: bound.is_met(a, e),
            is_same: a.to_bits() == e.to_bits(),
        }
    })
}

/// As [`compare`], where each expected value has a bound of its own.
///
/// # Errors
/// As [`compare`].
pub fn compare_estimates(what: impl Display, actual: &[f32], expected: &[Estimate]) -> Result<Deviation> {
    judge(what, actual, expected.len(), |at| {
        let (a, e) = (actual[at], expected[at]);
        let own = Deviation { error: (f64::from(a) - e.value).abs(), bound: e.error };
        let is_met = own.error <= own.bound && own.bound.is_finite();
        Judgement { expected: e.value as f32, own, is_met, is_same: own.error == 0.0 }
    })
}

/// One value.
struct Judgement {
    expected: f32,
    own: Deviation,
    is_met: bool,
    is_same: bool,
}

fn judge(
    what: impl Display,
    actual: &[f32],
    expected: usize,
    judgement: impl Fn(usize) -> Judgement,
) -> Result<Deviation> {
    let all = actual.len();
    if all != expected {
        return Err(Error::Mismatch(format!("{what}: there are {all} values, and {expected} are expected")));
    }
    let mut deviation = Deviation::default();
    let mut wrong: Option<(usize, f64)> = None;
    let mut count = 0;
    for at in 0..all {
        let Judgement { own, is_met, is_same, .. } = judgement(at);
        if is_met {
            if !is_same || own.bound > deviation.bound {
                deviation = deviation.worse(own);
            }
            continue;
        }
        count += 1;
        // Of all that are wrong, the farthest off; a NaN is farther than any number.
        let far = if own.error.is_nan() { f64::INFINITY } else { own.error };
        if wrong.is_none_or(|(_, farthest)| far > farthest) {
            wrong = Some((at, far));
        }
    }
    let Some((at, _)) = wrong else { return Ok(deviation) };
    let a = actual[at];
    let Judgement { expected, own, .. } = judgement(at);
    let unwritten = if a.to_bits() == crate::gpu::POISON { " (nothing was written there)" } else { "" };
    let within = if own.bound > 0.0 { format!(" within {:.1e}", own.bound) } else { String::new() };
    Err(Error::Mismatch(format!(
        "{what}: {count} of {all} values are wrong; value {at} is {a:e}{unwritten}, expected {expected:e}{within}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Bound = Bound::Within { relative: 1e-3, absolute: 0.0 };

    #[test]
    fn bounds_are_met_up_to_their_edge() {
        let next = f32::from_bits(1.0f32.to_bits() + 1);
        assert!(compare("", &[next], &[1.0], Bound::Ulps(1)).is_ok());
        assert!(compare("", &[f32::from_bits(next.to_bits() + 1)], &[1.0], Bound::Ulps(1)).is_err());
        assert!(compare("", &[-0.0], &[0.0], Bound::Bits).is_err());
        assert!(compare("", &[-0.0], &[0.0], Bound::Equal).is_ok());
        let found = compare("", &[1.0, 2.001], &[1.0, 2.0], NEAR).unwrap();
        assert!((found.share() - 0.5).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn what_is_no_number_is_met_by_nothing_else() {
        for (actual, expected) in
            [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, f32::MAX), (1.0, f32::INFINITY)]
        {
            assert!(compare("", &[actual], &[expected], NEAR).is_err(), "{actual} for {expected}");
        }
        assert!(compare("", &[f32::INFINITY], &[f32::INFINITY], NEAR).is_ok());
        assert!(compare("", &[-f32::NAN], &[f32::NAN], NEAR).is_ok());
        assert!(compare("", &[f32::from_bits(crate::gpu::POISON)], &[f32::NAN], NEAR).is_err());
    }

    #[test]
    fn an_estimate_is_met_up_to_its_own_bound() {
        let expected = [Estimate { value: 1.0, error: 0.5 }, Estimate::exact(2.0)];
        let found = compare_estimates("", &[1.25, 2.0], &expected).unwrap();
        assert_eq!(found, Deviation { error: 0.25, bound: 0.5 });
        for wrong in [[1.75, 2.0], [1.0, 2.000001], [f32::NAN, 2.0], [1.0, f32::INFINITY]] {
            assert!(compare_estimates("", &wrong, &expected).is_err(), "{wrong:?}");
        }
        assert!(compare_estimates("", &[1.0], &expected).is_err(), "one is missing");
        let nothing = Estimate { value: f64::NAN, error: f64::INFINITY };
        assert!(compare_estimates("", &[1.0], &[nothing]).is_err(), "a bound that holds nothing is no bound");
    }

    #[test]
    fn the_message_names_the_worst_of_the_wrong() {
        let error = compare("sum", &[1.0, 5.0, 3.0], &[1.0, 2.0, 4.0], NEAR).unwrap_err().to_string();
        assert_eq!(error, "sum: 2 of 3 values are wrong; value 1 is 5e0, expected 2e0 within 2.0e-3");
        let poison = f32::from_bits(crate::gpu::POISON);
        let error = compare("sum", &[5.0, poison], &[1.0, 2.0], NEAR).unwrap_err().to_string();
        assert!(error.contains("value 1") && error.contains("nothing was written"), "{error}");
    }
}
