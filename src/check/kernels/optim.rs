//! What becomes of gradients before the update: sums over passes, and clipping by their norm.

use super::super::{Case, Trial};
use super::{values, whole};
use crate::Result;
use crate::kernel::loss::{ENTRY, HISTORY};
use crate::optim::{GradientClip, GradientSums};
use crate::shader_test::Bound;
use crate::tensor::Tensor;

const FAMILY: &str = "optimizer";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "sums of gradients begin anew with each step", sums),
    Case::new(FAMILY, "gradients are clipped by the norm of all of them", clipping),
    Case::new(FAMILY, "a gradient of zeros is left as it is", zeros),
    Case::new(FAMILY, "a norm that is no number halts before its step", halting),
];

/// Sizes with a rest after whole vectors, of one and of several workgroups, and of both variants of elementwise kernels.
pub(super) const COUNTS: [usize; 7] = [1, 3, 4, 67, 2049, 33_001, 600_002];

fn sums(t: &mut Trial<'_>) -> Result<()> {
    for count in COUNTS {
        let sums = GradientSums::new(&[t.tensor([count], &vec![0.0; count])?])?;
        // Whole numbers, whose sums are exact.
        let passes: Vec<Vec<f32>> = (0..3).map(|pass| whole(t, count, pass)).collect();
        for step in 0..2 {
            let mut expected = vec![0.0f32; count];
            for (pass, gradient) in passes.iter().enumerate() {
                let progress = t.words(&[0, step, 0, pass as u32 + 1])?;
                sums.add(0, &t.tensor([count], gradient)?, &progress)?;
                expected.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
            }
            t.values(format!("{count} sums, step {step}"), sums.of(0), &expected, Bound::Equal)?;
        }
    }
    Ok(())
}

/// A history and the progress after the first of two passes of step 3.
fn after_a_step(t: &Trial<'_>) -> Result<(Tensor, Tensor)> {
    Ok((Tensor::full(t.gpu(), [HISTORY, ENTRY], -7.0)?, t.words(&[8, 4, 0, 2])?))
}

/// Where the norm of that step goes.
const NORM: usize = 3 * ENTRY + 3;

fn clipping(t: &mut Trial<'_>) -> Result<()> {
    let gradients: Vec<Vec<f32>> = COUNTS.iter().map(|&count| values(t, count, count as u64)).collect();
    let tensors: Result<Vec<Tensor>> = gradients.iter().map(|g| t.tensor([g.len()], g)).collect();
    let tensors = tensors?;
    let squares = gradients.iter().flatten().map(|&g| f64::from(g).powi(2));
    let norm = squares.sum::<f64>().sqrt();
    for limit in [0.5 * norm, 2.0 * norm] {
        let (history, progress) = after_a_step(t)?;
        let clip = GradientClip::new(&tensors, limit as f32)?;
        let run = || -> Result<(f32, Vec<f32>)> {
            tensors.iter().enumerate().try_for_each(|(i, g)| clip.measure(i, g))?;
            clip.finish(&history, &progress, 2)?;
            Ok((clip.factor().read_f32()?[0], history.read_f32()?))
        };
        let (factor, kept) = run()?;
        let what = format!("with the limit {limit}");
        // 640 000 squares: each is rounded with its product, in 40 sums of its invocation, in trees of 6, and in up to 12
        // sums of partial sums, a unit each time, of which the root halves; the root is off by 5 units, a division by 2.5.
        let bound = Bound::Within { relative: 1e-5, absolute: 0.0 };
        t.numbers(format!("norm {what}"), &[kept[NORM]], &[norm as f32], bound)?;
        let wanted = (limit / (norm + 1e-6)).min(1.0) as f32;
        t.numbers(format!("factor {what}"), &[factor], &[wanted], bound)?;
        if limit > norm {
            t.numbers("factor of what is below the limit", &[factor], &[1.0], Bound::Bits)?;
        }
        let mut untouched = kept.clone();
        untouched[NORM] = -7.0;
        t.numbers("the rest of the history", &untouched, &vec![-7.0; HISTORY * ENTRY], Bound::Bits)?;
        t.same("progress", &progress.read_u32()?, &[8, 4, 0, 2])?;
        let (again, kept_again) = run()?;
        t.numbers("the same once more", &[again, kept_again[NORM]], &[factor, kept[NORM]], Bound::Bits)?;
    }
    Ok(())
}

fn zeros(t: &mut Trial<'_>) -> Result<()> {
    let (history, progress) = after_a_step(t)?;
    let zeros = t.tensor([5], &[0.0; 5])?;
    let clip = GradientClip::new(std::slice::from_ref(&zeros), 1.0)?;
    clip.measure(0, &zeros)?;
    clip.finish(&history, &progress, 2)?;
    t.values("factor", clip.factor(), &[1.0], Bound::Equal)?;
    t.numbers("norm", &[history.read_f32()?[NORM]], &[0.0], Bound::Equal)
}

fn halting(t: &mut Trial<'_>) -> Result<()> {
    for bad in [f32::NAN, f32::INFINITY, 1e30] {
        let (history, progress) = after_a_step(t)?;
        let gradient = t.tensor([6], &[0.0, 0.0, 0.0, 0.0, bad, 0.0])?;
        let clip = GradientClip::new(std::slice::from_ref(&gradient), 1.0)?;
        clip.measure(0, &gradient)?;
        // What is halted stays as it is.
        for _ in 0..2 {
            clip.finish(&history, &progress, 2)?;
            t.same(format!("progress after {bad}"), &progress.read_u32()?[..3], &[6, 3, 1])?;
        }
        let shows = !history.read_f32()?[NORM].is_finite();
        t.that(format!("the history shows a gradient of {bad}"), shows)?;
    }
    Ok(())
}
