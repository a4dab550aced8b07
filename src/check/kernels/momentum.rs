//! The update of momentum SGD, and the end of a step whose updates were not all finite.

use super::super::{Case, Trial};
use super::optim::COUNTS;
use super::values;
use crate::Result;
use crate::kernel::loss::{ENTRY, HISTORY};
use crate::kernel::momentum::{Settings, settle, update};
use crate::optim::{Momentum, MomentumOptions};
use crate::shader_test::{Bound, Estimate};
use crate::tensor::Tensor;

const FAMILY: &str = "optimizer";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "momentum over several steps", several_steps),
    Case::new(FAMILY, "a factor scales the gradient and not the decay", factor),
    Case::new(FAMILY, "only what decays is pulled to zero", decay),
    Case::new(FAMILY, "a raised flag leaves everything as it is", raised_flag),
    Case::new(FAMILY, "what follows the last value is no update", after_the_last),
    Case::new(FAMILY, "updates that are not finite are left out and the step is taken back", not_finite),
];

fn settings<'a>(rate: &'a Tensor, progress: &'a Tensor) -> Settings<'a> {
    Settings { rate, progress, factor: None, momentum: 0.9, weight_decay: 0.0, place: 0 }
}

/// A parameter with its velocity, on the device and as the host expects them.
struct Moving {
    parameter: Tensor,
    velocity: Tensor,
    p: Vec<Estimate>,
    v: Vec<Estimate>,
}

impl Moving {
    fn new(t: &Trial<'_>, parameter: &[f32], velocity: &[f32]) -> Result<Self> {
        let estimates = |values: &[f32]| values.iter().copied().map(Estimate::from).collect();
        Ok(Moving {
            parameter: t.tensor([parameter.len()], parameter)?,
            velocity: t.tensor([velocity.len()], velocity)?,
            p: estimates(parameter),
            v: estimates(velocity),
        })
    }

    fn step(&mut self, t: &Trial<'_>, gradient: &[f32], settings: &Settings<'_>, factor: f32) -> Result<()> {
        update(&self.parameter, &self.velocity, &t.tensor([gradient.len()], gradient)?, settings)?;
        let rate = Estimate::from(settings.rate.read_f32()?[0]);
        let (momentum, decay) = (settings.momentum.into(), settings.weight_decay.into());
        for ((p, v), &g) in self.p.iter_mut().zip(&mut self.v).zip(gradient) {
            let scaled = if settings.factor.is_some() { Estimate::from(g) * factor.into() } else { g.into() };
            *v = Estimate::sum([*v * momentum, scaled, *p * decay]);
            *p = *p - rate * *v;
        }
        Ok(())
    }

    fn hold(&self, t: &mut Trial<'_>, what: &str) -> Result<()> {
        t.estimates(format!("velocity {what}"), &self.velocity, &self.v)?;
        t.estimates(format!("parameter {what}"), &self.parameter, &self.p)
    }
}

fn several_steps(t: &mut Trial<'_>) -> Result<()> {
    // The last size takes the variant that repeats its body, and ends in the middle of a workgroup: nothing may be
    // updated twice.
    for count in [1, 7, 64, 1000, 33_001] {
        let mut moving = Moving::new(t, &values(t, count, 1), &vec![0.0; count])?;
        for (i, weight_decay) in [0.0, 1e-2, 1e-2].into_iter().enumerate() {
            let rate = t.tensor([1], &[0.1 / (i + 1) as f32])?;
            let progress = t.words(&[0, 0, 0])?;
            let settings = Settings { weight_decay, ..settings(&rate, &progress) };
            moving.step(t, &values(t, count, 10 + i as u64), &settings, 1.0)?;
        }
        moving.hold(t, &format!("of {count} after three steps"))?;
    }
    Ok(())
}

fn factor(t: &mut Trial<'_>) -> Result<()> {
    for count in COUNTS {
        let mut moving = Moving::new(t, &values(t, count, 1), &values(t, count, 3))?;
        let (rate, progress) = (t.tensor([1], &[0.5])?, t.words(&[0, 0, 0])?);
        let factor = t.tensor([1], &[0.25])?;
        let settings = Settings {
            factor: Some(&factor),
            momentum: 0.5,
            weight_decay: 0.125,
            ..settings(&rate, &progress)
        };
        moving.step(t, &values(t, count, 2), &settings, 0.25)?;
        moving.hold(t, &format!("of {count} with a factor"))?;
    }
    Ok(())
}

fn decay(t: &mut Trial<'_>) -> Result<()> {
    let parameters = [t.tensor([2, 2], &[1.0; 4])?, t.tensor([4], &[1.0; 4])?];
    let options = MomentumOptions { learning_rate: 0.5, momentum: 0.0, weight_decay: 0.5 };
    let optimizer = Momentum::new(&parameters, options)?.decaying(|_, p| p.shape().len() > 1);
    for (index, (parameter, expected)) in parameters.iter().zip([0.75, 1.0]).enumerate() {
        optimizer.update(index, &t.tensor(parameter.shape(), &[0.0; 4])?)?;
        t.values(format!("parameter {index}"), parameter, &[expected; 4], Bound::Equal)?;
    }
    Ok(())
}

fn raised_flag(t: &mut Trial<'_>) -> Result<()> {
    let (p, v) = (values(t, 33, 1), values(t, 33, 2));
    let (parameter, velocity) = (t.tensor([33], &p)?, t.tensor([33], &v)?);
    let (rate, progress) = (t.tensor([1], &[0.1])?, t.words(&[0, 0, 1])?);
    let settings = Settings { weight_decay: 0.1, ..settings(&rate, &progress) };
    update(&parameter, &velocity, &t.tensor([33], &[f32::NAN; 33])?, &settings)?;
    t.values("parameter", &parameter, &p, Bound::Bits)?;
    t.values("velocity", &velocity, &v, Bound::Bits)
}

fn after_the_last(t: &mut Trial<'_>) -> Result<()> {
    // Memory that is used again holds what was there before: here, NaNs after five values.
    for _ in 0..3 {
        let before: Result<Vec<Tensor>> = (0..3).map(|_| t.tensor([8], &[f32::NAN; 8])).collect();
        drop(before?);
        let (parameter, velocity) = (t.tensor([5], &[1.0; 5])?, t.tensor([5], &[0.0; 5])?);
        let gradient = t.tensor([5], &[2.0; 5])?;
        let (rate, progress) = (t.tensor([1], &[0.25])?, t.words(&[0, 0, 0, 0])?);
        update(&parameter, &velocity, &gradient, &settings(&rate, &progress))?;
        t.values("parameter", &parameter, &[0.5; 5], Bound::Equal)?;
        t.same("progress", &progress.read_u32()?, &[0; 4])?;
    }
    Ok(())
}

fn not_finite(t: &mut Trial<'_>) -> Result<()> {
    let count = 33_001; // the variant that repeats its body
    let mut gradient = values(t, count, 1);
    // Three that are no update: no number, infinite, and one that overflows with the rate.
    let bad = [(5, f32::NAN), (20_000, f32::INFINITY), (33_000, 3e38)];
    for (place, value) in bad {
        gradient[place] = value;
    }
    let (parameter, velocity) =
        (t.tensor([count], &vec![1.0; count])?, t.tensor([count], &vec![0.0; count])?);
    let (rate, progress) = (t.tensor([1], &[100.0])?, t.words(&[4, 7, 0, 2])?);
    let settings = Settings { place: 5, ..settings(&rate, &progress) };
    update(&parameter, &velocity, &t.tensor([count], &gradient)?, &settings)?;
    // Four values go together.
    let is_bad = |i: usize| bad.iter().any(|(place, _)| i / 4 == place / 4);
    let g = |i: usize| if is_bad(i) { 0.0 } else { gradient[i] };
    let wanted: Vec<f32> = (0..count).map(g).collect();
    t.values("velocity", &velocity, &wanted, Bound::Equal)?;
    let one = Estimate::exact(1.0);
    let moved = |g: f32| one - Estimate::exact(100.0) * g.into();
    let wanted: Vec<Estimate> =
        (0..count).map(|i| if is_bad(i) { one } else { moved(gradient[i]) }).collect();
    t.estimates("parameter", &parameter, &wanted)?;
    t.same("progress after the update", &progress.read_u32()?, &[4, 7, 7, 2])?;
    let history = Tensor::full(t.gpu(), [HISTORY, ENTRY], 0.5)?;
    settle(&history, &progress, 2)?;
    t.same("progress after settling", &progress.read_u32()?, &[2, 6, 1, 2])?;
    let settled = history.read_f32()?;
    t.numbers("entry of the step", &settled[6 * ENTRY..7 * ENTRY], &[0.5, 0.5, 0.5, -6.0], Bound::Equal)?;
    // Nothing is settled twice, and nothing where all went well.
    for before in [[2, 6, 1, 2], [4, 7, 0, 2]] {
        let progress = t.words(&before)?;
        settle(&history, &progress, 2)?;
        t.same("progress that is settled", &progress.read_u32()?, &before)?;
        t.values("history that is settled", &history, &settled, Bound::Bits)?;
    }
    Ok(())
}
