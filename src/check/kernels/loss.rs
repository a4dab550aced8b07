//! Softmax cross entropy, its gradient, and the places of the labels.

use super::super::{Case, Trial};
use super::values;
use crate::Result;
use crate::kernel::loss::softmax_cross_entropy;
use crate::shader_test::Estimate;

const FAMILY: &str = "loss";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "cross entropy of any number of rows and classes", any_numbers),
    Case::new(FAMILY, "smoothed cross entropy of any number of rows and classes", smoothed),
    Case::new(FAMILY, "cross entropy of more rows than one dimension holds", many_rows),
    Case::new(FAMILY, "large logits neither overflow nor lose the loss", large_logits),
    Case::new(FAMILY, "the first of equal logits is the prediction", equal_logits),
    Case::new(FAMILY, "a label that is no class is noticed in the loss", no_class),
];

/// From 64 classes on, a row has a workgroup of as many lanes, which join their sums in a tree.
const LANES: usize = 64;

/// Rows of `classes` logits with a label each, in a batch of `batch`.
struct Rows<'a> {
    logits: &'a [f32],
    labels: &'a [u32],
    classes: usize,
    smoothing: f32,
    batch: usize,
}

#[derive(Default)]
struct Expected {
    losses: Vec<Estimate>,
    ranks: Vec<u32>,
    gradient: Vec<Estimate>,
}

/// Values by the definition, and errors by the shader's formula, which is another.
fn oracle(rows: &Rows<'_>) -> Expected {
    let mut all = Expected::default();
    let number = |v: usize| Estimate::exact(v as f64);
    let one = Estimate::exact(1.0);
    let (classes, smoothing) = (number(rows.classes), Estimate::from(rows.smoothing));
    let scale = one / number(rows.batch);
    let longest = if rows.classes >= LANES { rows.classes.div_ceil(LANES) + 6 } else { rows.classes };
    // The target of a class that is not the label's, and of the one that is.
    let targets = if rows.smoothing > 0.0 {
        let rest = smoothing / classes;
        [rest, one - smoothing + rest]
    } else {
        [Estimate::exact(0.0), one]
    };
    for (row, &label) in rows.logits.chunks(rows.classes).zip(rows.labels) {
        let label = label as usize;
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let gaps: Vec<Estimate> = row.iter().map(|&v| Estimate::from(largest) - v.into()).collect();
        let powers: Vec<Estimate> = gaps.iter().map(|&gap| (-gap).exp()).collect();
        let total = Estimate::sum_by(longest, powers.iter().copied());
        let smooth = |gap: Estimate| {
            let mean = Estimate::sum_by(longest, gaps.iter().copied()) / classes;
            (one - smoothing) * gap + smoothing * mean
        };
        let gap = if rows.smoothing > 0.0 { smooth(gaps[label]) } else { gaps[label] };
        let freedom = (total.ln() + gap).error;
        let (mut loss, mut rank) = (0.0, 0);
        for (k, (&v, power)) in row.iter().zip(&powers).enumerate() {
            let is_label = if k == label { 1.0 } else { 0.0 };
            let target = (1.0 - smoothing.value) * is_label + smoothing.value / classes.value;
            loss += target * (total.value.ln() + gaps[k].value);
            rank += u32::from(v > row[label] || (v == row[label] && k < label));
            let slope = (*power / total - targets[usize::from(k == label)]) * scale;
            let value = (power.value / total.value - target) / rows.batch as f64;
            all.gradient.push(Estimate { value, error: slope.error });
        }
        all.losses.push(Estimate { value: loss, error: freedom });
        all.ranks.push(rank);
    }
    all
}

fn hold(t: &mut Trial<'_>, what: &str, rows: &Rows<'_>, expected: &Expected) -> Result<()> {
    let logits = t.tensor([rows.batch, rows.classes], rows.logits)?;
    let found = softmax_cross_entropy(&logits, &t.words(rows.labels)?, rows.smoothing)?;
    t.estimates(format!("losses of {what}"), &found.losses, &expected.losses)?;
    t.same(format!("ranks of {what}"), &found.ranks.read_u32()?, &expected.ranks)?;
    t.estimates(format!("gradient of {what}"), &found.gradient, &expected.gradient)
}

fn check(t: &mut Trial<'_>, logits: &[f32], labels: &[u32], classes: usize, smoothing: f32) -> Result<()> {
    let batch = labels.len();
    let rows = Rows { logits, labels, classes, smoothing, batch };
    hold(t, &format!("[{batch}, {classes}] with smoothing {smoothing}"), &rows, &oracle(&rows))
}

const SHAPES: [(usize, usize); 9] =
    [(1, 1), (1, 10), (3, 2), (9, 7), (33, 10), (5, 63), (3, 64), (7, 101), (5, 1000)];

fn each_shape(t: &mut Trial<'_>, smoothings: &[f32]) -> Result<()> {
    for (rows, classes) in SHAPES {
        let labels: Vec<u32> = (0..rows).map(|i| (i * 7 % classes) as u32).collect();
        for &smoothing in smoothings {
            check(t, &values(t, rows * classes, rows as u64), &labels, classes, smoothing)?;
        }
    }
    Ok(())
}

fn any_numbers(t: &mut Trial<'_>) -> Result<()> {
    each_shape(t, &[0.0])
}

fn smoothed(t: &mut Trial<'_>) -> Result<()> {
    each_shape(t, &[0.1, 0.75])
}

fn many_rows(t: &mut Trial<'_>) -> Result<()> {
    let (batch, classes) = (65_600, 64);
    // Rows that come again and again, so that the host computes them once. Rows that a dispatch folds apart differ.
    let period = 41;
    let logits = values(t, period * classes, 1);
    let labels: Vec<u32> = (0..period).map(|i| (i * 7 % classes) as u32).collect();
    let some = oracle(&Rows { logits: &logits, labels: &labels, classes, smoothing: 0.0, batch });
    let repeat = |all: &[Estimate]| all.iter().cycle().take(all.len() / period * batch).copied().collect();
    let expected = Expected {
        losses: repeat(&some.losses),
        ranks: some.ranks.iter().cycle().take(batch).copied().collect(),
        gradient: repeat(&some.gradient),
    };
    let logits: Vec<f32> = logits.iter().cycle().take(batch * classes).copied().collect();
    let labels: Vec<u32> = labels.iter().cycle().take(batch).copied().collect();
    let rows = Rows { logits: &logits, labels: &labels, classes, smoothing: 0.0, batch };
    hold(t, &format!("[{batch}, {classes}]"), &rows, &expected)
}

fn large_logits(t: &mut Trial<'_>) -> Result<()> {
    let logits = [1e4, -1e4, 0.0, -1e4, 1e4, 1e4, 1e4, 1e4 - 1.0, -1e4, -1e4, -1e4, -1e4];
    for smoothing in [0.0, 0.1] {
        check(t, &logits, &[0, 0, 1, 2], 3, smoothing)?;
        check(t, &logits, &[1, 1, 0, 0], 3, smoothing)?;
    }
    let mut wide = vec![-1e4; 130];
    (wide[3], wide[64], wide[70], wide[129]) = (1e4, 1e4 - 1.0, 1e4, 1e4);
    check(t, &wide, &[3, 5], 65, 0.0)?;
    check(t, &wide, &[64, 64], 65, 0.0)
}

fn equal_logits(t: &mut Trial<'_>) -> Result<()> {
    check(t, &[0.5; 12], &[0, 1, 2], 4, 0.0)?;
    // Of equal logits, ranks go by the class in every variant.
    let labels = [0, 1, 63, 64, 99];
    let found = softmax_cross_entropy(&t.tensor([5, 100], &[0.5; 500])?, &t.words(&labels)?, 0.0)?;
    t.same("ranks of 100 equal logits", &found.ranks.read_u32()?, &labels)
}

fn no_class(t: &mut Trial<'_>) -> Result<()> {
    for classes in [3, 100] {
        let logits = t.tensor([2, classes], &vec![0.5; 2 * classes])?;
        let found = softmax_cross_entropy(&logits, &t.words(&[1, classes as u32])?, 0.0)?;
        let losses = found.losses.read_f32()?;
        let what = format!("losses of a class and of none of {classes}: {losses:?}");
        t.that(what, losses[0].is_finite() && !losses[1].is_finite())?;
    }
    Ok(())
}
