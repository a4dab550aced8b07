//! Differentiable functions, one file for each family: the forward, and right under it its gradient.

mod activation;
mod arithmetic;
mod conv;
mod dense;
mod fake_quant;
mod learned_step;
mod loss;
mod norm;
mod pool;
mod shape;

pub use activation::{Activation, activation, sqrt};
pub use arithmetic::{add, add_relu, div, mul, mul_scalar, sub};
pub use conv::conv2d;
pub use dense::{dense, matmul};
pub use fake_quant::fake_quant;
pub use learned_step::learned_step_quant;
pub use loss::{Loss, smoothed_cross_entropy, softmax_cross_entropy};
pub use norm::{
    Fold, FoldForm, NormState, Statistics, batch_norm, fold_weight, normalize_one_conv, normalize_two_conv,
};
pub use pool::{avg_pool2d, max_pool2d, relu_max_pool2d};
pub use shape::{flatten, mean, reshape, sum};
