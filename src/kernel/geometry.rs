//! How a convolution moves over its input.

use crate::tensor::Shape;
use crate::{Error, Result};

/// Zeros around the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Padding {
    /// None.
    #[default]
    Valid,
    /// As much as makes the output ceil(input / stride) large; an odd one goes to the bottom and right
    /// (TensorFlow's and MindSpore's rule).
    Same,
    /// Rows and columns, by side.
    Explicit {
        /// Above.
        top: usize,
        /// Below.
        bottom: usize,
        /// Left.
        left: usize,
        /// Right.
        right: usize,
    },
}

impl Padding {
    /// The same on all four sides.
    pub fn all(size: usize) -> Self {
        Padding::Explicit { top: size, bottom: size, left: size, right: size }
    }
}

/// Stride, padding, dilation and groups of a convolution; [y, x] each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    /// Steps of the kernel over the input.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// Distance of the kernel's taps.
    pub dilation: [usize; 2],
    /// Input and output channels are split in so many parts that know nothing of each other.
    pub groups: usize,
}

impl Default for Geometry {
    fn default() -> Self {
        Geometry { stride: [1, 1], padding: Padding::Valid, dilation: [1, 1], groups: 1 }
    }
}

/// A geometry applied to shapes: everything in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extents {
    /// [N, C, H, W] of the input.
    pub input: [usize; 4],
    /// [O, C / groups, kh, kw] of the weights.
    pub weight: [usize; 4],
    /// [H, W] of the output.
    pub output: [usize; 2],
    /// Rows of zeros above, and columns left.
    pub pad: [usize; 2],
}

impl Geometry {
    /// Padding before and after along one axis, and the extent of the output.
    fn along(&self, axis: usize, input: usize, kernel: usize) -> Option<(usize, usize)> {
        let (stride, dilation) = (self.stride[axis], self.dilation[axis]);
        if stride == 0 || dilation == 0 || kernel == 0 || input == 0 {
            return None;
        }
        let reach = (kernel - 1).checked_mul(dilation)?.checked_add(1)?;
        let (before, after) = match self.padding {
            Padding::Valid => (0, 0),
            Padding::Same => {
                let last = (input.div_ceil(stride) - 1) * stride;
                let total = last.checked_add(reach)?.saturating_sub(input);
                (total / 2, total - total / 2)
            }
            Padding::Explicit { top, bottom, .. } if axis == 0 => (top, bottom),
            Padding::Explicit { left, right, .. } => (left, right),
        };
        let room = input.checked_add(before)?.checked_add(after)?.checked_sub(reach)?;
        Some((before, room / stride + 1))
    }

    /// The numbers for an input [N, C, H, W] and weights [O, C / groups, kh, kw].
    ///
    /// # Errors
    /// Where channels, groups and kernel do not fit each other, with the shapes.
    pub fn extents(&self, input: &Shape, weight: &Shape) -> Result<Extents> {
        let x = input.nchw("the input of a convolution")?;
        let w = weight.nchw("the weights of a convolution, [O, C / groups, kh, kw],")?;
        let groups = self.groups;
        let takes = w[1].saturating_mul(groups);
        if groups == 0 || w[0] % groups != 0 || x[1] != takes || x[0] == 0 || w[0] == 0 || w[1] == 0 {
            return Err(Error::Shape(format!(
                "an input of shape {input} and weights of shape {weight} do not make a convolution of {groups} \
                 groups: the input has {} channels, the weights take {takes}",
                x[1]
            )));
        }
        let misfit = || {
            Error::Shape(format!(
                "a kernel of shape {weight} with {self:?} does not fit an input of shape {input}"
            ))
        };
        let (top, height) = self.along(0, x[2], w[2]).ok_or_else(misfit)?;
        let (left, width) = self.along(1, x[3], w[3]).ok_or_else(misfit)?;
        Ok(Extents { input: x, weight: w, output: [height, width], pad: [top, left] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(g: Geometry, input: [usize; 4], weight: [usize; 4]) -> Result<Extents> {
        g.extents(&input.into(), &weight.into())
    }

    #[test]
    fn same_padding_keeps_the_size_divided_by_the_stride() {
        for size in 1..20 {
            for kernel in 1..6 {
                for stride in 1..4 {
                    let g = Geometry { stride: [stride; 2], padding: Padding::Same, ..Default::default() };
                    let e = output(g, [1, 1, size, size], [1, 1, kernel, kernel]).unwrap();
                    assert_eq!(e.output, [size.div_ceil(stride); 2], "{size} {kernel} {stride}");
                }
            }
        }
    }

    #[test]
    fn dilation_widens_the_kernel_and_misfits_are_errors_with_the_shapes() {
        let g = Geometry { dilation: [2, 1], ..Default::default() };
        assert_eq!(output(g, [1, 3, 9, 9], [4, 3, 3, 3]).unwrap().output, [5, 7]);
        let error = output(g, [1, 3, 4, 9], [4, 3, 3, 3]).unwrap_err().to_string();
        assert!(error.contains("[1, 3, 4, 9]") && error.contains("[4, 3, 3, 3]"), "{error}");
        assert!(output(Geometry { groups: 2, ..Default::default() }, [1, 3, 4, 4], [4, 1, 1, 1]).is_err());
        assert!(
            output(Geometry { stride: [0, 1], ..Default::default() }, [1, 3, 4, 4], [4, 3, 1, 1]).is_err()
        );
    }
}
