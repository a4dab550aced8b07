//! What kernels should compute, on the host: quantizers in f32 and in the order of operations that the shaders promise,
//! so that the device must give the same bits; normalizations in f64.

pub mod fake_quant;
pub mod learned_step;
pub mod norm;

/// f32 values in f64.
pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

/// The norm of a tensor.
pub fn norm_of(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The distance of two tensors by their norms, relative to the second's, or to `size` if that is larger: sums that cancel
/// are small beside what was added, and rounding is relative to that. Infinite if one is not a number, or if their lengths
/// differ.
pub fn relative_error(actual: &[f32], expected: &[f64], size: f64) -> f64 {
    if actual.len() != expected.len() {
        return f64::INFINITY;
    }
    let off = norm_of(actual.iter().zip(expected).map(|(a, e)| f64::from(*a) - e));
    match off {
        0.0 => 0.0,
        off if off.is_nan() => f64::INFINITY,
        off => off / norm_of(expected.iter().copied()).max(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_error_is_by_the_norm_and_infinite_where_nothing_compares() {
        let error = |size| relative_error(&[3.0, 4.5], &[3.0, 4.0], size);
        assert_eq!([0.0, 4.0, 10.0].map(error), [0.1, 0.1, 0.05]);
        assert_eq!(relative_error(&[0.0], &[0.0], 0.0), 0.0);
        for (actual, expected) in [(&[f32::NAN][..], &[1.0][..]), (&[1.0], &[0.0]), (&[1.0], &[1.0, 1.0])] {
            assert_eq!(relative_error(actual, expected, 0.0), f64::INFINITY, "{actual:?}");
        }
    }
}
