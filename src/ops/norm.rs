//! Batch normalization (Ioffe and Szegedy 2015, arXiv 1502.03167), by itself and folded into the convolution before it
//! (Jacob et al. 2018, arXiv 1712.05877; Krishnamoorthi 2018, arXiv 1806.08342).
//!
//! Whether running statistics stand still is decided on the device: a recording follows it.

use crate::autograd::{Backward, Var};
use crate::kernel::norm::{self, Form, Norm};
pub use crate::kernel::norm::{FoldForm, NormState, Statistics};
use crate::tensor::Tensor;
use crate::{Error, Result};

/// y = (x - mean) / sqrt(var + eps) * gamma + beta by channel of x [N, C, ...], cut at zero where `relu`; gamma and
/// beta are `[C]`.
///
/// # Errors
/// Where shapes disagree, eps or the momentum make no sense, a channel of the batch has only one value (with
/// [`Statistics::Batch`]), or the device has failed.
pub fn batch_norm(
    x: &Var,
    gamma: &Var,
    beta: &Var,
    state: &NormState,
    eps: f32,
    statistics: Statistics,
    relu: bool,
) -> Result<Var> {
    let fold = Fold { gamma, beta, bias: None, state, eps, statistics };
    normalize(Form::Plain, x, None, &fold, relu)
}

/// w [O, ...] * gamma / sqrt(running variance + eps) by output channel. Call it before the normalization of the same
/// step, which moves the running variance.
///
/// # Errors
/// Where shapes disagree, eps is not above zero, or the device has failed.
pub fn fold_weight(w: &Var, gamma: &Var, state: &NormState, eps: f32, form: FoldForm) -> Result<Var> {
    let folded = norm::fold_weight(w.tensor(), gamma.tensor(), state, eps, form)?;
    Var::record(folded.weight, &[w, gamma], || FoldedWeight {
        w: w.tensor().clone(),
        factors: folded.factors,
    })
}

struct FoldedWeight {
    w: Tensor,
    factors: Tensor,
}

impl Backward for FoldedWeight {
    /// dw = d * gamma / s;  dgamma = sum of d * w over the channel / s
    fn backward(&self, d: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(norm::fold_weight_grad(d, &self.w, &self.factors, [wanted[0], wanted[1]])?.into())
    }
}

/// A normalization that was folded into the convolution before it.
#[derive(Clone, Copy)]
pub struct Fold<'a> {
    /// Factor of the normalized values, `[C]`.
    pub gamma: &'a Var,
    /// What is added to them, `[C]`.
    pub beta: &'a Var,
    /// Bias of the convolution, `[C]`. The convolution must not add it: in training it cancels, and folding makes it
    /// (bias - mean) * gamma / s + beta.
    pub bias: Option<&'a Var>,
    /// Running statistics, of the convolution with its bias.
    pub state: &'a NormState,
    /// What is added to variances.
    pub eps: f32,
    /// Which statistics normalize.
    pub statistics: Statistics,
}

/// What stands behind the convolution `z` of weights from [`fold_weight`] in the form of two convolutions; cut at zero
/// where `relu`. `z0` is the output of the convolution with the unfolded weights.
///
/// - Training: y = z * s / sB + beta - gamma * mB / sB, with mean mB and deviation sB of `z0`, and the running
///   deviation s of before this step.
/// - Frozen, and with the running statistics: y = z + beta + (bias - mean) * gamma / s. Then `z0` is not looked at,
///   and with [`Statistics::Running`] it may be `None`.
///
/// # Errors
/// Where `z0` is missing in training, and as [`batch_norm`].
pub fn normalize_two_conv(z: &Var, z0: Option<&Var>, fold: &Fold<'_>, relu: bool) -> Result<Var> {
    let z0 = z0.filter(|_| fold.statistics != Statistics::Running);
    if z0.is_none() && fold.statistics != Statistics::Running {
        return Err(Error::Invalid(
            "the fold with two convolutions trains with the output of the second, of the unfolded weights; it is \
             missing"
                .into(),
        ));
    }
    normalize(Form::TwoConv, z, z0, fold, relu)
}

/// What stands behind the convolution `z` of weights from [`fold_weight`] in the form of one convolution; cut at zero
/// where `relu`.
///
/// - Training: the normalization of z / r by its own statistics, where r is what the weights were multiplied by.
/// - Frozen, and with the running statistics: y = z + beta + (bias - mean) * gamma / s.
///
/// # Errors
/// As [`batch_norm`].
pub fn normalize_one_conv(z: &Var, fold: &Fold<'_>, relu: bool) -> Result<Var> {
    normalize(Form::OneConv, z, None, fold, relu)
}

fn normalize(form: Form, z: &Var, z0: Option<&Var>, fold: &Fold<'_>, relu: bool) -> Result<Var> {
    let Fold { gamma, beta, bias, state, eps, statistics } = *fold;
    if let Some(z0) = z0
        && z0.tensor().shape() != z.tensor().shape()
    {
        return Err(Error::Shape(format!(
            "the convolutions with folded and unfolded weights give the shapes {} and {}; they must be alike",
            z.tensor().shape(),
            z0.tensor().shape()
        )));
    }
    let norm = Norm { form, gamma: gamma.tensor(), bias: bias.map(Var::tensor), state, eps };
    let rules = norm::rules(&norm, z0.unwrap_or(z).tensor(), statistics)?;
    let y = norm::normalize(z.tensor(), &rules, beta.tensor(), relu)?;
    let inputs: Vec<&Var> = [z, gamma, beta].into_iter().chain(bias).chain(z0).collect();
    Var::record(y, &inputs, || Normalized {
        z: z.tensor().clone(),
        z0: z0.map(|z0| z0.tensor().clone()),
        beta: beta.tensor().clone(),
        rules,
        relu,
        with_bias: bias.is_some(),
        moves: statistics != Statistics::Running,
    })
}

struct Normalized {
    z: Tensor,
    z0: Option<Tensor>,
    beta: Tensor,
    rules: Tensor,
    relu: bool,
    with_bias: bool,
    /// The statistics may be those of the values, so that gradients go through them.
    moves: bool,
}

impl Backward for Normalized {
    /// By the rules: see `shaders/norm/rule.wgsl`.
    fn backward(&self, dy: &Tensor, wanted: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let bias = self.with_bias && wanted[3];
        let unfolded = self.z0.as_ref().filter(|_| wanted[wanted.len() - 1]);
        let parameters = wanted[1] || wanted[2] || bias;
        // What goes through the statistics is made of the same sums as the gradients of the parameters.
        let through = self.moves && (unfolded.is_some() || (self.z0.is_none() && wanted[0]));
        let (shares, [d_gamma, d_beta, d_bias]) = if parameters || through {
            let all = norm::parameter_grads(dy, &self.z, &self.rules, &self.beta, self.relu, bias)?;
            (all.shares, [wanted[1].then_some(all.gamma), wanted[2].then_some(all.beta), all.bias])
        } else {
            (norm::shares(&self.rules, &self.beta, self.relu)?, [None, None, None])
        };
        let (dz, dz0) = match unfolded {
            Some(z0) => {
                let (dz, dz0) = norm::input_grads(dy, &self.z, z0, &shares, self.relu, wanted[0])?;
                (dz, Some(dz0))
            }
            None => {
                let own = self.moves && self.z0.is_none();
                let dz = || norm::input_grad(dy, &self.z, &shares, self.relu, own);
                (wanted[0].then(dz).transpose()?, None)
            }
        };
        let mut gradients = vec![dz, d_gamma, d_beta];
        if self.with_bias {
            gradients.push(d_bias);
        }
        if self.z0.is_some() {
            gradients.push(dz0);
        }
        Ok(gradients)
    }
}
