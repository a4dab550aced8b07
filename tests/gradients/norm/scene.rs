//! A convolution with a normalization in each form: what it should compute and what its gradients should be, in f64.

use simqat::Result;
use simqat::autograd::{Tape, Var};
use simqat::gpu::Gpu;
use simqat::kernel::conv::{Geometry, Padding};
use simqat::kernel::norm::Form;
use simqat::ops::*;
use simqat::tensor::Tensor;

use crate::common::gpu;
use crate::common::norm::{Case, relative_error, wide};
use crate::{away_from_zero, tensor};

/// Large, so that gradients through it are seen.
pub(super) const EPS: f32 = 0.5;
pub(super) const MOMENTUM: f32 = 0.9;
pub(super) const FORMS: [Form; 3] = [Form::Plain, Form::TwoConv, Form::OneConv];
/// By the norm of each tensor. Single precision leaves some 3e-7 after sums of up to 162 products; 1e-3 would be good
/// enough to train.
pub(super) const REQUIRED: f64 = 1e-5;
/// Training steps before the one under test.
pub(super) const STEPS: u32 = 7;

/// A convolution and what stands behind it.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) form: Form,
    pub(super) x: [usize; 4],
    pub(super) w: [usize; 4],
    pub(super) geometry: Geometry,
    pub(super) with_bias: bool,
    pub(super) relu: bool,
    pub(super) statistics: Statistics,
}

/// x, w, gamma, beta and, in the folds, bias.
pub(super) type Inputs<T> = [Vec<T>; 5];
pub(super) const NAMES: [&str; 5] = ["x", "w", "gamma", "beta", "bias"];

impl Scene {
    pub(super) fn inputs(&self) -> Inputs<f32> {
        let [x, w] = [self.x, self.w].map(|shape| shape.iter().product());
        let o = self.w[0];
        let counts = [x, w, o, o, o];
        std::array::from_fn(|i| away_from_zero(counts[i], 20 + i as u64))
    }

    pub(super) fn shapes(&self) -> [Vec<usize>; 5] {
        let o = vec![self.w[0]];
        [self.x.to_vec(), self.w.to_vec(), o.clone(), o.clone(), o]
    }

    pub(super) fn running(&self) -> [Vec<f32>; 2] {
        let o = self.w[0];
        [away_from_zero(o, 30), away_from_zero(o, 31).iter().map(|v| v.abs() + 0.5).collect()]
    }

    pub(super) fn state(&self) -> NormState {
        self.state_on(&gpu())
    }

    pub(super) fn state_on(&self, gpu: &Gpu) -> NormState {
        let [mean, var] = self.running().map(|v| Tensor::from_f32(gpu, [v.len()], &v).unwrap());
        let steps = Tensor::from_u32(gpu, [self.w[0]], &vec![STEPS; self.w[0]]).unwrap();
        NormState { mean, var, steps }
    }

    /// The statistics of the batch normalize.
    pub(super) fn moves(&self) -> bool {
        match self.statistics {
            Statistics::Batch { freeze, .. } | Statistics::Estimate { freeze, .. } => STEPS < freeze,
            Statistics::Running => false,
        }
    }

    pub(super) fn y_shape(&self) -> [usize; 4] {
        let e = self.geometry.extents(&self.x.into(), &self.w.into()).unwrap();
        [self.x[0], self.w[0], e.output[0], e.output[1]]
    }

    pub(super) fn case(&self, inputs: &Inputs<f64>) -> Case {
        let [mean, var] = self.running();
        let [n, o, h, w] = self.y_shape();
        Case {
            form: self.form,
            extents: [n, o, h * w],
            gamma: inputs[2].clone(),
            beta: inputs[3].clone(),
            bias: if self.with_bias { inputs[4].clone() } else { vec![0.0; o] },
            mean: wide(&mean),
            var: wide(&var),
            eps: EPS.into(),
            relu: self.relu,
            batch: self.moves(),
        }
    }

    /// Every product of a value, a weight and an output that meet.
    pub(super) fn meet(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let e = self.geometry.extents(&self.x.into(), &self.w.into()).unwrap();
        let ([n, c, h, w], [o, per_group, kh, kw], [oh, ow]) = (e.input, e.weight, e.output);
        let Geometry { stride, dilation, groups, .. } = self.geometry;
        let inside = |at: usize, tap: usize, axis: usize, extent: usize| {
            (at * stride[axis] + tap * dilation[axis]).checked_sub(e.pad[axis]).filter(|&i| i < extent)
        };
        for (image, out, i) in triples(n, o, per_group) {
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
    }

    pub(super) fn convolve(&self, x: &[f64], w: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; self.y_shape().iter().product()];
        self.meet(|at, tap, out| y[out] += x[at] * w[tap]);
        y
    }

    pub(super) fn length(&self) -> usize {
        self.w[1..].iter().product()
    }

    /// What is normalized, and in the form of two convolutions what the statistics are of.
    pub(super) fn convolutions(&self, case: &Case, [x, w, ..]: &Inputs<f64>) -> [Vec<f64>; 2] {
        if self.form == Form::Plain {
            return [self.convolve(x, w), Vec::new()];
        }
        let folded: Vec<f64> =
            w.iter().enumerate().map(|(i, w)| w * case.ratio(i / self.length()).0).collect();
        [self.convolve(x, &folded), self.convolve(x, w)]
    }

    /// The loss on the host.
    pub(super) fn loss(&self, inputs: &Inputs<f64>, weights: &[f64]) -> f64 {
        let case = self.case(inputs);
        let [z, z0] = self.convolutions(&case, inputs);
        let y = case.answer(&z, &z0, weights).y;
        y.iter().zip(weights).map(|(y, w)| y * w).sum()
    }

    /// Finite differences in f64: steps of 1e-5 leave errors of about 1e-10.
    pub(super) fn slopes(&self, inputs: &Inputs<f64>, weights: &[f64]) -> Inputs<f64> {
        std::array::from_fn(|number| {
            (0..inputs[number].len())
                .map(|place| {
                    let at = |off: f64| {
                        let mut moved = inputs.clone();
                        moved[number][place] += off;
                        self.loss(&moved, weights)
                    };
                    (at(1e-5) - at(-1e-5)) / 2e-5
                })
                .collect()
        })
    }

    /// The library's operations.
    pub(super) fn fused(&self, v: &[Var], state: &NormState) -> Result<Var> {
        let fold = Fold {
            gamma: &v[2],
            beta: &v[3],
            bias: self.with_bias.then_some(&v[4]),
            state,
            eps: EPS,
            statistics: self.statistics,
        };
        let conv = |w: &Var| conv2d(&v[0], w, None, &self.geometry, false);
        match self.form {
            Form::Plain => batch_norm(&conv(&v[1])?, &v[2], &v[3], state, EPS, self.statistics, self.relu),
            Form::TwoConv => {
                let z = conv(&fold_weight(&v[1], &v[2], state, EPS, FoldForm::TwoConv)?)?;
                let z0 = conv(&v[1])?;
                normalize_two_conv(&z, Some(&z0), &fold, self.relu)
            }
            Form::OneConv => {
                let z = conv(&fold_weight(&v[1], &v[2], state, EPS, FoldForm::OneConv(self.statistics))?)?;
                normalize_one_conv(&z, &fold, self.relu)
            }
        }
    }

    /// The same of single operations.
    pub(super) fn plain(&self, v: &[Var]) -> Result<Var> {
        let o = self.w[0];
        let [mean, var] = self.running().map(|v| Var::constant(tensor([o], &v)));
        let eps = Var::constant(tensor([], &[EPS]));
        let s = sqrt(&add(&var, &eps)?)?;
        let by_weight = |v: &Var| reshape(v, [o, 1, 1, 1]);
        let by_channel = |v: &Var| reshape(v, [o, 1, 1]);
        let conv = |w: &Var| conv2d(&v[0], w, None, &self.geometry, false);
        let mean_of = |z: &Var| by_channel(&simqat::ops::mean(&simqat::ops::mean(z, 2..4)?, 0..1)?);
        let deviation_of = |z: &Var, mean: &Var| {
            let away = sub(z, mean)?;
            sqrt(&add(&mean_of(&mul(&away, &away)?)?, &eps)?)
        };
        let (gamma, beta) = (by_channel(&v[2])?, by_channel(&v[3])?);
        let bias = if self.with_bias { v[4].clone() } else { Var::constant(tensor([o], &vec![0.0; o])) };
        let ratio = div(&v[2], &s)?;
        let folded = || conv(&mul(&v[1], &by_weight(&ratio)?)?);
        let y = match (self.form, self.moves()) {
            (Form::Plain, false) => {
                let hat = div(&sub(&conv(&v[1])?, &by_channel(&mean)?)?, &by_channel(&s)?)?;
                add(&mul(&hat, &gamma)?, &beta)?
            }
            (_, false) => {
                let shift = mul(&by_channel(&sub(&bias, &mean)?)?, &by_channel(&ratio)?)?;
                add(&add(&folded()?, &beta)?, &shift)?
            }
            (Form::TwoConv, true) => {
                let z0 = add(&conv(&v[1])?, &by_channel(&bias)?)?;
                let mb = mean_of(&z0)?;
                let sb = deviation_of(&z0, &mb)?;
                let z = add(&folded()?, &by_channel(&mul(&bias, &ratio)?)?)?;
                let scaled = div(&mul(&z, &by_channel(&s)?)?, &sb)?;
                sub(&add(&scaled, &beta)?, &div(&mul(&gamma, &mb)?, &sb)?)?
            }
            (form, true) => {
                let u = match form {
                    Form::OneConv => add(&div(&folded()?, &by_channel(&ratio)?)?, &by_channel(&bias)?)?,
                    _ => conv(&v[1])?,
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
    ) -> (Vec<f32>, Inputs<f32>) {
        let tape = Tape::new();
        let shapes = self.shapes();
        let leaves: Vec<Var> =
            inputs.iter().zip(&shapes).map(|(v, shape)| tape.leaf(&tensor(shape.as_slice(), v))).collect();
        let y = op(&leaves).unwrap();
        let gradients = tape.backward_from(&y, tensor(self.y_shape(), seed)).unwrap();
        let each = std::array::from_fn(|i| match gradients.of(&leaves[i]) {
            Some(gradient) => gradient.read_f32().unwrap(),
            None => vec![0.0; inputs[i].len()],
        });
        (y.tensor().read_f32().unwrap(), each)
    }

    pub(super) fn name(&self) -> String {
        let Scene { form, x, w, with_bias, relu, statistics, geometry } = self;
        format!("{form:?} of {x:?} and {w:?}, {geometry:?}, bias {with_bias}, ReLU {relu}, {statistics:?}")
    }

    /// Inputs, and the weights of the loss: the gradient of y.
    pub(super) fn drawn(&self) -> (Inputs<f32>, Vec<f32>) {
        (self.inputs(), away_from_zero(self.y_shape().iter().product(), 40))
    }
}

pub(super) fn pairs(a: usize, b: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..a).flat_map(move |i| (0..b).map(move |j| (i, j)))
}

pub(super) fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    pairs(a, b).flat_map(move |(i, j)| (0..c).map(move |k| (i, j, k)))
}

/// Training before the freeze, at it, behind it, and evaluation.
pub(super) const ALL_STATISTICS: [Statistics; 4] = [
    Statistics::Batch { momentum: MOMENTUM, freeze: STEPS + 1 },
    Statistics::Batch { momentum: MOMENTUM, freeze: STEPS },
    Statistics::Batch { momentum: MOMENTUM, freeze: STEPS - 1 },
    Statistics::Running,
];

pub(super) const PLAIN: Geometry =
    Geometry { stride: [1, 1], padding: Padding::Valid, dilation: [1, 1], groups: 1 };
pub(super) const UNEVEN: Padding = Padding::Explicit { top: 1, bottom: 0, left: 0, right: 2 };

/// Inputs, weights and geometries: even, odd, strided, in groups, by depth, of one pixel.
pub(super) fn geometries() -> [([usize; 4], [usize; 4], Geometry); 6] {
    [
        ([2, 3, 6, 6], [4, 3, 3, 3], PLAIN),
        ([3, 2, 5, 7], [3, 2, 3, 2], Geometry { padding: UNEVEN, ..PLAIN }),
        ([2, 2, 7, 6], [5, 2, 3, 3], Geometry { stride: [2, 2], padding: Padding::Same, ..PLAIN }),
        ([2, 4, 5, 5], [6, 2, 2, 2], Geometry { groups: 2, stride: [2, 1], ..PLAIN }),
        ([3, 4, 4, 4], [4, 1, 3, 3], Geometry { groups: 4, padding: Padding::Same, ..PLAIN }),
        ([6, 5, 1, 1], [3, 5, 1, 1], PLAIN),
    ]
}

pub(super) fn scenes() -> Vec<Scene> {
    let mut all = Vec::new();
    for (number, (x, w, geometry)) in geometries().into_iter().enumerate() {
        for form in FORMS {
            for statistics in ALL_STATISTICS {
                for flags in 0..4 {
                    let [with_bias, relu] = [1, 2].map(|bit| flags & bit != 0);
                    // All four in one geometry, and in the others one of them in turn.
                    let taken = number == 0 || flags == number % 4;
                    if taken && !(form == Form::Plain && with_bias) {
                        all.push(Scene { form, x, w, geometry, with_bias, relu, statistics });
                    }
                }
            }
        }
    }
    all
}

/// Fails where one is farther off than allowed; returns the farthest.
pub(super) fn hold(
    scene: &Scene,
    against: &str,
    found: &Inputs<f32>,
    expected: &Inputs<f64>,
    within: f64,
) -> f64 {
    let mut worst: f64 = 0.0;
    for (number, name) in NAMES.iter().enumerate() {
        let expected = &expected[number];
        let found = &found[number];
        // The bias cancels in training: there its gradient is nothing, to the bit on the device.
        let off = if expected.iter().all(|e| e.abs() < 1e-4) {
            found.iter().fold(0.0f64, |most, v| most.max(v.abs().into()))
        } else {
            relative_error(found, expected)
        };
        assert!(off <= within, "{}: gradient of {name} is off by {off:.1e} of {against}", scene.name());
        worst = worst.max(off);
    }
    worst
}
