//! Losses, and a network with one at its end.

use super::super::{Case, Trial};
use super::arithmetic::TANH;
use super::{drawn, slopes_within};
use crate::Result;
use crate::autograd::GradCheck;
use crate::kernel::conv::Geometry;
use crate::kernel::pool::Window;
use crate::ops::*;

const FAMILY: &str = "gradients of losses";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "softmax cross entropy of some rows", cross_entropy),
    Case::new(FAMILY, "a small network from end to end", network),
];

fn cross_entropy(t: &mut Trial<'_>) -> Result<()> {
    let labels = t.words(&[2, 0, 3])?;
    // The loss is a mean over three rows: its gradients are small, and so must the bound be. Before the mean, exp is off by
    // up to 3 + 2 |x| units in the last place, and log by 2^-21 (WGSL, accuracy of f32): some 1e-6 in all, weighed with up to 4, over
    // half the step of 0.02.
    let within = GradCheck { absolute: 4e-4, ..GradCheck::default() };
    let logits = [drawn(t, [3, 4], 1)?];
    slopes_within(t, within, "cross entropy", &logits, |v| Ok(softmax_cross_entropy(&v[0], &labels)?.mean))?;
    slopes_within(t, within, "smoothed cross entropy", &logits, |v| {
        Ok(smoothed_cross_entropy(&v[0], &labels, 0.3)?.mean)
    })?;
    // A row for a workgroup, and the loss in the middle of a graph.
    let inputs = [drawn(t, [3, 70], 2)?, drawn(t, [1], 3)?];
    slopes_within(t, within, "smoothed cross entropy of many classes", &inputs, |v| {
        let loss = smoothed_cross_entropy(&activation(Activation::Tanh, &v[0])?, &labels, 0.3)?.mean;
        mul(&loss, &v[1])
    })
}

fn network(t: &mut Trial<'_>) -> Result<()> {
    let labels = t.words(&[1, 0])?;
    let shapes: [&[usize]; 5] = [&[2, 1, 5, 5], &[2, 1, 2, 2], &[2], &[3, 8], &[3]];
    let inputs: Vec<_> =
        shapes.iter().zip(1..).map(|(shape, stream)| drawn(t, *shape, stream)).collect::<Result<_>>()?;
    slopes_within(t, TANH, "network", &inputs, |v| {
        let z = conv2d(&v[0], &v[1], Some(&v[2]), &Geometry::default(), false)?;
        let a = activation(Activation::Tanh, &z)?;
        let p = avg_pool2d(&a, &Window::square(2), true)?;
        let logits = dense(&flatten(&p)?, &v[3], Some(&v[4]), false)?;
        Ok(softmax_cross_entropy(&logits, &labels)?.mean)
    })
}
