//! Functions of each value by itself.

use std::fmt;

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::elementwise::{Binary, Unary, binary, unary};
use crate::tensor::Tensor;

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x above zero, slope * x below
    LeakyRelu(f32),
    /// 1 / (1 + exp(-x))
    Sigmoid,
    /// tanh(x)
    Tanh,
    /// relu6(x + 3) / 6
    HSigmoid,
    /// x * relu6(x + 3) / 6
    HSwish,
}

impl Activation {
    fn forward(self) -> (Unary, f32) {
        match self {
            Activation::Relu => (Unary::Relu, 0.0),
            Activation::Relu6 => (Unary::Relu6, 0.0),
            Activation::LeakyRelu(slope) => (Unary::LeakyRelu, slope),
            Activation::Sigmoid => (Unary::Sigmoid, 0.0),
            Activation::Tanh => (Unary::Tanh, 0.0),
            Activation::HSigmoid => (Unary::HSigmoid, 0.0),
            Activation::HSwish => (Unary::HSwish, 0.0),
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Activation::Relu => f.write_str("ReLU<>"),
            Activation::Relu6 => f.write_str("ReLU6<>"),
            Activation::LeakyRelu(slope) => write!(f, "LeakyReLU<slope={slope}>"),
            Activation::Sigmoid => f.write_str("Sigmoid<>"),
            Activation::Tanh => f.write_str("Tanh<>"),
            Activation::HSigmoid => f.write_str("HSigmoid<>"),
            Activation::HSwish => f.write_str("HSwish<>"),
        }
    }
}

/// The activation of every value.
///
/// # Errors
/// Where the device has failed.
pub fn activation(kind: Activation, x: &Var) -> Result<Var> {
    let (op, a) = kind.forward();
    let y = unary(op, x.tensor(), a, 0.0)?;
    Var::record(y.clone(), &[x], || {
        // Where either serves, the output is kept: the next layer keeps it anyway. A leaky ReLU of negative
        // slope would turn the sign around, and HSwish falls before it rises.
        let kept = match kind {
            Activation::LeakyRelu(_) | Activation::HSwish => x.tensor().clone(),
            _ => y,
        };
        Activated { kind, kept }
    })
}

struct Activated {
    kind: Activation,
    kept: Tensor,
}

impl Backward for Activated {
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let (op, c) = match self.kind {
            Activation::Relu => (Binary::ReluGrad, 0.0),
            Activation::Relu6 => (Binary::Relu6Grad, 0.0),
            Activation::LeakyRelu(slope) => (Binary::LeakyReluGrad, slope),
            Activation::Sigmoid => (Binary::SigmoidGrad, 0.0),
            Activation::Tanh => (Binary::TanhGrad, 0.0),
            Activation::HSigmoid => (Binary::HSigmoidGrad, 0.0),
            Activation::HSwish => (Binary::HSwishGrad, 0.0),
        };
        Ok(vec![Some(binary(op, dy, &self.kept, c)?)])
    }
}

/// The square root of every value. Its slope at zero is infinite.
///
/// # Errors
/// Where the device has failed.
pub fn sqrt(x: &Var) -> Result<Var> {
    let y = unary(Unary::Sqrt, x.tensor(), 0.0, 0.0)?;
    Var::record(y.clone(), &[x], || SquareRoot(y))
}

struct SquareRoot(Tensor);

impl Backward for SquareRoot {
    /// dx = dy / (2 y)
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(binary(Binary::SqrtGrad, dy, &self.0, 0.0)?)])
    }
}

#[cfg(test)]
mod tests {
    use super::Activation;

    #[test]
    fn activations_are_printed_by_name_and_slope() {
        let kinds = [Activation::HSigmoid, Activation::HSwish, Activation::LeakyRelu(0.1)];
        assert_eq!(kinds.map(|kind| kind.to_string()), ["HSigmoid<>", "HSwish<>", "LeakyReLU<slope=0.1>"]);
    }
}
