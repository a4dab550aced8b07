//! Rounding that is the same on every system.

/// The nearest whole number; halves go away from zero.
///
/// `round` of Rust is the C library's, and mingw's, for Windows, takes the last number below one half for a half.
pub(crate) fn half_away(value: f64) -> f64 {
    let whole = value.trunc();
    // The difference is exact.
    if (value - whole).abs() >= 0.5 { whole + value.signum() } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_away_from_zero_and_what_is_less_does_not() {
        let below = 0.5f64.next_down();
        let cases = [
            (0.0, 0.0),
            (below, 0.0),
            (0.5, 1.0),
            (1.5f64.next_down(), 1.0),
            (1.5, 2.0),
            (2.5, 3.0),
            (f64::from(0.5f32.next_down()), 0.0),
            // Odd, and with no bit below one.
            (4_503_599_627_370_497.0, 4_503_599_627_370_497.0),
            (f64::INFINITY, f64::INFINITY),
        ];
        for (value, rounded) in cases {
            assert_eq!((half_away(value), half_away(-value)), (rounded, -rounded), "{value:e}");
        }
        assert!(half_away(f64::NAN).is_nan());
    }
}
