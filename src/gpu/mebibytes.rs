//! Sizes in messages, so rounded that what was asked for never reads like the limit that it is above.

const TENTH: f64 = (1u64 << 20) as f64 / 10.0;

/// What somebody asked for: MiB with one decimal, rounded up. In floating point, since a shape's product may be more than
/// integers hold.
pub(crate) fn asked(bytes: f64) -> String {
    text((bytes / TENTH).ceil())
}

/// What there is: MiB with one decimal, rounded down.
pub(crate) fn available(bytes: u64) -> String {
    text((bytes as f64 / TENTH).floor())
}

fn text(tenths: f64) -> String {
    format!("{:.1} MiB", tenths / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_above_a_limit_reads_larger() {
        for limit in [(1 << 31) - 256, 1 << 31, 1 << 27, (1 << 27) - 4, 100_000_000] {
            assert_ne!(asked((limit + 4) as f64), available(limit), "{limit}");
        }
        assert_eq!(
            (asked((1u64 << 31) as f64), available((1 << 31) - 256)),
            ("2048.0 MiB".into(), "2047.9 MiB".into())
        );
        assert_eq!((asked(4.0), available(1 << 20)), ("0.1 MiB".into(), "1.0 MiB".into()));
    }
}
