//! Normalizations by channel: values, running statistics and every gradient, in each form, against the formulas in f64.

mod fold;
mod statistics;

use std::fmt::Display;

use super::super::oracle::norm::Normalization;
use super::super::oracle::{norm_of, wide};
use super::super::{Case, Trial};
use super::values;
use crate::Result;
use crate::kernel::counter::NEVER;
use crate::kernel::norm::{
    Form, Norm, NormState, Statistics, input_grad, input_grads, normalize, parameter_grads, rules, shares,
};
use crate::shader_test::Bound;
use crate::tensor::{Shape, Tensor};

const FAMILY: &str = "normalization";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "every form with and without bias and ReLU", forms).on_both(),
    Case::new(FAMILY, "shapes of every kernel variant", shapes).on_both(),
    Case::new(FAMILY, "more workgroups than one dimension holds", many_workgroups).on_both(),
    Case::new(FAMILY, "more workgroups than one dimension holds, by plane", large_planes).thorough(),
    Case::new(FAMILY, "a small variance on a large mean", statistics::small_variance).on_both(),
    Case::new(FAMILY, "statistics stand still from a step on and if marked", statistics::stand_still)
        .on_both(),
    Case::new(FAMILY, "estimating moves the statistics and counts nothing", statistics::estimating).on_both(),
    Case::new(FAMILY, "sums have a fixed order", fixed_order).on_both(),
    Case::new(FAMILY, "gammas at and near zero", zero_gammas).on_both(),
    Case::new(FAMILY, "weights are folded by output channel", fold::by_channel).on_both(),
    Case::new(FAMILY, "a frozen fold holds no factor away from zero", fold::frozen),
];

const EPS: f32 = 1e-3;
const MOMENTUM: f32 = 0.9;
const FORMS: [Form; 3] = [Form::Plain, Form::TwoConv, Form::OneConv];
const TRAINING: Statistics = Statistics::Batch { momentum: MOMENTUM, freeze: NEVER };

/// By the norm of a whole tensor, against f64. Most are off by a few units of 6e-8; a variance of two values that lie
/// close together, and a sum of 40 000 values of both signs, by a hundred of them. A root may be off by 4.5 units and
/// a quotient by 2.5 (WGSL, accuracy of f32), each once or twice on the way to a value.
const CLOSE: f64 = 2e-5;

/// The parameters and the state of a normalization, on the device and on the host.
struct Setup {
    case: Normalization,
    gamma: Tensor,
    beta: Tensor,
    bias: Option<Tensor>,
    state: NormState,
}

fn positive(t: &Trial<'_>, count: usize, stream: u64) -> Vec<f32> {
    t.draw(stream).numbers(count, 0.3, 3.3)
}

/// What decides about a normalization beside its extents.
#[derive(Clone, Copy)]
struct Kind {
    form: Form,
    with_bias: bool,
    relu: bool,
    /// Statistics of the batch.
    batch: bool,
}

impl Kind {
    const fn plain(form: Form, batch: bool) -> Kind {
        Kind { form, with_bias: false, relu: false, batch }
    }
}

impl Setup {
    fn new(t: &Trial<'_>, extents: [usize; 3], kind: Kind) -> Result<Setup> {
        // Some gammas below zero, none at it.
        let mut gamma = positive(t, extents[1], 11);
        gamma.iter_mut().skip(1).step_by(3).for_each(|v| *v = -*v);
        Setup::with_gamma(t, extents, kind, gamma)
    }

    fn with_gamma(t: &Trial<'_>, extents: [usize; 3], kind: Kind, gamma: Vec<f32>) -> Result<Setup> {
        let channels = extents[1];
        let [beta, bias, mean] = [12, 13, 14].map(|stream| values(t, channels, stream));
        let var = positive(t, channels, 15);
        let up = |v: &[f32]| t.tensor([channels], v);
        Ok(Setup {
            gamma: up(&gamma)?,
            beta: up(&beta)?,
            bias: kind.with_bias.then(|| up(&bias)).transpose()?,
            state: NormState { mean: up(&mean)?, var: up(&var)?, steps: t.words(&vec![5; channels])? },
            case: Normalization {
                form: kind.form,
                extents,
                gamma: wide(&gamma),
                beta: wide(&beta),
                bias: if kind.with_bias { wide(&bias) } else { vec![0.0; channels] },
                mean: wide(&mean),
                var: wide(&var),
                eps: EPS.into(),
                relu: kind.relu,
                batch: kind.batch,
            },
        })
    }

    fn norm(&self) -> Norm<'_> {
        let form = self.case.form;
        Norm { form, gamma: &self.gamma, bias: self.bias.as_ref(), state: &self.state, eps: EPS }
    }
}

fn near(t: &mut Trial<'_>, what: impl Display, actual: &Tensor, expected: &[f64]) -> Result<()> {
    t.by_norm(what, &actual.read_f32()?, expected, 0.0, CLOSE)
}

/// Of sums that may cancel.
fn near_sums(
    t: &mut Trial<'_>,
    what: impl Display,
    actual: &Tensor,
    expected: &[f64],
    size: f64,
) -> Result<()> {
    t.by_norm(what, &actual.read_f32()?, expected, size, CLOSE)
}

/// Values, running statistics and all gradients on the device and on the host. Channels lie around different means, none
/// of them zero.
fn all_of(
    t: &mut Trial<'_>,
    shape: &[usize],
    form: Form,
    [with_bias, relu]: [bool; 2],
    statistics: Statistics,
) -> Result<()> {
    let shape = Shape::from(shape);
    let extents = [shape[0], shape[1], shape[2..].iter().product()];
    let what = format!("{form:?} of {shape}, bias {with_bias}, ReLU {relu}, {statistics:?}");
    let batch = statistics != Statistics::Running;
    let setup = Setup::new(t, extents, Kind { form, with_bias, relu, batch })?;
    let [_, channels, plane] = extents;
    let around = |stream: u64| -> Vec<f32> {
        let mut x = values(t, shape.count(), stream);
        x.iter_mut().enumerate().for_each(|(i, v)| *v += (i / plane % channels % 7 + 1) as f32 * 0.5);
        x
    };
    let (z, z0, mut g) = (around(1), around(2), values(t, shape.count(), 3));
    let (wide_z, wide_z0) = (wide(&z), wide(&z0));
    setup.case.off_the_corner(&wide_z, &wide_z0, &mut g);
    let (device_z, device_z0, device_g) =
        (t.tensor(&shape, &z)?, t.tensor(&shape, &z0)?, t.tensor(&shape, &g)?);
    let expected = setup.case.answer(&wide_z, &wide_z0, &wide(&g));

    let two = form == Form::TwoConv;
    let (observed, wide_observed) = if two { (&device_z0, &wide_z0) } else { (&device_z, &wide_z) };
    let rule = rules(&setup.norm(), observed, statistics)?;
    let y = normalize(&device_z, &rule, &setup.beta, relu)?;
    near(t, format!("{what}: values"), &y, &expected.y)?;
    let (mean, var) = setup.case.moved(wide_observed, MOMENTUM.into());
    near_sums(
        t,
        format!("{what}: running mean"),
        &setup.state.mean,
        &mean,
        norm_of(setup.case.mean.iter().copied()),
    )?;
    near(t, format!("{what}: running variance"), &setup.state.var, &var)?;
    let steps = if batch { 6 } else { 5 };
    t.same(format!("{what}: steps"), &setup.state.steps.read_u32()?, &vec![steps; channels])?;

    let all = parameter_grads(&device_g, &device_z, &rule, &setup.beta, relu, with_bias)?;
    near_sums(t, format!("{what}: gradient of gamma"), &all.gamma, &expected.gamma, expected.sizes.gamma)?;
    near_sums(t, format!("{what}: gradient of beta"), &all.beta, &expected.beta, expected.sizes.beta)?;
    t.that(
        format!("{what}: a gradient of the bias is {}", all.bias.is_some()),
        all.bias.is_some() == with_bias,
    )?;
    if let Some(bias) = &all.bias {
        near_sums(t, format!("{what}: gradient of the bias"), bias, &expected.bias, expected.sizes.bias)?;
    }
    let dz = input_grad(&device_g, &device_z, &all.shares, relu, batch && !two)?;
    near_sums(t, format!("{what}: gradient of the values"), &dz, &expected.dz, expected.sizes.dz)?;
    if two {
        let both = |first| input_grads(&device_g, &device_z, &device_z0, &all.shares, relu, first);
        let (dz, dz0) = both(true)?;
        t.that(format!("{what}: no gradient of the folded values"), dz.is_some())?;
        if let Some(dz) = dz {
            near_sums(
                t,
                format!("{what}: gradient of the folded values"),
                &dz,
                &expected.dz,
                expected.sizes.dz,
            )?;
        }
        near_sums(
            t,
            format!("{what}: gradient of the unfolded values"),
            &dz0,
            &expected.dz0,
            expected.sizes.dz0,
        )?;
        let (none, alone) = both(false)?;
        t.that(format!("{what}: a gradient that nobody wants"), none.is_none())?;
        t.values(format!("{what}: the other alone"), &alone, &dz0.read_f32()?, Bound::Bits)?;
    }
    if !batch {
        let given = shares(&rule, &setup.beta, relu)?;
        let dz = input_grad(&device_g, &device_z, &given, relu, false)?;
        near_sums(t, format!("{what}: gradient of the values alone"), &dz, &expected.dz, expected.sizes.dz)?;
    }
    Ok(())
}

fn forms(t: &mut Trial<'_>) -> Result<()> {
    for form in FORMS {
        for flags in 0..4 {
            let [with_bias, relu] = [1, 2].map(|bit| flags & bit != 0);
            if form == Form::Plain && with_bias {
                continue;
            }
            for statistics in [TRAINING, Statistics::Running] {
                // One workgroup for a channel, and several.
                for shape in [[5, 3, 3, 3], [7, 2, 40, 65]] {
                    all_of(t, &shape, form, [with_bias, relu], statistics)?;
                }
            }
        }
    }
    Ok(())
}

fn shapes(t: &mut Trial<'_>) -> Result<()> {
    let shapes: [&[usize]; 18] = [
        &[2, 1],
        &[5, 3],
        &[2, 300],
        &[100, 70],
        &[1, 1, 2],
        &[1, 5, 1, 3],
        &[4, 3, 2, 2],    // whole vectors, each row in its own lanes
        &[3, 5, 7, 7],    // planes of no whole vectors
        &[6, 2, 4, 9],    // more lanes than a plane, several rows at a time
        &[3, 2, 16, 16],  // as many vectors as lanes
        &[2, 3, 22, 24],  // long planes in vectors
        &[5, 2, 13, 11],  // long planes of single values, more rows than a body is repeated
        &[2, 20, 90, 92], // many channels
        &[9, 3, 61, 33],  // pieces of whole rows
        &[9000, 2, 2],    // pieces of many rows
        &[40_000, 1],
        &[2, 3, 150, 151], // pieces of a plane
        &[1, 2, 300, 100],
    ];
    for shape in shapes {
        all_of(t, shape, Form::Plain, [false, true], TRAINING)?;
        all_of(t, shape, Form::TwoConv, [false, true], TRAINING)?;
    }
    Ok(())
}

fn many_workgroups(t: &mut Trial<'_>) -> Result<()> {
    // A workgroup for each of 65 537 channels, and one row in the last.
    all_of(t, &[2, 65_537], Form::Plain, [false, false], TRAINING)?;
    // More blocks of four rows than workgroups in a dimension.
    all_of(t, &[262_145, 1], Form::Plain, [false, false], TRAINING)?;
    fold::many_channels(t)
}

fn large_planes(t: &mut Trial<'_>) -> Result<()> {
    // More blocks of 64 values in a row: 4 194 302 of them.
    all_of(t, &[1, 33_026, 127], Form::Plain, [false, false], Statistics::Running)
}

fn fixed_order(t: &mut Trial<'_>) -> Result<()> {
    let run = |t: &Trial<'_>| -> Result<[Tensor; 6]> {
        let extents = [9, 3, 2013];
        let setup = Setup::new(t, extents, Kind { relu: true, ..Kind::plain(Form::Plain, true) })?;
        let up = |stream| t.tensor(extents, &values(t, 9 * 3 * 2013, stream));
        let (x, g) = (up(1)?, up(2)?);
        let rule = rules(&setup.norm(), &x, TRAINING)?;
        let all = parameter_grads(&g, &x, &rule, &setup.beta, true, false)?;
        let dx = input_grad(&g, &x, &all.shares, true, true)?;
        Ok([rule, setup.state.mean, setup.state.var, all.gamma, all.beta, dx])
    };
    for (one, other) in run(t)?.iter().zip(&run(t)?) {
        t.values("twice the same", one, &other.read_f32()?, Bound::Bits)?;
    }
    Ok(())
}

/// Numbers stay finite, and gradients lead away from zero.
fn zero_gammas(t: &mut Trial<'_>) -> Result<()> {
    for form in FORMS {
        for batch in [true, false] {
            let what = format!("{form:?}, training {batch}");
            let extents = [3, 6, 5];
            let gamma = vec![0.0, -0.0, 1e-12, -1e-12, 1e-5, -0.5];
            let setup = Setup::with_gamma(t, extents, Kind::plain(form, batch), gamma)?;
            // What a convolution with the folded weights gives: values around 1 times the factor.
            let (z0, g) = (values(t, 90, 1), values(t, 90, 2));
            let factor =
                |i: usize| if form == Form::Plain { 1.0 } else { setup.case.ratio(i / 5 % 6).0 as f32 };
            let z: Vec<f32> = z0.iter().enumerate().map(|(i, v)| v * factor(i)).collect();
            let up = |v: &[f32]| t.tensor(extents, v);
            let (device_z, device_z0, device_g) = (up(&z)?, up(&z0)?, up(&g)?);
            let (observed, host_observed) =
                if form == Form::TwoConv { (&device_z0, &z0) } else { (&device_z, &z) };
            let statistics = if batch { TRAINING } else { Statistics::Running };
            let rule = rules(&setup.norm(), observed, statistics)?;
            let y = normalize(&device_z, &rule, &setup.beta, false)?;
            let all = parameter_grads(&device_g, &device_z, &rule, &setup.beta, false, false)?;
            let own = batch && form != Form::TwoConv;
            let dz = input_grad(&device_g, &device_z, &all.shares, false, own)?;
            let expected = setup.case.answer(&wide(&z), &wide(&z0), &wide(&g));
            near(t, format!("{what}: values"), &y, &expected.y)?;
            near_sums(
                t,
                format!("{what}: gradient of gamma"),
                &all.gamma,
                &expected.gamma,
                expected.sizes.gamma,
            )?;
            near_sums(t, format!("{what}: gradient of the values"), &dz, &expected.dz, expected.sizes.dz)?;
            let (y, gamma, dz) = (y.read_f32()?, all.gamma.read_f32()?, dz.read_f32()?);
            let finite = dz.iter().chain(&gamma).all(|v| v.is_finite());
            t.that(format!("{what}: gradients are not finite: {gamma:?}, {dz:?}"), finite)?;
            if own {
                let alive =
                    gamma.iter().zip(&expected.gamma).all(|(v, e)| f64::from(v.abs()) > e.abs() / 2.0);
                t.that(format!("{what}: a dead channel: {gamma:?}"), alive)?;
            }
            // Two channels of zero: nothing but beta comes out.
            if batch || form == Form::Plain {
                let at: Vec<usize> = (0..90).filter(|i| i / 5 % 6 < 2).collect();
                let beta = setup.beta.read_f32()?;
                let found: Vec<f32> = at.iter().map(|&i| y[i]).collect();
                let shifts: Vec<f32> = at.iter().map(|&i| beta[i / 5 % 6]).collect();
                t.numbers(format!("{what}: channels of zero"), &found, &shifts, Bound::Equal)?;
            }
            let (mean, var) = setup.case.moved(&wide(host_observed), MOMENTUM.into());
            near_sums(
                t,
                format!("{what}: running mean"),
                &setup.state.mean,
                &mean,
                norm_of(setup.case.mean.iter().copied()),
            )?;
            near(t, format!("{what}: running variance"), &setup.state.var, &var)?;
        }
    }
    Ok(())
}
