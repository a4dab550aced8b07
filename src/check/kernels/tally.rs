//! The tally that ends a pass: the history of losses, and the flag that halts.

use super::super::{Case, Trial};
use crate::Result;
use crate::kernel::loss::{CrossEntropy, ENTRY, HISTORY, tally};
use crate::shader_test::Bound;
use crate::tensor::Tensor;

const FAMILY: &str = "loss";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "the tally counts steps and keeps their losses in a ring", ring),
    Case::new(FAMILY, "the passes of a step share an entry", passes_of_a_step),
    Case::new(FAMILY, "a loss that is no number halts until the flag is lowered", halting),
];

/// What stands in entries that nobody wrote.
const UNTOUCHED: f32 = -7.0;

fn history(t: &Trial<'_>) -> Result<Tensor> {
    Tensor::full(t.gpu(), [HISTORY, ENTRY], UNTOUCHED)
}

fn pass(
    t: &Trial<'_>,
    losses: &[f32],
    ranks: &[u32],
    history: &Tensor,
    progress: &Tensor,
    passes: usize,
) -> Result<()> {
    let tensor = || t.tensor([losses.len()], losses);
    let loss = CrossEntropy { losses: tensor()?, ranks: t.words(ranks)?, gradient: tensor()? };
    tally(&loss, history, progress, passes)
}

/// An entry: the mean loss, and the counts.
fn entry(t: &mut Trial<'_>, what: &str, entry: &[f32], loss: f32, counts: [f32; 3]) -> Result<()> {
    // Divided by the rows and by the passes, each 2.5 units even where the quotient is exact; sums of three of them.
    t.numbers(format!("mean loss, {what}"), &entry[..1], &[loss], Bound::Ulps(8))?;
    t.numbers(format!("counts, {what}"), &entry[1..ENTRY], &counts, Bound::Equal)
}

fn ring(t: &mut Trial<'_>) -> Result<()> {
    let history = history(t)?;
    let before = HISTORY as u32 - 2;
    let progress = t.words(&[5, before, 0, 0])?;
    for (i, ranks) in [[0, 1, 0], [5, 4, 7], [0, 0, 0]].into_iter().enumerate() {
        pass(t, &[1.0 + i as f32, 2.0, 3.0], &ranks, &history, &progress, 1)?;
    }
    t.same("progress", &progress.read_u32()?, &[8, before + 3, 0, 1])?;
    let kept = history.read_f32()?;
    entry(t, "last but one", &kept[ENTRY * (HISTORY - 2)..], 2.0, [2.0, 3.0, 0.0])?;
    entry(t, "last", &kept[ENTRY * (HISTORY - 1)..], 7.0 / 3.0, [0.0, 1.0, 0.0])?;
    entry(t, "first, where the ring starts again", &kept, 8.0 / 3.0, [3.0, 3.0, 0.0])?;
    let others = &kept[ENTRY..ENTRY * (HISTORY - 2)];
    t.numbers("all other entries", others, &vec![UNTOUCHED; others.len()], Bound::Bits)
}

fn passes_of_a_step(t: &mut Trial<'_>) -> Result<()> {
    let history = history(t)?;
    let progress = t.words(&[0, 0, 0, 0])?;
    let losses = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]];
    let expected = [[1, 0, 0, 1], [2, 0, 0, 2], [3, 1, 0, 3], [4, 1, 0, 1]];
    for (losses, expected) in losses.iter().zip(expected) {
        pass(t, losses, &[0, 4], &history, &progress, 3)?;
        t.same(format!("progress after {losses:?}"), &progress.read_u32()?, &expected)?;
    }
    let kept = history.read_f32()?;
    entry(t, "three passes", &kept, 3.5, [3.0, 6.0, 0.0])?;
    entry(t, "the next step begins", &kept[ENTRY..], 2.5, [1.0, 2.0, 0.0])
}

fn halting(t: &mut Trial<'_>) -> Result<()> {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let history = history(t)?;
        let progress = t.words(&[0, 3, 0, 0])?;
        pass(t, &[1.0, bad], &[0, 0], &history, &progress, 1)?;
        t.same(format!("progress after a loss of {bad}"), &progress.read_u32()?, &[0, 3, 1, 0])?;
        let shows = !history.read_f32()?[3 * ENTRY].is_finite();
        t.that(format!("the history shows a loss of {bad}"), shows)?;
        pass(t, &[1.0, 2.0], &[0, 0], &history, &progress, 1)?;
        t.same("a good loss does not lower the flag", &progress.read_u32()?, &[0, 3, 1, 0])?;
        let shows = !history.read_f32()?[3 * ENTRY].is_finite();
        t.that(format!("a good loss does not hide a loss of {bad}"), shows)?;
    }
    // Large is not infinite.
    let progress = t.words(&[0, 0, 0, 0])?;
    pass(t, &[3e38], &[1], &history(t)?, &progress, 1)?;
    t.same("progress after a large loss", &progress.read_u32()?, &[1, 1, 0, 1])
}
