//! Max and average pooling of [N, C, H, W].

use crate::Result;
use crate::autograd::{Backward, Var};
use crate::kernel::pool::{self, Window};
use crate::tensor::Tensor;

/// The largest value of each window. Padding never wins.
///
/// # Errors
/// Where the window does not fit the planes, or the device has failed.
pub fn max_pool2d(x: &Var, window: &Window) -> Result<Var> {
    pooled(x, window, false)
}

/// max_pool2d(relu(x)) in one pass over x: both are monotone, so the largest of the window is found first and
/// only that is cut at zero.
///
/// # Errors
/// As [`max_pool2d`].
pub fn relu_max_pool2d(x: &Var, window: &Window) -> Result<Var> {
    pooled(x, window, true)
}

fn pooled(x: &Var, window: &Window, relu: bool) -> Result<Var> {
    let (y, places) = pool::max_forward(x.tensor(), window, relu)?;
    let shape = x.tensor().shape().nchw("the input of max pooling")?;
    Var::record(y.clone(), &[x], || MaxPool { places, y: relu.then_some(y), shape, window: *window })
}

struct MaxPool {
    places: Tensor,
    /// Kept where a ReLU took part: what it cut passes no gradient.
    y: Option<Tensor>,
    shape: [usize; 4],
    window: Window,
}

impl Backward for MaxPool {
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dx = pool::max_backward(dy, &self.places, self.y.as_ref(), self.shape, &self.window)?;
        Ok(vec![Some(dx)])
    }
}

/// The mean of each window. With `count_padding`, padding takes part as zeros (PyTorch's default); without,
/// the mean is over the values that are there.
///
/// # Errors
/// Where the window does not fit the planes, or the device has failed.
pub fn avg_pool2d(x: &Var, window: &Window, count_padding: bool) -> Result<Var> {
    let y = pool::average_forward(x.tensor(), window, count_padding)?;
    let shape = x.tensor().shape().nchw("the input of average pooling")?;
    Var::record(y, &[x], || AvgPool { shape, window: *window, count_padding })
}

struct AvgPool {
    shape: [usize; 4],
    window: Window,
    count_padding: bool,
}

impl Backward for AvgPool {
    fn backward(&self, dy: &Tensor, _: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(pool::average_backward(dy, self.shape, &self.window, self.count_padding)?)])
    }
}
