//! Tensors: a shape over GPU memory.

use std::fmt;

use super::Shape;
use crate::gpu::{Buffer, Gpu, mebibytes};
use crate::{Error, MemoryLimit, Result};

/// What a tensor's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit floating point.
    F32,
    /// 32-bit unsigned: labels, indices, counters.
    U32,
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::U32 => "u32",
        })
    }
}

/// Names the tensor, what it takes and what there is.
fn too_large(gpu: &Gpu, shape: &Shape, most: u64) -> Error {
    // In floating point: the product may be more than integers hold.
    let bytes: f64 = shape.iter().map(|&extent| extent as f64).product::<f64>() * 4.0;
    let message = format!(
        "a tensor of shape {shape} takes {}, and \"{}\" binds at most {}",
        mebibytes::asked(bytes),
        gpu.caps().adapter.name,
        mebibytes::available(most)
    );
    Error::Memory { message, asked: bytes as u64, limit: MemoryLimit::Tensor(most) }
}

/// `shape`, if a tensor of it can be bound.
fn fitting(gpu: &Gpu, shape: Shape) -> Result<Shape> {
    let bytes = (shape.count() as u64).checked_mul(4);
    let most = gpu.caps().max_binding_bytes;
    if bytes.is_some_and(|bytes| bytes <= most) { Ok(shape) } else { Err(too_large(gpu, &shape, most)) }
}

/// Numbers on a GPU: contiguous, row-major. Cloning gives another handle of the same memory.
#[derive(Clone)]
pub struct Tensor {
    buffer: Buffer,
    shape: Shape,
    dtype: DType,
}

impl Tensor {
    /// A tensor whose values are whatever the memory held: for kernels that write all of them.
    ///
    /// # Errors
    /// Where it is larger than one binding of the adapter can be.
    pub fn empty(gpu: &Gpu, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        let shape = fitting(gpu, shape.into())?;
        Ok(Tensor { buffer: gpu.alloc(shape.count() as u64 * 4)?, shape, dtype })
    }

    /// f32 values from the host.
    ///
    /// # Errors
    /// Where their number is not the shape's, or the device has failed.
    pub fn from_f32(gpu: &Gpu, shape: impl Into<Shape>, values: &[f32]) -> Result<Tensor> {
        Tensor::from_pod(gpu, shape.into(), DType::F32, values)
    }

    /// u32 values from the host.
    ///
    /// # Errors
    /// Where their number is not the shape's, or the device has failed.
    pub fn from_u32(gpu: &Gpu, shape: impl Into<Shape>, values: &[u32]) -> Result<Tensor> {
        Tensor::from_pod(gpu, shape.into(), DType::U32, values)
    }

    fn from_pod<T: bytemuck::NoUninit>(
        gpu: &Gpu,
        shape: Shape,
        dtype: DType,
        values: &[T],
    ) -> Result<Tensor> {
        if values.len() != shape.count() {
            return Err(Error::Shape(format!("{} values do not fill the shape {shape}", values.len())));
        }
        let buffer = gpu.upload(bytemuck::cast_slice(values))?;
        Ok(Tensor { buffer, shape, dtype })
    }

    /// All zero.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn zeros(gpu: &Gpu, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        let shape = fitting(gpu, shape.into())?;
        let zeros = vec![0u32; shape.count()];
        Tensor::from_pod(gpu, shape, dtype, &zeros)
    }

    /// One f32 value everywhere.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn full(gpu: &Gpu, shape: impl Into<Shape>, value: f32) -> Result<Tensor> {
        let shape = fitting(gpu, shape.into())?;
        let values = vec![value; shape.count()];
        Tensor::from_pod(gpu, shape, DType::F32, &values)
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What the values are.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device that it is on.
    pub fn gpu(&self) -> &Gpu {
        self.buffer.gpu()
    }

    /// The memory behind it.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.shape.count()
    }

    /// The same memory under another shape.
    ///
    /// # Errors
    /// Where the number of values differs.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        let shape = shape.into();
        if shape.count() != self.count() {
            return Err(Error::Shape(format!("a tensor of shape {} cannot be seen as {shape}", self.shape)));
        }
        Ok(Tensor { buffer: self.buffer.clone(), shape, dtype: self.dtype })
    }

    /// The values, waiting for everything asked for before.
    ///
    /// # Errors
    /// Where they are not f32, or the device has failed.
    pub fn read_f32(&self) -> Result<Vec<f32>> {
        self.expect(DType::F32)?;
        self.read_pod()
    }

    /// The values, waiting for everything asked for before.
    ///
    /// # Errors
    /// Where they are not u32, or the device has failed.
    pub fn read_u32(&self) -> Result<Vec<u32>> {
        self.expect(DType::U32)?;
        self.read_pod()
    }

    fn read_pod<T: bytemuck::Pod>(&self) -> Result<Vec<T>> {
        let bytes = self.gpu().read(&self.buffer)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes[..self.count() * 4]))
    }

    /// Replaces the values.
    ///
    /// # Errors
    /// Where their number or kind differs, or the device has failed.
    pub fn write_f32(&self, values: &[f32]) -> Result<()> {
        self.expect(DType::F32)?;
        self.write_pod(values)
    }

    /// Replaces the values.
    ///
    /// # Errors
    /// Where their number or kind differs, or the device has failed.
    pub fn write_u32(&self, values: &[u32]) -> Result<()> {
        self.expect(DType::U32)?;
        self.write_pod(values)
    }

    fn write_pod<T: bytemuck::NoUninit>(&self, values: &[T]) -> Result<()> {
        if values.len() != self.count() {
            return Err(Error::Shape(format!(
                "{} values do not fill the shape {}",
                values.len(),
                self.shape
            )));
        }
        self.gpu().write(&self.buffer, bytemuck::cast_slice(values))
    }

    /// Fails unless the values are of `wanted`.
    ///
    /// # Errors
    /// Where they are of another type, with both in the message.
    pub fn expect(&self, wanted: DType) -> Result<()> {
        if self.dtype == wanted {
            return Ok(());
        }
        Err(Error::Shape(format!("a tensor of {wanted} was expected, and {self:?} came")))
    }

    /// A copy in memory of its own.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn duplicate(&self) -> Result<Tensor> {
        let copy = Tensor::empty(self.gpu(), &self.shape, self.dtype)?;
        self.gpu().copy(&self.buffer, &copy.buffer, 0)?;
        Ok(copy)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {})", self.dtype, self.shape)
    }
}
