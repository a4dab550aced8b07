//! The extents of a tensor, outermost first.

use std::fmt;
use std::ops::Deref;

use crate::{Error, Result};

/// Extents, outermost first: [N, C, H, W] for images, [rows, columns] for matrices, [] for one number.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// How many values there are; 1 for the shape []. A product beyond what a machine counts stays at the largest
    /// number, which no device can allocate.
    pub fn count(&self) -> usize {
        self.0.iter().fold(1, |count, &extent| count.saturating_mul(extent))
    }

    /// The shape of an elementwise result of two operands, by NumPy's rule: aligned at the last axis, an
    /// extent of 1 stretches.
    ///
    /// # Errors
    /// Where two extents differ and neither is 1.
    pub fn broadcast(&self, other: &Shape) -> Result<Shape> {
        let rank = self.len().max(other.len());
        let extent = |s: &Shape, axis: usize| (axis + s.len()).checked_sub(rank).map_or(1, |i| s.0[i]);
        let extents = (0..rank).map(|axis| match (extent(self, axis), extent(other, axis)) {
            (a, b) if a == b || b == 1 => Ok(a),
            (1, b) => Ok(b),
            _ => Err(Error::Shape(format!("{self} and {other} do not broadcast: axis {axis} differs"))),
        });
        extents.collect::<Result<Vec<_>>>().map(Shape)
    }

    /// The extents as [N, C, H, W].
    ///
    /// # Errors
    /// Where there are not four; `what` says in the message which tensor was meant.
    pub fn nchw(&self, what: &str) -> Result<[usize; 4]> {
        self.0
            .as_slice()
            .try_into()
            .map_err(|_| Error::Shape(format!("{what} must be [N, C, H, W], and its shape is {self}")))
    }

    /// The extents as [rows, columns].
    ///
    /// # Errors
    /// Where there are not two; `what` says in the message which tensor was meant.
    pub fn matrix(&self, what: &str) -> Result<[usize; 2]> {
        self.0
            .as_slice()
            .try_into()
            .map_err(|_| Error::Shape(format!("{what} must be [rows, columns], and its shape is {self}")))
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}
impl<const R: usize> From<[usize; R]> for Shape {
    fn from(extents: [usize; R]) -> Self {
        Shape(extents.to_vec())
    }
}
impl From<Vec<usize>> for Shape {
    fn from(extents: Vec<usize>) -> Self {
        Shape(extents)
    }
}
impl From<&[usize]> for Shape {
    fn from(extents: &[usize]) -> Self {
        Shape(extents.to_vec())
    }
}
impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}
impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn broadcasting_stretches_ones_and_missing_axes() {
        let shape = |e: &[usize]| Shape::from(e);
        assert_eq!(shape(&[2, 1, 3]).broadcast(&shape(&[4, 1])).unwrap(), shape(&[2, 4, 3]));
        assert_eq!(shape(&[]).broadcast(&shape(&[5])).unwrap(), shape(&[5]));
        let error = shape(&[2, 3]).broadcast(&shape(&[2])).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[2]"), "{error}");
        // Nothing stays nothing, and does not stretch to two.
        assert_eq!(shape(&[0, 3]).broadcast(&shape(&[1, 3])).unwrap(), shape(&[0, 3]));
        assert!(shape(&[0]).broadcast(&shape(&[2])).is_err());
    }

    #[test]
    fn counts_and_views_by_rank() {
        assert_eq!(
            [Shape::from([]).count(), Shape::from([2, 3]).count(), Shape::from([4, 0]).count()],
            [1, 6, 0]
        );
        assert_eq!(Shape::from([1, 2, 3, 4]).nchw("x").unwrap(), [1, 2, 3, 4]);
        assert_eq!(Shape::from([1, 2]).matrix("x").unwrap(), [1, 2]);
        let error = Shape::from([1, 2]).nchw("the input").unwrap_err().to_string();
        assert!(error.starts_with("the input") && error.contains("[1, 2]"), "{error}");
        assert!(Shape::from([1]).matrix("x").is_err());
    }
}
