//! Numbers as a shader computes them: each with how far off a device may be that keeps to WGSL.
//!
//! The errors are those of the table of accuracies for f32 in WGSL, section "Floating Point Accuracy", which agrees with
//! Vulkan's in "Precision and Operation of SPIR-V Instructions". A result that is "correctly rounded" there may be either
//! neighbour of the exact one, so it is off by up to a whole unit in the last place, and results below the smallest normal
//! number may become 0. A device may fuse a product and a sum, which takes an error away and adds none.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A unit in the last place of a number, as a share of the number: at most this.
const UNIT: f64 = 1.0 / (1u32 << 23) as f64;

/// What a device computes for a formula: write the formula of the shader with these, and the bound comes along.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The exact value.
    pub value: f64,
    /// How far from it the device may be.
    pub error: f64,
}

impl Estimate {
    /// A number that is as it is: an input, or a result of whole numbers.
    pub const fn exact(value: f64) -> Self {
        Estimate { value, error: 0.0 }
    }

    /// The result of an operation that is off by `units`, on operands that were off so much that it is `inherited`.
    fn rounded(value: f64, inherited: f64, units: f64) -> Self {
        let size = value.abs() + inherited;
        Estimate { value, error: inherited + units * UNIT * size + f64::from(f32::MIN_POSITIVE) }
    }

    /// The sum of these in any order: a term may go through as many additions as there are others.
    pub fn sum(terms: impl IntoIterator<Item = Estimate>) -> Self {
        Estimate::sum_by(usize::MAX, terms)
    }

    /// The sum of these if no term goes through more than `longest` additions, as in a tree, or in lanes that join their sums.
    /// No partial sum is larger than the sum of the sizes, and rounding is relative to that (Higham 2002, "Accuracy and
    /// Stability of Numerical Algorithms", section 4.2).
    pub fn sum_by(longest: usize, terms: impl IntoIterator<Item = Estimate>) -> Self {
        let (mut count, mut value, mut size, mut inherited) = (0usize, 0.0, 0.0, 0.0);
        for term in terms {
            count += 1;
            value += term.value;
            size += term.value.abs() + term.error;
            inherited += term.error;
        }
        let additions = longest.min(count.saturating_sub(1));
        Estimate { value, error: inherited + many(additions as f64) * size }
    }

    /// A sum of `terms` products of exact numbers in any order, whose sizes add up to `size`: with its product, each term goes
    /// through `terms` roundings at most.
    pub fn dot(value: f64, size: f64, terms: usize) -> Self {
        Estimate { value, error: many(terms as f64) * size }
    }

    /// e to its power: 3 + 2 |x| units.
    pub fn exp(self) -> Self {
        let value = self.value.exp();
        Estimate::rounded(value, value * self.error.exp_m1(), 3.0 + 2.0 * (self.value.abs() + self.error))
    }

    /// The natural logarithm: 2^-21 from 0.5 to 2, elsewhere 3 units.
    pub fn ln(self) -> Self {
        let value = self.value.ln();
        let inherited = value - (self.value - self.error).ln();
        if self.value + self.error >= 0.5 && self.value - self.error <= 2.0 {
            return Estimate { value, error: inherited + 2f64.powi(-21) };
        }
        Estimate::rounded(value, inherited, 3.0)
    }

    /// The square root: as 1 / inverseSqrt(x), which are 2 units and 2.5.
    pub fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        let [below, above] = [self.value - self.error, self.value + self.error].map(|x| x.max(0.0).sqrt());
        // Near zero the side above is the longer one.
        Estimate::rounded(value, (value - below).max(above - value), 5.0)
    }

    /// The hyperbolic tangent: 10^-5, or as sinh(x) / cosh(x), whichever is worse. Up to 10 the former is.
    pub fn tanh(self) -> Self {
        Estimate { value: self.value.tanh(), error: self.error + 1e-5 }
    }

    /// The cosine of an angle from -pi to pi: 2^-11.
    pub fn cos(self) -> Self {
        Estimate { value: self.value.cos(), error: self.error + 2f64.powi(-11) }
    }

    /// The sine of an angle from -pi to pi: 2^-11.
    pub fn sin(self) -> Self {
        Estimate { value: self.value.sin(), error: self.error + 2f64.powi(-11) }
    }

    /// Its size.
    pub fn abs(self) -> Self {
        Estimate { value: self.value.abs(), error: self.error }
    }

    /// Held between two numbers.
    pub fn clamp(self, low: f64, high: f64) -> Self {
        Estimate { value: self.value.clamp(low, high), error: self.error }
    }
}

/// So many roundings one after the other, as a share.
fn many(count: f64) -> f64 {
    count * UNIT / (1.0 - count * UNIT)
}

impl From<f32> for Estimate {
    fn from(value: f32) -> Self {
        Estimate::exact(value.into())
    }
}

impl Neg for Estimate {
    type Output = Self;

    fn neg(self) -> Self {
        Estimate { value: -self.value, ..self }
    }
}

impl Add for Estimate {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Estimate::rounded(self.value + other.value, self.error + other.error, 1.0)
    }
}

impl Sub for Estimate {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Estimate {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let inherited = self.error * other.value.abs() + (self.value.abs() + self.error) * other.error;
        Estimate::rounded(self.value * other.value, inherited, 1.0)
    }
}

/// 2.5 units, whether the result is exact or not.
impl Div for Estimate {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        let inherited = (self.error + value.abs() * other.error) / (other.value.abs() - other.error).max(0.0);
        Estimate::rounded(value, inherited, 2.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Philox;

    /// The host rounds to the nearest, and its functions are good to a unit: it is a device that keeps to WGSL.
    #[test]
    fn the_host_keeps_to_the_bounds_and_they_are_not_wide() {
        let mut random = Philox::new(3, 1);
        type Formula = (fn(f32, f32) -> f32, fn(Estimate, Estimate) -> Estimate, f64);
        let formulas: [Formula; 7] = [
            (|a, b| (a - b) * (a + b), |a, b| (a - b) * (a + b), 1e-5),
            (|a, b| a / (b * b + 1.0), |a, b| a / (b * b + Estimate::exact(1.0)), 1e-5),
            (
                |a, _| 1.0 / (1.0 + (-a).exp()),
                |a, _| Estimate::exact(1.0) / (Estimate::exact(1.0) + (-a).exp()),
                1e-5,
            ),
            (|a, _| (a.abs() + 0.1).ln(), |a, _| (a.abs() + Estimate::from(0.1f32)).ln(), 1e-5),
            (|a, b| (a * a + b * b).sqrt(), |a, b| (a * a + b * b).sqrt(), 1e-5),
            (|a, b| (a + b).tanh(), |a, b| (a + b).tanh(), 2e-5),
            (|a, b| a * b.cos() + b * a.sin(), |a, b| a * b.cos() + b * a.sin(), 5e-3),
        ];
        for (number, (host, estimate, width)) in formulas.into_iter().enumerate() {
            for _ in 0..1000 {
                let [a, b] = [0, 1].map(|_| random.uniform() * 6.0 - 3.0);
                let found = f64::from(host(a, b));
                let bound = estimate(a.into(), b.into());
                assert!(
                    (found - bound.value).abs() <= bound.error,
                    "{number} of {a}, {b}: {found} {bound:?}"
                );
                assert!(bound.error <= width * (1.0 + bound.value.abs()), "{number} of {a}, {b}: {bound:?}");
            }
        }
    }

    /// What the table allows and the host does not do: directed rounding, and a division that is off by two units.
    #[test]
    fn the_whole_freedom_of_a_device_is_allowed() {
        let (a, b) = (1.0f32 / 3.0, 3.0f32);
        let up = |v: f64, units: u32| f64::from(f32::from_bits((v as f32).to_bits() + units));
        let sum = Estimate::from(a) + b.into();
        assert!((up(sum.value, 1) - sum.value).abs() <= sum.error);
        let quotient = Estimate::from(b) / a.into();
        assert!((up(quotient.value, 2) - quotient.value).abs() <= quotient.error);
        // Cut off at every addition, a sum is too small by up to a unit of it each time.
        let terms = [0.1f32; 1000];
        let cut = terms.iter().fold(0.0f64, |sum, &v| {
            let sum = sum + f64::from(v);
            let near = f64::from(sum as f32);
            if near > sum { f64::from(f32::from_bits((sum as f32).to_bits() - 1)) } else { near }
        });
        let sum = Estimate::sum(terms.map(Estimate::from));
        assert!((cut - sum.value).abs() <= sum.error && sum.error < 0.02, "{cut} {sum:?}");
        // In a tree, the same terms go through ten additions each.
        let tree = Estimate::sum_by(10, terms.map(Estimate::from));
        assert!(tree.value == sum.value && tree.error < 1.3e-4, "{tree:?}");
    }
}
