//! What a case works with: a device, values from a seed, and comparisons that keep the worst.

use std::fmt::{Debug, Display};

use super::oracle::relative_error;
use crate::gpu::Gpu;
use crate::shader_test::{Bound, Deviation, Draw, Estimate, compare, compare_estimates};
use crate::tensor::{Shape, Tensor};
use crate::{Error, Result};

/// One run of a case.
pub struct Trial<'a> {
    gpu: &'a Gpu,
    seed: u64,
    worst: Deviation,
}

impl<'a> Trial<'a> {
    /// On a device that should be opened with [`GpuOptions::poison`](crate::gpu::GpuOptions::poison). The seed says which
    /// random shapes and values are drawn.
    pub fn new(gpu: &'a Gpu, seed: u64) -> Self {
        Trial { gpu, seed, worst: Deviation::default() }
    }

    /// How near the worst value so far came to its bound.
    pub fn worst(&self) -> Deviation {
        self.worst
    }

    /// The device under test.
    pub fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    /// Random shapes and values: a stream of its own for each `stream`.
    pub fn draw(&self, stream: u64) -> Draw {
        Draw::new(self.seed, stream)
    }

    /// A tensor on the device.
    pub fn tensor(&self, shape: impl Into<Shape>, values: &[f32]) -> Result<Tensor> {
        Tensor::from_f32(self.gpu, shape, values)
    }

    /// A tensor `[N]` of whole numbers on the device.
    pub fn words(&self, values: &[u32]) -> Result<Tensor> {
        Tensor::from_u32(self.gpu, [values.len()], values)
    }

    /// Holds a tensor of f32 against what it should be.
    ///
    /// # Errors
    /// As [`compare`], and if the device has failed.
    pub fn values(
        &mut self,
        what: impl Display,
        actual: &Tensor,
        expected: &[f32],
        bound: Bound,
    ) -> Result<()> {
        self.numbers(what, &actual.read_f32()?, expected, bound)
    }

    /// Holds numbers against what they should be.
    ///
    /// # Errors
    /// As [`compare`].
    pub fn numbers(
        &mut self,
        what: impl Display,
        actual: &[f32],
        expected: &[f32],
        bound: Bound,
    ) -> Result<()> {
        self.worst = self.worst.worse(compare(what, actual, expected, bound)?);
        Ok(())
    }

    /// Holds a tensor of f32 against what it should be, each value with a bound of its own.
    ///
    /// # Errors
    /// As [`compare`], and if the device has failed.
    pub fn estimates(&mut self, what: impl Display, actual: &Tensor, expected: &[Estimate]) -> Result<()> {
        self.near(what, &actual.read_f32()?, expected)
    }

    /// Holds numbers against what they should be, each with a bound of its own.
    ///
    /// # Errors
    /// As [`compare`].
    pub fn near(&mut self, what: impl Display, actual: &[f32], expected: &[Estimate]) -> Result<()> {
        self.worst = self.worst.worse(compare_estimates(what, actual, expected)?);
        Ok(())
    }

    /// Holds a distance that the case measured against its bound.
    ///
    /// # Errors
    /// If it is larger, or no number.
    pub fn within(&mut self, what: impl Display, error: f64, bound: f64) -> Result<()> {
        if error <= bound {
            self.worst = self.worst.worse(Deviation { error, bound });
            return Ok(());
        }
        Err(Error::Mismatch(format!("{what}: off by {error:.2e}, and {bound:.1e} is allowed")))
    }

    /// Holds numbers as a whole against what they should be: by the norm of the difference, as a share of the norm of
    /// what is expected, or of `size` if that is larger: the norm of what was added up, if sums may cancel.
    ///
    /// # Errors
    /// If the share is larger than `within`, or a number is NaN, or there are more or fewer numbers.
    pub fn by_norm(
        &mut self,
        what: impl Display,
        actual: &[f32],
        expected: &[f64],
        size: f64,
        within: f64,
    ) -> Result<()> {
        self.within(what, relative_error(actual, expected, size), within)
    }

    /// Whole numbers, shapes and the like, which are right or wrong.
    ///
    /// # Errors
    /// If both differ: the message has the first place where they do.
    pub fn same<T: PartialEq + Debug>(
        &mut self,
        what: impl Display,
        actual: &[T],
        expected: &[T],
    ) -> Result<()> {
        if actual == expected {
            return Ok(());
        }
        if actual.len() != expected.len() {
            let (a, e) = (actual.len(), expected.len());
            return Err(Error::Mismatch(format!("{what}: there are {a} values, and {e} are expected")));
        }
        let pairs = || actual.iter().zip(expected);
        let wrong = pairs().filter(|(a, e)| a != e).count();
        let (at, (a, e)) =
            pairs().enumerate().find(|(_, (a, e))| a != e).unwrap_or_else(|| unreachable!("some differ"));
        let count = actual.len();
        Err(Error::Mismatch(format!(
            "{what}: {wrong} of {count} values are wrong; value {at} is {a:?}, expected {e:?}"
        )))
    }

    /// Anything that must be true.
    ///
    /// # Errors
    /// If it is not.
    pub fn that(&mut self, what: impl Display, holds: bool) -> Result<()> {
        if holds { Ok(()) } else { Err(Error::Mismatch(what.to_string())) }
    }
}
