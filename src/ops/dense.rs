//! Matrix products and dense layers.

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::elementwise::{Binary, binary};
use crate::kernel::gemm::{Epilogue, Form, gemm};
use crate::kernel::reduce::{Reduction, reduce};
use crate::tensor::Tensor;

/// a b for matrices [M, K] and [K, N].
///
/// # Errors
/// Where the shapes do not fit, or the device has failed.
pub fn matmul(a: &Var, b: &Var) -> Result<Var> {
    let y = gemm(Form::NN, a.tensor(), b.tensor(), Epilogue::NONE)?;
    Var::record(y, &[a, b], || Matmul { a: a.tensor().clone(), b: b.tensor().clone() })
}

struct Matmul {
    a: Tensor,
    b: Tensor,
}

impl Backward for Matmul {
    /// da = dy b^T;  db = a^T dy
    fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![
            wanted[0].then(|| gemm(Form::NT, dy, &self.b, Epilogue::NONE)).transpose()?,
            wanted[1].then(|| gemm(Form::TN, &self.a, dy, Epilogue::NONE)).transpose()?,
        ])
    }
}

/// x w^T + bias, cut at zero where `relu`: x [N, I], w [O, I], bias `[O]` -> [N, O].
///
/// # Errors
/// Where the shapes do not fit, or the device has failed.
pub fn dense(x: &Var, w: &Var, bias: Option<&Var>, relu: bool) -> Result<Var> {
    let epilogue = Epilogue { bias: bias.map(Var::tensor), relu };
    let y = gemm(Form::NT, x.tensor(), w.tensor(), epilogue)?;
    let inputs: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    Var::record(y.clone(), &inputs, || Dense {
        x: x.tensor().clone(),
        w: w.tensor().clone(),
        y: relu.then_some(y),
    })
}

struct Dense {
    x: Tensor,
    w: Tensor,
    y: Option<Tensor>,
}

impl Backward for Dense {
    /// dz = dy where the ReLU let pass;  dx = dz w;  dw = dz^T x;  dbias = sum of dz over the rows
    fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dz = match &self.y {
            Some(y) => binary(Binary::ReluGrad, dy, y, 0.0)?,
            None => dy.clone(),
        };
        let mut gradients = vec![
            wanted[0].then(|| gemm(Form::NN, &dz, &self.w, Epilogue::NONE)).transpose()?,
            wanted[1].then(|| gemm(Form::TN, &dz, &self.x, Epilogue::NONE)).transpose()?,
        ];
        if let Some(&bias) = wanted.get(2) {
            gradients.push(bias.then(|| reduce(Reduction::Sum, &dz, 0..1)).transpose()?);
        }
        Ok(gradients)
    }
}
