//! Random numbers: the device's are the host's.

use super::super::{Case, Trial};
use crate::Result;
use crate::kernel::random::{Distribution, fill};
use crate::random::Philox;
use crate::shader_test::{Bound, Estimate};

const FAMILY: &str = "random numbers";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "uniform ones are the host's to the bit", uniform),
    Case::new(FAMILY, "normal ones are the host's but for rounding", normal),
];

/// Seeds and streams with bits in both halves, and some from the trial's seed.
fn streams(t: &Trial<'_>) -> [(u64, u64); 4] {
    let mut draw = t.draw(1);
    let mut word = || draw.between(0, u32::MAX as usize - 1) as u64;
    let drawn = (word() << 32 | word(), word() << 32 | word());
    [(0, 0), (7, 3), (0x0123_4567_89ab_cdef, 0xfedc_ba98_0000_0001), drawn]
}

fn uniform(t: &mut Trial<'_>) -> Result<()> {
    for (seed, stream) in streams(t) {
        for count in [1, 2, 5, 256, 1001] {
            let what = format!("{count} of seed {seed}, stream {stream}");
            let mut host = Philox::new(seed, stream);
            let expected: Vec<f32> = (0..count).map(|_| host.uniform()).collect();
            let found = fill(t.gpu(), [count], Distribution::Uniform, seed, stream)?.read_f32()?;
            t.numbers(&what, &found, &expected, Bound::Bits)?;
            t.that(format!("{what} lie in [0, 1)"), found.iter().all(|v| (0.0..1.0).contains(v)))?;
        }
    }
    Ok(())
}

/// How far a device may be off at each: the formula of Box and Muller, in the shader's order.
fn freedom(count: usize, seed: u64, stream: u64) -> Vec<f64> {
    let mut host = Philox::new(seed, stream);
    let pairs = (0..count.div_ceil(2)).map(|_| [host.uniform(), host.uniform()]);
    let each = pairs.flat_map(|[first, second]| {
        // 24 bits, so the difference is exact.
        let radius = (Estimate::exact(-2.0) * Estimate::exact(1.0 - f64::from(first)).ln()).sqrt();
        // A cosine and a sine are off by 2^-11 at most from -pi to pi, and the product that is the angle is rounded.
        let angle = Estimate::exact(std::f64::consts::TAU) * second.into();
        [(radius * angle.cos()).error, (radius * angle.sin()).error]
    });
    each.take(count).collect()
}

fn normal(t: &mut Trial<'_>) -> Result<()> {
    for (seed, stream) in streams(t) {
        for count in [1, 3, 1001] {
            let mut host = Philox::new(seed, stream);
            let expected: Vec<Estimate> = freedom(count, seed, stream)
                .into_iter()
                .map(|error| {
                    let value = host.normal();
                    // The host's number is rounded too.
                    Estimate { value: value.into(), error: error + 1e-7 * f64::from(value.abs()) }
                })
                .collect();
            let found = fill(t.gpu(), [count], Distribution::Normal, seed, stream)?;
            t.estimates(format!("{count} of seed {seed}, stream {stream}"), &found, &expected)?;
        }
    }
    Ok(())
}
