//! What becomes of gradients between backward and the update: sums over the passes of a step, and clipping by their norm.

use super::catalogue::{Entry, entry};
use super::loss::{HISTORY, expect_progress};
use super::params::params;
use super::{at_least, extent, same_shape, spread};
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

params!(AccumulateParams { vectors: u32, stride: u32 });
params!(SquareParams { count: u32, groups: u32, place: u32 });
params!(ClipParams { count: u32, passes: u32, limit: f32 });

/// Invocations of a workgroup, and vectors that each takes before there is another workgroup, of which there are not many:
/// their sums are added up by one workgroup.
const SIZE: usize = 64;
const VECTORS_EACH: usize = 8;
const MOST_PARTIALS: usize = 256;

fn accumulate_shader(unroll: u32) -> ShaderSpec {
    ShaderSpec::new("optim/accumulate.wgsl").with("unroll", unroll)
}

fn square_shader() -> ShaderSpec {
    ShaderSpec::new("optim/square_sums.wgsl")
}

fn clip_shader() -> ShaderSpec {
    ShaderSpec::new("optim/clip.wgsl").with("capacity", HISTORY as u32)
}

/// Adds a pass's gradient to `total`, or puts it there where the pass is the first of its step by `progress`; see
/// [`super::loss::tally`], which comes before.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn accumulate(gradient: &Tensor, total: &Tensor, progress: &Tensor) -> Result<()> {
    same_shape("a gradient and its sum", gradient.shape(), total.shape())?;
    gradient.expect(DType::F32)?;
    total.expect(DType::F32)?;
    at_least("the progress of a step", progress, DType::U32, 4)?;
    let vectors = gradient.count().div_ceil(4);
    let (unroll, threads) = spread(vectors);
    gradient
        .gpu()
        .launch(accumulate_shader(unroll))
        .bind(gradient.buffer())
        .bind(progress.buffer())
        .bind(total.buffer())
        .params(&AccumulateParams {
            vectors: extent(vectors, "the size of a gradient")?,
            stride: threads as u32,
        })
        .threads(threads, 64)
}

/// How many partial sums [`square_sums`] makes of `count` values.
pub fn partial_sums(count: usize) -> usize {
    count.div_ceil(4).div_ceil(SIZE * VECTORS_EACH).clamp(1, MOST_PARTIALS)
}

/// Writes the partial sums of squares of a gradient to `partials` (f32, one axis), from `place` on.
///
/// # Errors
/// Where they do not fit there, or the device has failed.
pub fn square_sums(gradient: &Tensor, partials: &Tensor, place: usize) -> Result<()> {
    let groups = partial_sums(gradient.count());
    gradient.expect(DType::F32)?;
    partials.expect(DType::F32)?;
    if place.checked_add(groups).is_none_or(|end| end > partials.count()) {
        return Err(Error::Shape(format!(
            "{groups} partial sums from place {place} on do not fit into {}",
            partials.count()
        )));
    }
    let groups = groups as u32;
    gradient
        .gpu()
        .launch(square_shader())
        .bind(gradient.buffer())
        .bind(partials.buffer())
        .params(&SquareParams {
            count: extent(gradient.count(), "the size of a gradient")?,
            groups,
            place: extent(place, "the number of partial sums")?,
        })
        .groups([groups, 1, 1])
}

/// From all partial sums of squares: the norm, into the step's entry of `history`, and min(1, limit / (norm + 1e-6)) into
/// `factor` (f32 `[1]`) for the update. Where the norm is not finite, `progress` is halted before the step, whose `passes`
/// are taken back; see [`super::loss::tally`], which comes before.
///
/// # Errors
/// Where a shape is another, or the device has failed.
pub fn clip(
    partials: &Tensor,
    factor: &Tensor,
    history: &Tensor,
    progress: &Tensor,
    passes: usize,
    limit: f32,
) -> Result<()> {
    expect_progress(history, progress)?;
    partials.expect(DType::F32)?;
    at_least("the factor of the gradients", factor, DType::F32, 1)?;
    let count = extent(partials.count(), "the number of partial sums")?;
    let passes = extent(passes, "the number of passes in a step")?;
    partials
        .gpu()
        .launch(clip_shader())
        .bind(partials.buffer())
        .bind(factor.buffer())
        .bind(history.buffer())
        .bind(progress.buffer())
        .params(&ClipParams { count, passes, limit })
        .groups([1, 1, 1])
}

pub(super) fn variants() -> Vec<Entry> {
    let sums = [1, 4].map(|unroll| entry(accumulate_shader(unroll), AccumulateParams::LAYOUT));
    let norm = [entry(square_shader(), SquareParams::LAYOUT), entry(clip_shader(), ClipParams::LAYOUT)];
    sums.into_iter().chain(norm).collect()
}
