//! Normalizations and their folds: each gradient against finite differences of the formulas in f64, against plain
//! differentiation of the same expression made of single operations, and in the middle of a graph; with quantizers
//! between, against the formulas of the fold. At the step before the statistics freeze, at it, and after.

mod quantized;
mod scene;

use scene::*;

use super::super::oracle::wide;
use super::super::{Case, Trial};
use super::{away_from_zero, drawn, slopes};
use crate::Result;
use crate::autograd::{Tape, Var};
use crate::kernel::norm::Form;
use crate::ops::*;
use crate::shader_test::Bound;

const FAMILY: &str = "gradients of normalizations";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "every form against differences and plain differentiation", every_form),
    Case::new(FAMILY, "in the middle of a graph", middle),
    Case::new(FAMILY, "folds with quantized weights", quantized::folds),
    Case::new(FAMILY, "channels that start at zero learn", quantized::channels_at_zero),
    Case::new(FAMILY, "gradients that nobody wants", unwanted),
];

/// Large, so that gradients through it are seen.
const EPS: f32 = 0.5;
const MOMENTUM: f32 = 0.9;
/// By the norm of each tensor. Single precision leaves some 3e-7 after sums of up to 162 products, and quotients and roots that are
/// off by up to 4.5 units in the last place (WGSL, accuracy of f32) a few times as much; 1e-3 would be good enough to train.
const REQUIRED: f64 = 1e-5;

fn every_form(t: &mut Trial<'_>) -> Result<()> {
    for scene in scenes(t) {
        let (inputs, seed) = scene.drawn(t)?;
        let state = scene.state()?;
        let (y, found) = scene.walk(&inputs, |v| scene.fused(v, &state), &seed)?;
        let wide_inputs = inputs.each_ref().map(|v| wide(v));
        let case = scene.case(&wide_inputs)?;
        let [z, z0] = scene.convolutions(&case, &wide_inputs)?;
        let weights = wide(&seed);
        let expected = case.answer(&z, &z0, &weights);
        let what = scene.name();
        // Values around 1, of sums of up to 27 products.
        t.by_norm(format!("{what}: values"), &y, &expected.y, 0.0, REQUIRED)?;
        let observed = if scene.form == Form::TwoConv { &z0 } else { &z };
        let (mean, var) = case.moved(observed, MOMENTUM.into());
        t.by_norm(format!("{what}: running mean"), &state.mean.read_f32()?, &mean, 0.0, REQUIRED)?;
        t.by_norm(format!("{what}: running variance"), &state.var.read_f32()?, &var, 0.0, REQUIRED)?;
        let counted = if scene.statistics == Statistics::Running { STEPS } else { STEPS + 1 };
        t.same(format!("{what}: steps"), &state.steps.read_u32()?, &vec![counted; scene.w[0]])?;

        scene.hold(t, "finite differences", &found, &scene.slopes(&wide_inputs, &weights)?)?;
        let (_, plain) = scene.walk(&inputs, |v| scene.plain(v), &seed)?;
        scene.hold(t, "plain differentiation", &found, &plain.each_ref().map(|v| wide(v)))?;
    }
    Ok(())
}

fn middle(t: &mut Trial<'_>) -> Result<()> {
    let shapes = ([3, 2, 4, 3], [2, 2, 2, 2], PLAIN);
    let image = [3, 2, 2, 2];
    let (x, other, w) = (drawn(t, image, 1)?, drawn(t, image, 2)?, drawn(t, [2, 2, 2, 2], 1)?);
    let (rows, gamma, beta, bias) =
        (drawn(t, [7, 2], 1)?, drawn(t, [2], 2)?, drawn(t, [2], 3)?, drawn(t, [2], 5)?);
    for statistics in ALL_STATISTICS {
        let scene = &Scene::new(t, Form::Plain, shapes, statistics);
        // A fresh state each time: a step moves it.
        let norm = |v: &[Var]| batch_norm(&v[0], &v[1], &v[2], &scene.state()?, EPS, statistics, false);
        slopes(t, &format!("{statistics:?}"), &[x.clone(), gamma.clone(), beta.clone()], norm)?;
        slopes(t, &format!("[N, C], {statistics:?}"), &[rows.clone(), gamma.clone(), beta.clone()], norm)?;
        for form in [FoldForm::TwoConv, FoldForm::OneConv(statistics)] {
            slopes(t, &format!("weights, {form:?}"), &[w.clone(), gamma.clone()], |v| {
                fold_weight(&v[0], &v[1], &scene.state()?, EPS, form)
            })?;
        }
        let five = [x.clone(), other.clone(), gamma.clone(), beta.clone(), bias.clone()];
        let scene = &Scene { with_bias: true, ..scene.clone() };
        slopes(t, &format!("two convolutions, {statistics:?}"), &five, |v| {
            normalize_two_conv(&v[0], Some(&v[1]), &scene.fold(v, &scene.state()?), false)
        })?;
        slopes(t, &format!("one convolution, {statistics:?}"), &five, |v| {
            normalize_one_conv(&v[0], &scene.fold(v, &scene.state()?), false)
        })?;
    }
    Ok(())
}

/// They are not given, and change no other.
fn unwanted(t: &mut Trial<'_>) -> Result<()> {
    for form in FORMS {
        for statistics in ALL_STATISTICS {
            let shapes = ([2, 3, 6, 6], [4, 3, 3, 3], PLAIN);
            let scene = Scene {
                with_bias: form != Form::Plain,
                relu: true,
                ..Scene::new(t, form, shapes, statistics)
            };
            let (inputs, seed) = scene.drawn(t)?;
            let shape = scene.y_shape()?;
            let count = shape.iter().product();
            let channels = [scene.w[0]];
            let tensors = [
                scene.tensor(&shape, &away_from_zero(t, count, 1))?,
                scene.tensor(&shape, &away_from_zero(t, count, 2))?,
                scene.tensor(&channels, &inputs[2])?,
                scene.tensor(&channels, &inputs[3])?,
                scene.tensor(&channels, &inputs[4])?,
                scene.tensor(&[], &[1.0])?,
            ];
            let run = |wanted: [bool; 6]| -> Result<Vec<Option<Vec<f32>>>> {
                let tape = Tape::new();
                let state = scene.state()?;
                let v: Vec<Var> = tensors
                    .iter()
                    .zip(wanted)
                    .map(|(t, wanted)| if wanted { tape.leaf(t) } else { Var::constant(t.clone()) })
                    .collect();
                let fold = scene.fold(&v, &state);
                let y = match form {
                    Form::Plain => batch_norm(&v[0], &v[2], &v[3], &state, EPS, statistics, true),
                    Form::TwoConv => normalize_two_conv(&v[0], Some(&v[1]), &fold, true),
                    Form::OneConv => normalize_one_conv(&v[0], &fold, true),
                };
                // So that there is something to walk back to.
                let y = mul(&y?, &v[5])?;
                let gradients = tape.backward_from(&y, scene.tensor(&shape, &seed)?)?;
                v.iter().map(|v| gradients.of(v).map(|g| g.read_f32()).transpose()).collect()
            };
            let all = run([true; 6])?;
            for only in 0..5 {
                for others in [false, true] {
                    let wanted: [bool; 6] = std::array::from_fn(|i| i == 5 || (i == only) != others);
                    for (i, found) in run(wanted)?.iter().enumerate() {
                        let what = format!("{form:?}, {statistics:?}, {wanted:?}, input {i}");
                        let expected = all[i].as_ref().filter(|_| wanted[i]);
                        t.same(format!("{what}: is given"), &[found.is_some()], &[expected.is_some()])?;
                        if let (Some(found), Some(expected)) = (found, expected) {
                            t.numbers(what, found, expected, Bound::Bits)?;
                        }
                    }
                }
            }
        }
    }
    Ok(())
}
