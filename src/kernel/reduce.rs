//! Sums, means and maxima along an axis.

use super::catalogue::{Entry, entry};
use super::extent;
use super::params::params;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

/// What becomes of the values along the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The largest.
    Max,
}

params!(ReduceParams { outer: u32, length: u32, inner: u32, scale: f32 });

/// Results from which on one invocation each fills a device, and the length below which a tree is not worth
/// its barriers. The tree needs at least its 64 lanes.
const ENOUGH_RESULTS: usize = 4096;
const TREE: usize = 64;

fn shader(reduction: Reduction, tree: bool) -> ShaderSpec {
    let op = if reduction == Reduction::Max { "max" } else { "sum" };
    ShaderSpec::new(if tree { "reduce/tree.wgsl" } else { "reduce/serial.wgsl" }).with("op", op)
}

/// Reduces the axes `axes` (a range of neighbours) and removes them from the shape.
///
/// # Errors
/// Where the range lies outside the shape or holds no values, `x` is not f32, or the device has failed.
pub fn reduce(reduction: Reduction, x: &Tensor, axes: std::ops::Range<usize>) -> Result<Tensor> {
    x.expect(DType::F32)?;
    let shape = x.shape();
    if axes.end > shape.len() || axes.start > axes.end {
        return Err(Error::Shape(format!("axes {axes:?} are not axes of {shape}")));
    }
    let outer: usize = shape[..axes.start].iter().product();
    let length: usize = shape[axes.clone()].iter().product();
    let inner: usize = shape[axes.end..].iter().product();
    let kept: Shape = [&shape[..axes.start], &shape[axes.end..]].concat().into();
    if length == 0 {
        return Err(Error::Shape(format!("axes {axes:?} of {shape} hold no values to reduce")));
    }
    let y = Tensor::empty(x.gpu(), kept, DType::F32)?;
    extent(x.count(), "the number of values")?;
    let scale = if reduction == Reduction::Mean { 1.0 / length as f32 } else { 1.0 };
    let params = ReduceParams { outer: outer as u32, length: length as u32, inner: inner as u32, scale };
    let results = (outer * inner) as u64;
    let tree = outer * inner < ENOUGH_RESULTS && length >= TREE;
    let launch = x.gpu().launch(shader(reduction, tree)).bind(x.buffer()).bind(y.buffer()).params(&params);
    if tree {
        launch.threads(results * TREE as u64, TREE as u32)?;
    } else {
        launch.threads(results, 64)?;
    }
    Ok(y)
}

/// Sums `x` to `shape`, from which it was stretched by broadcasting: the gradient of stretching.
///
/// # Errors
/// Where `x` cannot have been stretched from `shape`, or the device has failed.
pub fn sum_to(x: &Tensor, shape: &Shape) -> Result<Tensor> {
    if x.shape() == shape {
        return Ok(x.clone());
    }
    if shape.broadcast(x.shape())? != *x.shape() {
        return Err(Error::Shape(format!("{} is not stretched from {shape}", x.shape())));
    }
    let missing = x.shape().len() - shape.len();
    let stretched = |axis: usize| axis < missing || (shape[axis - missing] == 1 && x.shape()[axis] != 1);
    let mut y = x.clone();
    // From the back, so that the axes in front keep their numbers; neighbours go together.
    let mut end = x.shape().len();
    while end > 0 {
        if !stretched(end - 1) {
            end -= 1;
            continue;
        }
        let start = (0..end).rev().take_while(|&axis| stretched(axis)).last().unwrap_or(end - 1);
        y = reduce(Reduction::Sum, &y, start..end)?;
        end = start;
    }
    y.reshape(shape)
}

pub(super) fn variants() -> Vec<Entry> {
    [Reduction::Sum, Reduction::Max]
        .into_iter()
        .flat_map(|r| [true, false].map(|tree| entry(shader(r, tree), ReduceParams::LAYOUT)))
        .collect()
}
