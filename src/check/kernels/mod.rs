//! Kernels against plain functions on the host, over shapes that are odd, small, large, and drawn from a seed.

mod augment;
mod conv;
mod counter;
mod elementwise;
mod gemm;
mod learned_step;
mod loss;
mod momentum;
mod norm;
mod observation;
mod optim;
mod pool;
mod quantize;
mod random;
mod reduce;
mod tally;
mod ties;

use super::{Case, Trial};

pub(super) fn cases() -> Vec<Case> {
    [
        counter::CASES,
        random::CASES,
        elementwise::CASES,
        reduce::CASES,
        loss::CASES,
        tally::CASES,
        momentum::CASES,
        optim::CASES,
        augment::CASES,
        pool::CASES,
        gemm::CASES,
        conv::CASES,
        quantize::CASES,
        observation::CASES,
        learned_step::CASES,
        norm::CASES,
    ]
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
