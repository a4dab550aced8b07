//! Other shapes of the same values, and sums and means over axes.

use std::ops::Range;

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::elementwise::{Binary, Unary, binary, fill, unary};
use crate::kernel::reduce::{Reduction, reduce};
use crate::tensor::{Shape, Tensor};

/// The same values under another shape; nothing is moved.
///
/// # Errors
/// Where the number of values differs.
pub fn reshape(x: &Var, shape: impl Into<Shape>) -> Result<Var> {
    let y = x.tensor().reshape(shape)?;
    Var::record(y, &[x], || Reshape(x.tensor().shape().clone()))
}

struct Reshape(Shape);

impl Backward for Reshape {
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(dy.reshape(&self.0)?)])
    }
}

/// [N, ...] as [N, everything else].
///
/// # Errors
/// Never for a tensor with at least one axis.
pub fn flatten(x: &Var) -> Result<Var> {
    let shape = x.tensor().shape();
    let rows = shape.first().copied().unwrap_or(1);
    let columns = shape.iter().skip(1).product::<usize>();
    reshape(x, [rows, columns])
}

/// The sum over the neighbouring axes `axes`, which disappear.
///
/// # Errors
/// Where they are not axes of `x`, or the device has failed.
pub fn sum(x: &Var, axes: Range<usize>) -> Result<Var> {
    reduced(x, axes, Reduction::Sum)
}

/// The mean over the neighbouring axes `axes`, which disappear.
///
/// # Errors
/// Where they are not axes of `x`, or the device has failed.
pub fn mean(x: &Var, axes: Range<usize>) -> Result<Var> {
    reduced(x, axes, Reduction::Mean)
}

fn reduced(x: &Var, axes: Range<usize>, reduction: Reduction) -> Result<Var> {
    let y = reduce(reduction, x.tensor(), axes.clone())?;
    let shape = x.tensor().shape().clone();
    let length: usize = shape[axes.clone()].iter().product();
    let factor = if reduction == Reduction::Mean { 1.0 / length as f32 } else { 1.0 };
    Var::record(y, &[x], || Reduced { shape, axes, factor })
}

struct Reduced {
    shape: Shape,
    axes: Range<usize>,
    factor: f32,
}

impl Backward for Reduced {
    /// Every value that went into a sum gets the sum's gradient.
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let mut kept = self.shape.to_vec();
        kept[self.axes.clone()].fill(1);
        let dy = unary(Unary::Affine, dy, self.factor, 0.0)?.reshape(kept)?;
        let zeros = fill(dy.gpu(), &self.shape, 0.0)?;
        Ok(vec![Some(binary(Binary::Add, &zeros, &dy, 0.0)?)])
    }
}
