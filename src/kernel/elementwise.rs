//! Functions of each value by itself, and of pairs of values with broadcasting.

use super::catalogue::{Entry, entry};
use super::params::params;
use super::{extent, same_shape, spread};
use crate::gpu::Gpu;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

/// A function of one value. `a` and `b` are the launcher's constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x above zero, a * x below
    LeakyRelu,
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// tanh(x)
    Tanh,
    /// relu6(x + 3) / 6
    HSigmoid,
    /// x * relu6(x + 3) / 6
    HSwish,
    /// exp(x)
    Exp,
    /// ln(x)
    Log,
    /// square root
    Sqrt,
    /// -x
    Neg,
    /// a * x + b
    Affine,
}

impl Unary {
    const ALL: [Unary; 12] = [
        Unary::Relu,
        Unary::Relu6,
        Unary::LeakyRelu,
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::HSigmoid,
        Unary::HSwish,
        Unary::Exp,
        Unary::Log,
        Unary::Sqrt,
        Unary::Neg,
        Unary::Affine,
    ];

    fn name(self) -> &'static str {
        match self {
            Unary::Relu => "relu",
            Unary::Relu6 => "relu6",
            Unary::LeakyRelu => "leaky_relu",
            Unary::Sigmoid => "sigmoid",
            Unary::Tanh => "tanh",
            Unary::HSigmoid => "hsigmoid",
            Unary::HSwish => "hswish",
            Unary::Exp => "exp",
            Unary::Log => "log",
            Unary::Sqrt => "sqrt",
            Unary::Neg => "neg",
            Unary::Affine => "affine",
        }
    }

    fn shader(self, unroll: u32) -> ShaderSpec {
        ShaderSpec::new("elementwise/unary.wgsl").with("op", self.name()).with("unroll", unroll)
    }
}

/// A function of two values. In the gradients, the first operand is the incoming gradient and the second what
/// the forward kept: its input for ReLU, HSwish and Log, its output for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b
    Add,
    /// max(a + b, 0)
    AddRelu,
    /// a - b
    Sub,
    /// a * b
    Mul,
    /// a / b
    Div,
    /// the larger
    Max,
    /// the smaller
    Min,
    /// a where b > 0, else 0; b may be the ReLU's input or its output
    ReluGrad,
    /// a where 0 < b < 6, else 0
    Relu6Grad,
    /// a where b > 0, else c * a
    LeakyReluGrad,
    /// a * b * (1 - b)
    SigmoidGrad,
    /// a * (1 - b^2)
    TanhGrad,
    /// a / 6 where 0 < b < 1, else 0
    HSigmoidGrad,
    /// a * (2 b + 3) / 6 where -3 < b < 3, else 0 below and a above
    HSwishGrad,
    /// a / b
    LogGrad,
    /// a / (2 b)
    SqrtGrad,
}

impl Binary {
    const ALL: [Binary; 16] = [
        Binary::Add,
        Binary::AddRelu,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Max,
        Binary::Min,
        Binary::ReluGrad,
        Binary::Relu6Grad,
        Binary::LeakyReluGrad,
        Binary::SigmoidGrad,
        Binary::TanhGrad,
        Binary::HSigmoidGrad,
        Binary::HSwishGrad,
        Binary::LogGrad,
        Binary::SqrtGrad,
    ];

    fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::AddRelu => "add_relu",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Max => "max",
            Binary::Min => "min",
            Binary::ReluGrad => "relu_grad",
            Binary::Relu6Grad => "relu6_grad",
            Binary::LeakyReluGrad => "leaky_relu_grad",
            Binary::SigmoidGrad => "sigmoid_grad",
            Binary::TanhGrad => "tanh_grad",
            Binary::HSigmoidGrad => "hsigmoid_grad",
            Binary::HSwishGrad => "hswish_grad",
            Binary::LogGrad => "log_grad",
            Binary::SqrtGrad => "sqrt_grad",
        }
    }

    fn shader(self, unroll: u32) -> ShaderSpec {
        ShaderSpec::new("elementwise/binary.wgsl").with("op", self.name()).with("unroll", unroll)
    }

    fn broadcast_shader(self) -> ShaderSpec {
        ShaderSpec::new("elementwise/broadcast.wgsl").with("op", self.name())
    }
}

params!(UnaryParams { vectors: u32, stride: u32, a: f32, b: f32 });
params!(BinaryParams { vectors: u32, stride: u32, c: f32, unused: u32 });
params!(FillParams { vectors: u32, value: f32 });
params!(BroadcastParams {
    extents: [u32; 8],
    a_strides: [u32; 8],
    b_strides: [u32; 8],
    count: u32,
    axes: u32,
    c: f32,
    unused: u32,
});

fn fill_shader() -> ShaderSpec {
    ShaderSpec::new("elementwise/fill.wgsl")
}

/// Most axes that are left after neighbours that stretch alike were joined.
const MOST_AXES: usize = 8;

/// `op` of every value, with the constants `a` and `b` where the op has such.
///
/// # Errors
/// Where `x` is not f32, or the device has failed.
pub fn unary(op: Unary, x: &Tensor, a: f32, b: f32) -> Result<Tensor> {
    x.expect(DType::F32)?;
    let y = Tensor::empty(x.gpu(), x.shape(), DType::F32)?;
    let vectors = x.count().div_ceil(4);
    let (unroll, threads) = spread(vectors);
    // Invocation i takes vectors i, i + stride, ...: neighbours read neighbours.
    let params =
        UnaryParams { vectors: extent(vectors, "the number of values")?, stride: threads as u32, a, b };
    x.gpu()
        .launch(op.shader(unroll))
        .bind(x.buffer())
        .bind(y.buffer())
        .params(&params)
        .threads(threads, 64)?;
    Ok(y)
}

/// `op` of every pair of values; extents of 1 and missing leading axes stretch, as in NumPy. `c` is the
/// constant of the ops that have one.
///
/// # Errors
/// Where an operand is not f32, the shapes do not broadcast, or the device has failed.
pub fn binary(op: Binary, a: &Tensor, b: &Tensor, c: f32) -> Result<Tensor> {
    a.expect(DType::F32)?;
    b.expect(DType::F32)?;
    if a.shape() != b.shape() {
        return broadcast(op, a, b, c);
    }
    let y = Tensor::empty(a.gpu(), a.shape(), DType::F32)?;
    let vectors = a.count().div_ceil(4);
    let (unroll, threads) = spread(vectors);
    let params = BinaryParams {
        vectors: extent(vectors, "the number of values")?,
        stride: threads as u32,
        c,
        unused: 0,
    };
    a.gpu()
        .launch(op.shader(unroll))
        .bind(a.buffer())
        .bind(b.buffer())
        .bind(y.buffer())
        .params(&params)
        .threads(threads, 64)?;
    Ok(y)
}

fn broadcast(op: Binary, a: &Tensor, b: &Tensor, c: f32) -> Result<Tensor> {
    let shape = a.shape().broadcast(b.shape())?;
    let y = Tensor::empty(a.gpu(), &shape, DType::F32)?;
    let axes = joined_axes(&shape, a.shape(), b.shape());
    if axes.len() > MOST_AXES {
        return Err(Error::Shape(format!(
            "{} and {} stretch along too many separate axes; reshape them to at most {MOST_AXES}",
            a.shape(),
            b.shape()
        )));
    }
    let mut params = BroadcastParams {
        count: extent(shape.count(), "the number of values")?,
        axes: axes.len() as u32,
        c,
        ..Default::default()
    };
    for (i, axis) in axes.iter().enumerate() {
        params.extents[i] = axis.extent as u32;
        params.a_strides[i] = axis.a_stride as u32;
        params.b_strides[i] = axis.b_stride as u32;
    }
    a.gpu()
        .launch(op.broadcast_shader())
        .bind(a.buffer())
        .bind(b.buffer())
        .bind(y.buffer())
        .params(&params)
        .threads(shape.count() as u64, 64)?;
    Ok(y)
}

struct Axis {
    extent: usize,
    a_stride: usize,
    b_stride: usize,
}

/// The axes of the result, innermost first, neighbours joined where both operands walk on evenly.
fn joined_axes(shape: &Shape, a: &Shape, b: &Shape) -> Vec<Axis> {
    let mut axes: Vec<Axis> = Vec::new();
    let (mut a_step, mut b_step) = (1, 1);
    for from_end in 1..=shape.len() {
        let extent = shape[shape.len() - from_end];
        let own = |s: &Shape| if from_end <= s.len() { s[s.len() - from_end] } else { 1 };
        let (a_extent, b_extent) = (own(a), own(b));
        let axis = Axis {
            extent,
            a_stride: if a_extent == 1 { 0 } else { a_step },
            b_stride: if b_extent == 1 { 0 } else { b_step },
        };
        a_step *= a_extent;
        b_step *= b_extent;
        if extent == 1 {
            continue;
        }
        match axes.last_mut() {
            Some(inner)
                if axis.a_stride == inner.a_stride * inner.extent
                    && axis.b_stride == inner.b_stride * inner.extent =>
            {
                inner.extent *= extent;
            }
            _ => axes.push(axis),
        }
    }
    axes
}

/// One value everywhere. Unlike a tensor that comes from the host, this can be part of a recording.
///
/// # Errors
/// Where the device has failed.
pub fn fill(gpu: &Gpu, shape: impl Into<Shape>, value: f32) -> Result<Tensor> {
    let y = Tensor::empty(gpu, shape, DType::F32)?;
    let vectors = extent(y.count().div_ceil(4), "the number of values")?;
    gpu.launch(fill_shader())
        .bind(y.buffer())
        .params(&FillParams { vectors, value })
        .threads(vectors.into(), 64)?;
    Ok(y)
}

/// Adds `b` to `a`: for gradients that come from several sides.
///
/// # Errors
/// Where the shapes differ, or the device has failed.
pub fn add_same(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    same_shape("adding gradients", a.shape(), b.shape())?;
    binary(Binary::Add, a, b, 0.0)
}

pub(super) fn variants() -> Vec<Entry> {
    let unary = Unary::ALL
        .into_iter()
        .flat_map(|op| [1, 4].map(|unroll| entry(op.shader(unroll), UnaryParams::LAYOUT)));
    let binary = Binary::ALL.into_iter().flat_map(|op| {
        [
            entry(op.shader(1), BinaryParams::LAYOUT),
            entry(op.shader(4), BinaryParams::LAYOUT),
            entry(op.broadcast_shader(), BroadcastParams::LAYOUT),
        ]
    });
    unary.chain(binary).chain([entry(fill_shader(), FillParams::LAYOUT)]).collect()
}

#[cfg(test)]
mod tests {
    use super::{Shape, joined_axes};

    fn joined(a: &[usize], b: &[usize]) -> Vec<(usize, usize, usize)> {
        let (a, b) = (Shape::from(a), Shape::from(b));
        let axes = joined_axes(&a.broadcast(&b).unwrap(), &a, &b);
        axes.iter().map(|axis| (axis.extent, axis.a_stride, axis.b_stride)).collect()
    }

    #[test]
    fn neighbours_that_stretch_alike_become_one_axis() {
        // A bias of [N, C, H, W]: the plane, the channels, the batch.
        assert_eq!(joined(&[2, 3, 4, 5], &[3, 1, 1]), [(20, 1, 0), (3, 20, 1), (2, 60, 0)]);
        assert_eq!(joined(&[7, 5], &[5]), [(5, 1, 1), (7, 5, 0)]);
        assert_eq!(joined(&[2, 3, 4], &[]), [(24, 1, 0)]);
        assert_eq!(joined(&[2, 3, 4], &[2, 1, 1]), [(12, 1, 0), (2, 12, 1)]);
        assert_eq!(joined(&[7, 1], &[1, 5]), [(5, 0, 1), (7, 1, 0)]);
        // Axes of one value count for nothing, wherever they stand.
        assert_eq!(joined(&[4, 1, 5], &[4, 1, 1]), [(5, 1, 0), (4, 5, 1)]);
        assert_eq!(joined(&[1, 1], &[1]), []);
        assert_eq!(joined(&[2, 3], &[1, 2, 3]), [(6, 1, 1)]);
    }
}
