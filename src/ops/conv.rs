//! Convolution of [N, C, H, W] with weights [O, C / groups, kh, kw].

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::conv::{self, Geometry};
use crate::kernel::elementwise::{Binary, binary};
use crate::kernel::gemm::Epilogue;
use crate::kernel::reduce::{Reduction, reduce};
use crate::tensor::Tensor;

/// Convolution (as everywhere in the field: cross-correlation), plus bias `[O]`, cut at zero where `relu`.
///
/// # Errors
/// Where the shapes do not fit the geometry, or the device has failed.
pub fn conv2d(x: &Var, w: &Var, bias: Option<&Var>, geometry: &Geometry, relu: bool) -> Result<Var> {
    let epilogue = Epilogue { bias: bias.map(Var::tensor), relu };
    let y = conv::forward(x.tensor(), w.tensor(), geometry, epilogue)?;
    let inputs: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    Var::record(y.clone(), &inputs, || Conv2d {
        x: x.tensor().clone(),
        w: w.tensor().clone(),
        y: relu.then_some(y),
        geometry: *geometry,
    })
}

struct Conv2d {
    x: Tensor,
    w: Tensor,
    y: Option<Tensor>,
    geometry: Geometry,
}

impl Backward for Conv2d {
    fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dz = match &self.y {
            Some(y) => binary(Binary::ReluGrad, dy, y, 0.0)?,
            None => dy.clone(),
        };
        let dx = || conv::input_grad(&dz, &self.w, self.x.shape(), &self.geometry);
        let dw = || conv::weight_grad(&self.x, &dz, self.w.shape(), &self.geometry);
        let mut gradients = vec![wanted[0].then(dx).transpose()?, wanted[1].then(dw).transpose()?];
        if let Some(&bias) = wanted.get(2) {
            gradients.push(bias.then(|| sum_to_channels(&dz)).transpose()?);
        }
        Ok(gradients)
    }
}

/// [N, C, H, W] -> `[C]`
fn sum_to_channels(x: &Tensor) -> Result<Tensor> {
    reduce(Reduction::Sum, &reduce(Reduction::Sum, x, 2..4)?, 0..1)
}
