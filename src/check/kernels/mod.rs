//! Kernels against plain functions on the host, over shapes that are odd, small, large, and drawn from a seed.

mod learned_step;
mod norm;
mod observation;
mod pool;
mod quantize;

use super::{Case, Trial};

pub(super) fn cases() -> Vec<Case> {
    [pool::CASES, quantize::CASES, observation::CASES, learned_step::CASES, norm::CASES]
        .into_iter()
        .flatten()
        .copied()
        .collect()
}

/// Values with both signs, up to 3 in size.
fn values(t: &Trial<'_>, count: usize, stream: u64) -> Vec<f32> {
    t.draw(stream).numbers(count, -3.0, 3.0)
}

/// Whole numbers from -2 to 2: equal values are common, and sums are exact in any order.
fn whole(t: &Trial<'_>, count: usize, stream: u64) -> Vec<f32> {
    t.draw(stream).whole_numbers(count, 2)
}
