//! From sums to codes: multiplying by a number below or above 1 in integers alone.

use crate::rounding::half_away;
use crate::{Error, Result};

/// A positive factor as `mantissa / 2^shift`, the mantissa of 31 bits (Jacob et al. 2018, arXiv 1712.05877, section 2.2).
///
/// A product is exact (64 bits) and rounded once, half away from zero: the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier {
    /// From 2^30 to 2^31 - 1; or 0, for a factor so small that every product rounds to 0.
    pub mantissa: u32,
    /// From 1 to 62.
    pub shift: u32,
}

impl Multiplier {
    /// Nearest to `factor`.
    ///
    /// # Errors
    /// Where the factor is not above 0 and, with the mantissa's 31 bits, below 2^30.
    pub fn new(factor: f64) -> Result<Multiplier> {
        let [multiplier] = Multiplier::sharing([factor])?;
        Ok(multiplier)
    }

    /// Multipliers of one shift, so that products can be added up before the one rounding ([`Multiplier::round`]). The
    /// largest has 31 bits.
    ///
    /// # Errors
    /// As [`Multiplier::new`].
    pub fn sharing<const N: usize>(factors: [f64; N]) -> Result<[Multiplier; N]> {
        let largest = factors.iter().fold(0.0f64, |most, &factor| most.max(factor));
        let usable = |factor: &f64| factor.is_normal() && *factor > 0.0 && *factor < f64::from(1u32 << 30);
        let refuse = |factor: f64| {
            Err(Error::Invalid(format!(
                "its input's scale over its output's makes a factor of {factor}, which is not between 0 and 2^30"
            )))
        };
        if let Some(factor) = factors.iter().find(|factor| !usable(factor)) {
            return refuse(*factor);
        }
        // The exponent e with largest in [2^(e-1), 2^e), exactly: no logarithm, which platforms round differently.
        let exponent = ((largest.to_bits() >> 52) & 0x7ff) as i32 - 1022;
        let mut shift = 31 - exponent;
        // Powers of two multiply exactly.
        let mut mantissas = factors.map(|factor| half_away(factor * 2f64.powi(shift)));
        if mantissas.iter().any(|&mantissa| mantissa >= f64::from(1u32 << 31)) {
            shift -= 1;
            mantissas = factors.map(|factor| half_away(factor * 2f64.powi(shift)));
        }
        // With 31 bits it is 2^30 itself, and nothing would be rounded off.
        if shift < 1 {
            return refuse(largest);
        }
        // Any sum of 31 bits times less than 2^-32 is less than a half.
        let vanishes = shift > 62;
        Ok(mantissas.map(|mantissa| Multiplier {
            mantissa: if vanishes { 0 } else { mantissa as u32 },
            shift: if vanishes { 1 } else { shift as u32 },
        }))
    }

    /// `sum * mantissa / 2^shift`, rounded half away from zero.
    pub fn apply(self, sum: i32) -> i32 {
        self.round(i64::from(sum) * i64::from(self.mantissa))
    }

    /// A sum of products over 2^shift, rounded half away from zero; what i32 cannot hold gets its nearest end.
    pub fn round(self, product: i64) -> i32 {
        let half = 1u64 << (self.shift - 1);
        let magnitude = (product.unsigned_abs() + half) >> self.shift;
        let rounded = if product < 0 { -(magnitude as i64) } else { magnitude as i64 };
        rounded.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_away_from_zero() {
        let half = Multiplier::new(0.5).unwrap();
        assert_eq!((half.mantissa, half.shift), (1 << 30, 31));
        let rounded = [-3, -2, -1, 0, 1, 2, 3].map(|sum| half.apply(sum));
        assert_eq!(rounded, [-2, -1, -1, 0, 1, 1, 2]);
    }

    #[test]
    fn the_ends_hold() {
        let largest = Multiplier::new(f64::from((1u32 << 30) - 1)).unwrap();
        assert_eq!([i32::MIN, i32::MAX].map(|sum| largest.apply(sum)), [i32::MIN, i32::MAX]);
        let smallest = Multiplier::new(2f64.powi(-32)).unwrap();
        assert_eq!(smallest.shift, 62);
        assert_eq!([i32::MIN, i32::MIN + 1, i32::MAX].map(|sum| smallest.apply(sum)), [-1, 0, 0]);
        let vanishing = Multiplier::new(2f64.powi(-33)).unwrap();
        assert_eq!([i32::MIN, i32::MAX].map(|sum| vanishing.apply(sum)), [0, 0]);
        // The last is below 2^30, but not with 31 bits.
        let almost = f64::from(1u32 << 30) - 2f64.powi(-20);
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::from(1u32 << 30), almost] {
            assert!(Multiplier::new(factor).is_err(), "{factor}");
        }
    }

    #[test]
    fn a_mantissa_that_rounds_up_to_32_bits_stays_at_31() {
        let multiplier = Multiplier::new(1.0 - 2f64.powi(-40)).unwrap();
        assert_eq!((multiplier.mantissa, multiplier.shift), (1 << 30, 30));
    }

    #[test]
    fn shared_shifts_go_by_the_largest() {
        let [large, small] = Multiplier::sharing([0.75, 0.001]).unwrap();
        assert_eq!((large.shift, small.shift), (31, 31));
        assert_eq!(small.mantissa, half_away(0.001 * 2f64.powi(31)) as u32);
    }
}
