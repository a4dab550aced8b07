//! Sums, differences, products and quotients with broadcasting.

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::elementwise::{Binary, Unary, binary, unary};
use crate::kernel::reduce::sum_to;
use crate::tensor::{Shape, Tensor};

/// a + b; shapes broadcast as in NumPy.
///
/// # Errors
/// Where the shapes do not broadcast, or the device has failed.
pub fn add(a: &Var, b: &Var) -> Result<Var> {
    let y = binary(Binary::Add, a.tensor(), b.tensor(), 0.0)?;
    Var::record(y, &[a, b], || Linear { shapes: shapes(a, b), sign: 1.0, cut: None })
}

/// max(a + b, 0) in one pass: the end of a residual block. Shapes broadcast as in NumPy.
///
/// # Errors
/// Where the shapes do not broadcast, or the device has failed.
pub fn add_relu(a: &Var, b: &Var) -> Result<Var> {
    let y = binary(Binary::AddRelu, a.tensor(), b.tensor(), 0.0)?;
    Var::record(y.clone(), &[a, b], || Linear { shapes: shapes(a, b), sign: 1.0, cut: Some(y) })
}

/// a - b; shapes broadcast as in NumPy.
///
/// # Errors
/// Where the shapes do not broadcast, or the device has failed.
pub fn sub(a: &Var, b: &Var) -> Result<Var> {
    let y = binary(Binary::Sub, a.tensor(), b.tensor(), 0.0)?;
    Var::record(y, &[a, b], || Linear { shapes: shapes(a, b), sign: -1.0, cut: None })
}

fn shapes(a: &Var, b: &Var) -> [Shape; 2] {
    [a.tensor().shape().clone(), b.tensor().shape().clone()]
}

/// a + sign * b
struct Linear {
    shapes: [Shape; 2],
    sign: f32,
    /// The result, where a ReLU took part: what it cut passes no gradient.
    cut: Option<Tensor>,
}

impl Backward for Linear {
    fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dz = match &self.cut {
            Some(y) => &binary(Binary::ReluGrad, dy, y, 0.0)?,
            None => dy,
        };
        let da = wanted[0].then(|| sum_to(dz, &self.shapes[0])).transpose()?;
        let db = || {
            let db = sum_to(dz, &self.shapes[1])?;
            if self.sign < 0.0 { unary(Unary::Neg, &db, 0.0, 0.0) } else { Ok(db) }
        };
        Ok(vec![da, wanted[1].then(db).transpose()?])
    }
}

/// a * b; shapes broadcast as in NumPy.
///
/// # Errors
/// Where the shapes do not broadcast, or the device has failed.
pub fn mul(a: &Var, b: &Var) -> Result<Var> {
    let y = binary(Binary::Mul, a.tensor(), b.tensor(), 0.0)?;
    Var::record(y, &[a, b], || Product { a: a.tensor().clone(), b: b.tensor().clone() })
}

struct Product {
    a: Tensor,
    b: Tensor,
}

impl Backward for Product {
    fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let side = |other: &Tensor, shape: &Shape| sum_to(&binary(Binary::Mul, dy, other, 0.0)?, shape);
        Ok(vec![
            wanted[0].then(|| side(&self.b, self.a.shape())).transpose()?,
            wanted[1].then(|| side(&self.a, self.b.shape())).transpose()?,
        ])
    }
}

/// a / b; shapes broadcast as in NumPy.
///
/// # Errors
/// Where the shapes do not broadcast, or the device has failed.
pub fn div(a: &Var, b: &Var) -> Result<Var> {
    let y = binary(Binary::Div, a.tensor(), b.tensor(), 0.0)?;
    Var::record(y.clone(), &[a, b], || Quotient {
        numerator: a.tensor().shape().clone(),
        b: b.tensor().clone(),
        y,
    })
}

struct Quotient {
    numerator: Shape,
    b: Tensor,
    y: Tensor,
}

impl Backward for Quotient {
    /// da = dy / b;  db = -y * dy / b
    fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let share = binary(Binary::Div, dy, &self.b, 0.0)?;
        let db = || {
            let product = binary(Binary::Mul, &share, &self.y, 0.0)?;
            sum_to(&unary(Unary::Neg, &product, 0.0, 0.0)?, self.b.shape())
        };
        Ok(vec![
            wanted[0].then(|| sum_to(&share, &self.numerator)).transpose()?,
            wanted[1].then(db).transpose()?,
        ])
    }
}

/// factor * x
///
/// # Errors
/// Where the device has failed.
pub fn mul_scalar(x: &Var, factor: f32) -> Result<Var> {
    let y = unary(Unary::Affine, x.tensor(), factor, 0.0)?;
    Var::record(y, &[x], || Scaled(factor))
}

struct Scaled(f32);

impl Backward for Scaled {
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(unary(Unary::Affine, dy, self.0, 0.0)?)])
    }
}
