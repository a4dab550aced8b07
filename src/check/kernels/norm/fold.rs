//! Weights times what a normalization does to their channel, and the gradients of that.

use super::super::super::Trial;
use super::super::super::oracle::norm_of;
use super::{EPS, Kind, MOMENTUM, Setup, TRAINING, near, near_sums, positive, values};
use crate::Result;
use crate::kernel::counter::{NEVER, freeze};
use crate::kernel::norm::{FoldForm, Form, Statistics, fold_weight, fold_weight_grad};
use crate::tensor::Shape;

pub(super) fn by_channel(t: &mut Trial<'_>) -> Result<()> {
    let shapes: [&[usize]; 6] = [&[1], &[3, 1], &[5, 2, 3, 3], &[4, 4, 2, 2], &[2, 1000], &[3, 333]];
    for shape in shapes {
        let shape = Shape::from(shape);
        for (form, batch) in [(Form::TwoConv, true), (Form::OneConv, true), (Form::OneConv, false)] {
            for zero in [false, true] {
                fold(t, &shape, Kind::plain(form, batch), zero)?;
            }
        }
    }
    Ok(())
}

/// With `zero`, the first channel's gamma is 0.
fn fold(t: &mut Trial<'_>, shape: &Shape, kind: Kind, zero: bool) -> Result<()> {
    let channels = shape[0];
    let length = shape.count() / channels;
    let mut gamma = positive(t, channels, 11);
    gamma.iter_mut().skip(1).step_by(3).for_each(|v| *v = -*v);
    if zero {
        gamma[0] = 0.0;
    }
    let setup = Setup::with_gamma(t, [1, channels, 1], kind, gamma)?;
    let (w, d) = (values(t, shape.count(), 1), values(t, shape.count(), 2));
    let (device_w, device_d) = (t.tensor(shape, &w)?, t.tensor(shape, &d)?);
    let statistics = if kind.batch { TRAINING } else { Statistics::Running };
    let form = match kind.form {
        Form::OneConv => FoldForm::OneConv(statistics),
        _ => FoldForm::TwoConv,
    };
    let what = format!("{form:?} of {shape}, a gamma of zero: {zero}");
    let folded = fold_weight(&device_w, &setup.gamma, &setup.state, EPS, form)?;
    let times = |v: &[f32]| -> Vec<f64> {
        v.iter().enumerate().map(|(i, &v)| f64::from(v) * setup.case.ratio(i / length).0).collect()
    };
    near(t, &what, &folded.weight, &times(&w))?;
    let products = |c: usize| {
        let own = c * length..(c + 1) * length;
        let slope = setup.case.ratio(c).1;
        d[own.clone()].iter().zip(&w[own]).map(move |(&d, &w)| f64::from(d) * f64::from(w) * slope)
    };
    let gamma: Vec<f64> = (0..channels).map(|c| products(c).sum()).collect();
    let size = norm_of((0..channels).flat_map(products));
    for wanted in [[true, true], [true, false], [false, true], [false, false]] {
        let [dw, d_gamma] = fold_weight_grad(&device_d, &device_w, &folded.factors, wanted)?;
        t.same(format!("{what}: wanted gradients"), &[dw.is_some(), d_gamma.is_some()], &wanted)?;
        if let Some(dw) = dw {
            near(t, format!("{what}: gradient of the weights"), &dw, &times(&d))?;
        }
        if let Some(d_gamma) = d_gamma {
            near_sums(t, format!("{what}: gradient of gamma"), &d_gamma, &gamma, size)?;
        }
    }
    Ok(())
}

/// A workgroup for each of more channels than a dimension holds.
pub(super) fn many_channels(t: &mut Trial<'_>) -> Result<()> {
    let w = values(t, 65_537, 1);
    let setup = Setup::new(t, [1, 65_537, 1], Kind::plain(Form::TwoConv, true))?;
    let device = t.tensor([65_537, 1], &w)?;
    let folded = fold_weight(&device, &setup.gamma, &setup.state, EPS, FoldForm::TwoConv)?;
    let expected: Vec<f64> =
        w.iter().enumerate().map(|(c, &w)| f64::from(w) * setup.case.ratio(c).0).collect();
    near(t, "weights of 65 537 channels", &folded.weight, &expected)
}

pub(super) fn frozen(t: &mut Trial<'_>) -> Result<()> {
    let setup = Setup::with_gamma(t, [1, 2, 1], Kind::plain(Form::OneConv, true), vec![0.0, 0.5])?;
    let w = t.tensor([2, 2], &[1.0, 2.0, 3.0, 4.0])?;
    let zero = |freeze| -> Result<bool> {
        let form = FoldForm::OneConv(Statistics::Batch { momentum: MOMENTUM, freeze });
        let folded = fold_weight(&w, &setup.gamma, &setup.state, EPS, form)?;
        Ok(folded.weight.read_f32()?[..2].iter().all(|&v| v == 0.0))
    };
    // The counter stands at 5.
    let found = [zero(6)?, zero(5)?, zero(4)?, zero(NEVER)?];
    t.same("weights of zero, frozen from steps 6, 5, 4 and never", &found, &[false, true, true, false])?;
    freeze(&setup.state.steps, true)?;
    t.that("marked, the weights are no zeros", zero(NEVER)?)
}
