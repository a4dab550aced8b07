//! Convolution and its two gradients.

use super::catalogue::Entry;
use super::gemm::{Epilogue, machine, run};
pub use super::geometry::{Extents, Geometry, Padding};
use super::plan::{self, ConvShape};
use super::{product, same_shape};
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

impl Extents {
    fn shape(&self, geometry: &Geometry) -> Result<ConvShape> {
        let all = self.input.iter().chain(&self.weight).chain(&self.output).chain(&self.pad);
        let all = all.chain(&geometry.stride).chain(&geometry.dilation);
        let [input, output] = [product(&self.input), self.output_shape().count()];
        if let Some(large) = all.chain(&[input, output]).find(|&&e| e > i32::MAX as usize) {
            return Err(Error::Shape(format!("{large} values are more than shaders count")));
        }
        let [n, c, h, w] = self.input.map(|e| e as u32);
        let [oc, _, kh, kw] = self.weight.map(|e| e as u32);
        Ok(ConvShape {
            n,
            c,
            h,
            w,
            oc,
            kh,
            kw,
            out: self.output.map(|e| e as u32),
            stride: geometry.stride.map(|e| e as u32),
            pad: self.pad.map(|e| e as u32),
            dilation: geometry.dilation.map(|e| e as u32),
            groups: geometry.groups as u32,
        })
    }

    fn output_shape(&self) -> Shape {
        [self.input[0], self.weight[0], self.output[0], self.output[1]].into()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Pass {
    Forward(plan::Epilogue),
    InputGrad,
    WeightGrad,
}

fn launch(
    pass: Pass,
    shape: ConvShape,
    inputs: [&Tensor; 2],
    bias: Option<&Tensor>,
    output: Shape,
) -> Result<Tensor> {
    inputs[0].expect(DType::F32)?;
    inputs[1].expect(DType::F32)?;
    let gpu = inputs[0].gpu();
    let y = Tensor::empty(gpu, output, DType::F32)?;
    let plan = gpu.memo((pass, shape, machine(gpu)), |(pass, shape, machine)| match pass {
        Pass::Forward(epilogue) => plan::conv_forward(shape, *epilogue, *machine),
        Pass::InputGrad => plan::conv_input_grad(shape, *machine),
        Pass::WeightGrad => plan::conv_weight_grad(shape, *machine),
    });
    run(&plan, inputs, bias, &y)?;
    Ok(y)
}

/// Convolution of x [N, C, H, W] with w [O, C / groups, kh, kw], with an epilogue: [N, O, H', W'].
///
/// # Errors
/// Where the shapes do not fit the geometry, or the device has failed.
pub fn forward(x: &Tensor, w: &Tensor, geometry: &Geometry, epilogue: Epilogue<'_>) -> Result<Tensor> {
    let extents = geometry.extents(x.shape(), w.shape())?;
    let pass = Pass::Forward(epilogue.checked(extents.weight[0])?);
    launch(pass, extents.shape(geometry)?, [x, w], epilogue.bias, extents.output_shape())
}

/// Gradient of [`forward`] with respect to its input of shape `input`: dy [N, O, H', W'] -> [N, C, H, W].
///
/// # Errors
/// Where the shapes do not fit the geometry, or the device has failed.
pub fn input_grad(dy: &Tensor, w: &Tensor, input: &Shape, geometry: &Geometry) -> Result<Tensor> {
    let extents = geometry.extents(input, w.shape())?;
    same_shape("the gradient of a convolution", dy.shape(), &extents.output_shape())?;
    launch(Pass::InputGrad, extents.shape(geometry)?, [dy, w], None, input.clone())
}

/// Gradient of [`forward`] with respect to its weights of shape `weight`.
///
/// # Errors
/// Where the shapes do not fit the geometry, or the device has failed.
pub fn weight_grad(x: &Tensor, dy: &Tensor, weight: &Shape, geometry: &Geometry) -> Result<Tensor> {
    let extents = geometry.extents(x.shape(), weight)?;
    same_shape("the gradient of a convolution", dy.shape(), &extents.output_shape())?;
    launch(Pass::WeightGrad, extents.shape(geometry)?, [x, dy], None, weight.clone())
}

pub(super) fn variants() -> Vec<Entry> {
    plan::conv_variants()
}
