//! A convolution with a normalization in each form: what it should compute and what its gradients should be, in f64.

use super::super::super::Trial;
use super::super::super::oracle::norm::Normalization;
use super::super::super::oracle::{relative_error, wide};
use super::super::away_from_zero;
use super::{EPS, MOMENTUM, REQUIRED};
use crate::Result;
use crate::autograd::{Tape, Var};
use crate::gpu::Gpu;
use crate::kernel::conv::{Geometry, Padding};
use crate::kernel::norm::Form;
use crate::ops::*;
use crate::tensor::Tensor;

/// Training steps before the one under test.
pub(super) const STEPS: u32 = 7;

/// A convolution and what comes after it.
#[derive(Clone)]
pub(super) struct Scene<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) form: Form,
    pub(super) x: [usize; 4],
    pub(super) w: [usize; 4],
    pub(super) geometry: Geometry,
    pub(super) with_bias: bool,
    pub(super) relu: bool,
    pub(super) statistics: Statistics,
    /// Mean and variance before the step.
    pub(super) running: [Vec<f32>; 2],
}

/// x, w, gamma, beta and, in the folds, bias.
pub(super) type Inputs<T> = [Vec<T>; 5];
const NAMES: [&str; 5] = ["x", "w", "gamma", "beta", "bias"];

/// Inputs, weights and geometries: even, odd, strided, in groups, by depth, of one pixel.
type Shapes = ([usize; 4], [usize; 4], Geometry);

pub(super) const PLAIN: Geometry =
    Geometry { stride: [1, 1], padding: Padding::Valid, dilation: [1, 1], groups: 1 };
const UNEVEN: Padding = Padding::Explicit { top: 1, bottom: 0, left: 0, right: 2 };
const SHAPES: [Shapes; 6] = [
    ([2, 3, 6, 6], [4, 3, 3, 3], PLAIN),
    ([3, 2, 5, 7], [3, 2, 3, 2], Geometry { padding: UNEVEN, ..PLAIN }),
    ([2, 2, 7, 6], [5, 2, 3, 3], Geometry { stride: [2, 2], padding: Padding::Same, ..PLAIN }),
    ([2, 4, 5, 5], [6, 2, 2, 2], Geometry { groups: 2, stride: [2, 1], ..PLAIN }),
    ([3, 4, 4, 4], [4, 1, 3, 3], Geometry { groups: 4, padding: Padding::Same, ..PLAIN }),
    ([6, 5, 1, 1], [3, 5, 1, 1], PLAIN),
];

pub(super) const FORMS: [Form; 3] = [Form::Plain, Form::TwoConv, Form::OneConv];

/// Training before the freeze, at it, after it, and evaluation.
pub(super) const ALL_STATISTICS: [Statistics; 4] = [
    Statistics::Batch { momentum: MOMENTUM, freeze: STEPS + 1 },
    Statistics::Batch { momentum: MOMENTUM, freeze: STEPS },
    Statistics::Batch { momentum: MOMENTUM, freeze: STEPS - 1 },
    Statistics::Running,
];

pub(super) fn scenes<'a>(t: &Trial<'a>) -> Vec<Scene<'a>> {
    let mut all = Vec::new();
    for (number, shapes) in SHAPES.into_iter().enumerate() {
        for form in FORMS {
            for statistics in ALL_STATISTICS {
                for flags in 0..4 {
                    let [with_bias, relu] = [1, 2].map(|bit| flags & bit != 0);
                    // All four in one geometry, and in the others one of them in turn.
                    let taken = number == 0 || flags == number % 4;
                    if taken && !(form == Form::Plain && with_bias) {
                        all.push(Scene { with_bias, relu, ..Scene::new(t, form, shapes, statistics) });
                    }
                }
            }
        }
    }
    all
}

impl<'a> Scene<'a> {
    /// Without bias and ReLU.
    pub(super) fn new(
        t: &Trial<'a>,
        form: Form,
        (x, w, geometry): Shapes,
        statistics: Statistics,
    ) -> Scene<'a> {
        let var = away_from_zero(t, w[0], 31).iter().map(|v| v.abs() + 0.5).collect();
        let running = [away_from_zero(t, w[0], 30), var];
        Scene { gpu: t.gpu(), form, x, w, geometry, with_bias: false, relu: false, statistics, running }
    }

    /// Inputs, and the weights of the loss: the gradient of y.
    pub(super) fn drawn(&self, t: &Trial<'_>) -> Result<(Inputs<f32>, Vec<f32>)> {
        let [x, w] = [self.x, self.w].map(|shape| shape.iter().product());
        let o = self.w[0];
        let counts = [x, w, o, o, o];
        let inputs = std::array::from_fn(|i| away_from_zero(t, counts[i], 20 + i as u64));
        let weights = self.weights(t, &inputs)?;
        Ok((inputs, weights))
    }

    /// Weights for other inputs.
    pub(super) fn weights(&self, t: &Trial<'_>, inputs: &Inputs<f32>) -> Result<Vec<f32>> {
        let mut weights = away_from_zero(t, self.y_shape()?.iter().product(), 40);
        let inputs = inputs.each_ref().map(|v| wide(v));
        let case = self.case(&inputs)?;
        let [z, z0] = self.convolutions(&case, &inputs)?;
        case.off_the_corner(&z, &z0, &mut weights);
        Ok(weights)
    }

    pub(super) fn tensor(&self, shape: &[usize], values: &[f32]) -> Result<Tensor> {
        Tensor::from_f32(self.gpu, shape, values)
    }

    pub(super) fn state(&self) -> Result<NormState> {
        let o = self.w[0];
        let [mean, var] = &self.running;
        let steps = Tensor::from_u32(self.gpu, [o], &vec![STEPS; o])?;
        Ok(NormState { mean: self.tensor(&[o], mean)?, var: self.tensor(&[o], var)?, steps })
    }

    /// The statistics of the batch normalize.
    fn moves(&self) -> bool {
        match self.statistics {
            Statistics::Batch { freeze, .. } | Statistics::Estimate { freeze, .. } => STEPS < freeze,
            Statistics::Running => false,
        }
    }

    pub(super) fn y_shape(&self) -> Result<[usize; 4]> {
        let e = self.geometry.extents(&self.x.into(), &self.w.into())?;
        Ok([self.x[0], self.w[0], e.output[0], e.output[1]])
    }

    pub(super) fn case(&self, inputs: &Inputs<f64>) -> Result<Normalization> {
        let [n, o, h, w] = self.y_shape()?;
        Ok(Normalization {
            form: self.form,
            extents: [n, o, h * w],
            gamma: inputs[2].clone(),
            beta: inputs[3].clone(),
            bias: if self.with_bias { inputs[4].clone() } else { vec![0.0; o] },
            mean: wide(&self.running[0]),
            var: wide(&self.running[1]),
            eps: EPS.into(),
            relu: self.relu,
            batch: self.moves(),
        })
    }

    /// Every product of a value, a weight and an output that meet.
    pub(super) fn meet(&self, mut visit: impl FnMut(usize, usize, usize)) -> Result<()> {
        let e = self.geometry.extents(&self.x.into(), &self.w.into())?;
        let ([n, c, h, w], [o, per_group, kh, kw], [oh, ow]) = (e.input, e.weight, e.output);
        let Geometry { stride, dilation, groups, .. } = self.geometry;
        let inside = |at: usize, tap: usize, axis: usize, extent: usize| {
            (at * stride[axis] + tap * dilation[axis]).checked_sub(e.pad[axis]).filter(|&i| i < extent)
        };
        for ((image, out), i) in pairs(n, o).flat_map(|at| (0..per_group).map(move |i| (at, i))) {
            let channel = out / (o / groups) * per_group + i;
            for ((oy, ox), (ky, kx)) in pairs(oh, ow).flat_map(|at| pairs(kh, kw).map(move |tap| (at, tap))) {
                let (Some(y), Some(x)) = (inside(oy, ky, 0, h), inside(ox, kx, 1, w)) else { continue };
                visit(
                    ((image * c + channel) * h + y) * w + x,
                    ((out * per_group + i) * kh + ky) * kw + kx,
                    ((image * o + out) * oh + oy) * ow + ox,
                );
            }
        }
        Ok(())
    }

    pub(super) fn convolve(&self, x: &[f64], w: &[f64]) -> Result<Vec<f64>> {
        let mut y = vec![0.0; self.y_shape()?.iter().product()];
        self.meet(|at, tap, out| y[out] += x[at] * w[tap])?;
        Ok(y)
    }

    /// How many weights an output channel has.
    pub(super) fn length(&self) -> usize {
        self.w[1..].iter().product()
    }

    /// What is normalized, and in the form of two convolutions what the statistics are of.
    pub(super) fn convolutions(
        &self,
        case: &Normalization,
        [x, w, ..]: &Inputs<f64>,
    ) -> Result<[Vec<f64>; 2]> {
        if self.form == Form::Plain {
            return Ok([self.convolve(x, w)?, Vec::new()]);
        }
        let folded: Vec<f64> =
            w.iter().enumerate().map(|(i, w)| w * case.ratio(i / self.length()).0).collect();
        Ok([self.convolve(x, &folded)?, self.convolve(x, w)?])
    }

    /// The loss on the host.
    fn loss(&self, inputs: &Inputs<f64>, weights: &[f64]) -> Result<f64> {
        let case = self.case(inputs)?;
        let [z, z0] = self.convolutions(&case, inputs)?;
        Ok(case.answer(&z, &z0, weights).y.iter().zip(weights).map(|(y, w)| y * w).sum())
    }

    /// Finite differences in f64: steps of 1e-5 leave errors of about 1e-10.
    pub(super) fn slopes(&self, inputs: &Inputs<f64>, weights: &[f64]) -> Result<Inputs<f64>> {
        let mut moved = inputs.clone();
        let mut slopes = inputs.clone();
        for (number, slopes) in slopes.iter_mut().enumerate() {
            for (place, slope) in slopes.iter_mut().enumerate() {
                let value = inputs[number][place];
                moved[number][place] = value + 1e-5;
                let above = self.loss(&moved, weights)?;
                moved[number][place] = value - 1e-5;
                *slope = (above - self.loss(&moved, weights)?) / 2e-5;
                moved[number][place] = value;
            }
        }
        Ok(slopes)
    }

    pub(super) fn fold<'v>(&self, v: &'v [Var], state: &'v NormState) -> Fold<'v> {
        let bias = self.with_bias.then_some(&v[4]);
        Fold { gamma: &v[2], beta: &v[3], bias, state, eps: EPS, statistics: self.statistics }
    }

    pub(super) fn fold_form(&self) -> FoldForm {
        if self.form == Form::TwoConv { FoldForm::TwoConv } else { FoldForm::OneConv(self.statistics) }
    }

    pub(super) fn conv(&self, x: &Var, w: &Var) -> Result<Var> {
        conv2d(x, w, None, &self.geometry, false)
    }

    /// The library's operations.
    pub(super) fn fused(&self, v: &[Var], state: &NormState) -> Result<Var> {
        let fold = self.fold(v, state);
        if self.form == Form::Plain {
            let z = self.conv(&v[0], &v[1])?;
            return batch_norm(&z, &v[2], &v[3], state, EPS, self.statistics, self.relu);
        }
        let z = self.conv(&v[0], &fold_weight(&v[1], &v[2], state, EPS, self.fold_form())?)?;
        if self.form == Form::OneConv {
            return normalize_one_conv(&z, &fold, self.relu);
        }
        normalize_two_conv(&z, Some(&self.conv(&v[0], &v[1])?), &fold, self.relu)
    }

    /// The same of single operations.
    pub(super) fn plain(&self, v: &[Var]) -> Result<Var> {
        let o = self.w[0];
        let mean = Var::constant(self.tensor(&[o], &self.running[0])?);
        let var = Var::constant(self.tensor(&[o], &self.running[1])?);
        let eps = Var::constant(self.tensor(&[], &[EPS])?);
        let s = sqrt(&add(&var, &eps)?)?;
        let by_weight = |v: &Var| reshape(v, [o, 1, 1, 1]);
        let by_channel = |v: &Var| reshape(v, [o, 1, 1]);
        let mean_of = |z: &Var| by_channel(&crate::ops::mean(&crate::ops::mean(z, 2..4)?, 0..1)?);
        let deviation_of = |z: &Var, mean: &Var| {
            let away = sub(z, mean)?;
            sqrt(&add(&mean_of(&mul(&away, &away)?)?, &eps)?)
        };
        let (gamma, beta) = (by_channel(&v[2])?, by_channel(&v[3])?);
        let bias =
            if self.with_bias { v[4].clone() } else { Var::constant(self.tensor(&[o], &vec![0.0; o])?) };
        let ratio = div(&v[2], &s)?;
        let unfolded = || self.conv(&v[0], &v[1]);
        let folded = || self.conv(&v[0], &mul(&v[1], &by_weight(&ratio)?)?);
        let y = match (self.form, self.moves()) {
            (Form::Plain, false) => {
                let hat = div(&sub(&unfolded()?, &by_channel(&mean)?)?, &by_channel(&s)?)?;
                add(&mul(&hat, &gamma)?, &beta)?
            }
            (_, false) => {
                let shift = mul(&by_channel(&sub(&bias, &mean)?)?, &by_channel(&ratio)?)?;
                add(&add(&folded()?, &beta)?, &shift)?
            }
            (Form::TwoConv, true) => {
                let z0 = add(&unfolded()?, &by_channel(&bias)?)?;
                let mb = mean_of(&z0)?;
                let sb = deviation_of(&z0, &mb)?;
                let z = add(&folded()?, &by_channel(&mul(&bias, &ratio)?)?)?;
                let scaled = div(&mul(&z, &by_channel(&s)?)?, &sb)?;
                sub(&add(&scaled, &beta)?, &div(&mul(&gamma, &mb)?, &sb)?)?
            }
            (form, true) => {
                let u = match form {
                    Form::OneConv => add(&div(&folded()?, &by_channel(&ratio)?)?, &by_channel(&bias)?)?,
                    _ => unfolded()?,
                };
                let mb = mean_of(&u)?;
                let hat = div(&sub(&u, &mb)?, &deviation_of(&u, &mb)?)?;
                add(&mul(&hat, &gamma)?, &beta)?
            }
        };
        if self.relu { activation(Activation::Relu, &y) } else { Ok(y) }
    }

    /// Values and gradients on the device.
    pub(super) fn walk(
        &self,
        inputs: &Inputs<f32>,
        op: impl Fn(&[Var]) -> Result<Var>,
        seed: &[f32],
    ) -> Result<(Vec<f32>, Inputs<f32>)> {
        let tape = Tape::new();
        let o = [self.w[0]];
        let shapes: [&[usize]; 5] = [&self.x, &self.w, &o, &o, &o];
        let leaves: Vec<Var> = inputs
            .iter()
            .zip(shapes)
            .map(|(v, shape)| Ok(tape.leaf(&self.tensor(shape, v)?)))
            .collect::<Result<_>>()?;
        let y = op(&leaves)?;
        let gradients = tape.backward_from(&y, self.tensor(&self.y_shape()?, seed)?)?;
        let mut found = inputs.each_ref().map(|v| vec![0.0; v.len()]);
        for (found, leaf) in found.iter_mut().zip(&leaves) {
            if let Some(gradient) = gradients.of(leaf) {
                *found = gradient.read_f32()?;
            }
        }
        Ok((y.tensor().read_f32()?, found))
    }

    pub(super) fn name(&self) -> String {
        let Scene { form, x, w, with_bias, relu, statistics, geometry, .. } = self;
        format!("{form:?} of {x:?} and {w:?}, {geometry:?}, bias {with_bias}, ReLU {relu}, {statistics:?}")
    }

    /// Holds each gradient against what it should be.
    pub(super) fn hold(
        &self,
        t: &mut Trial<'_>,
        against: &str,
        found: &Inputs<f32>,
        expected: &Inputs<f64>,
    ) -> Result<()> {
        for ((name, found), expected) in NAMES.iter().zip(found).zip(expected) {
            // The bias cancels in training: there its gradient is nothing, to the bit on the device.
            let off = if expected.iter().all(|e| e.abs() < 1e-4) {
                found.iter().fold(0.0f64, |most, v| most.max(v.abs().into()))
            } else {
                relative_error(found, expected, 0.0)
            };
            t.within(format!("{}: gradient of {name} against {against}", self.name()), off, REQUIRED)?;
        }
        Ok(())
    }
}

fn pairs(a: usize, b: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..a).flat_map(move |i| (0..b).map(move |j| (i, j)))
}
