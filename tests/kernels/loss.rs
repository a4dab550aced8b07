use simqat::kernel::loss::{CrossEntropy, HISTORY, softmax_cross_entropy, tally};
use simqat::tensor::{DType, Tensor};

use super::common::{assert_close, gpu};
use super::{tensor, values, words};

struct Expected {
    losses: Vec<f32>,
    hits: Vec<u32>,
    gradient: Vec<f32>,
}

fn oracle(logits: &[f32], labels: &[u32], classes: usize) -> Expected {
    let mut all = Expected { losses: vec![], hits: vec![], gradient: vec![] };
    for (row, &label) in logits.chunks(classes).zip(labels) {
        let row: Vec<f64> = row.iter().map(|&v| v.into()).collect();
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|v| (v - largest).exp()).sum();
        all.losses.push((total.ln() + largest - row[label as usize]) as f32);
        all.hits.push((row.iter().position(|&v| v == largest) == Some(label as usize)).into());
        for (k, v) in row.iter().enumerate() {
            let one = if k == label as usize { 1.0 } else { 0.0 };
            all.gradient.push((((v - largest).exp() / total - one) / labels.len() as f64) as f32);
        }
    }
    all
}

fn check(logits: &[f32], labels: &[u32], classes: usize) {
    let what = format!("[{}, {classes}]", labels.len());
    let expected = oracle(logits, labels, classes);
    let found = softmax_cross_entropy(&tensor([labels.len(), classes], logits), &words(labels)).unwrap();
    // exp and log of the device are off by a few units; the sum runs over `classes` of them.
    let losses = found.losses.read_f32().unwrap();
    assert_close(&format!("losses of {what}"), &losses, &expected.losses, 1e-5, 2e-6);
    assert_eq!(found.hits.read_u32().unwrap(), expected.hits, "{what}");
    let gradient = found.gradient.read_f32().unwrap();
    assert_close(&format!("gradient of {what}"), &gradient, &expected.gradient, 2e-5, 1e-7);
}

#[test]
fn cross_entropy_of_any_number_of_rows_and_classes() {
    for (rows, classes) in [(1, 1), (1, 10), (3, 2), (9, 7), (33, 10), (5, 1000)] {
        let labels: Vec<u32> = (0..rows).map(|i| (i * 7 % classes) as u32).collect();
        check(&values(rows * classes, rows as u64), &labels, classes);
    }
}

#[test]
fn large_logits_neither_overflow_nor_lose_the_loss() {
    let logits = [1e4, -1e4, 0.0, -1e4, 1e4, 1e4, 1e4, 1e4 - 1.0, -1e4, -1e4, -1e4, -1e4];
    check(&logits, &[0, 0, 1, 2], 3);
    check(&logits, &[1, 1, 0, 0], 3);
}

#[test]
fn the_first_of_equal_logits_is_the_prediction() {
    check(&[0.5; 12], &[0, 1, 2], 4);
}

#[test]
fn shapes_that_disagree_are_refused() {
    let logits = tensor([2, 3], &[0.0; 6]);
    assert!(softmax_cross_entropy(&logits, &words(&[0, 1, 2])).is_err());
    assert!(softmax_cross_entropy(&logits, &tensor([2], &[0.0; 2])).is_err());
    assert!(softmax_cross_entropy(&tensor([6], &[0.0; 6]), &words(&[0])).is_err());
}

fn step(losses: &[f32], hits: &[u32], history: &Tensor, progress: &Tensor) {
    let gradient = tensor([losses.len()], losses);
    let loss = CrossEntropy { losses: tensor([losses.len()], losses), hits: words(hits), gradient };
    tally(&loss, history, progress).unwrap();
}

#[test]
fn the_tally_counts_steps_and_keeps_their_losses_in_a_ring() {
    let history = Tensor::full(&gpu(), [HISTORY, 2], -7.0).unwrap();
    let before = HISTORY as u32 - 2;
    let progress = words(&[5, before, 0]);
    for (i, hits) in [[1, 0, 1], [0, 0, 0], [1, 1, 1]].into_iter().enumerate() {
        step(&[1.0 + i as f32, 2.0, 3.0], &hits, &history, &progress);
    }
    assert_eq!(progress.read_u32().unwrap(), [8, before + 3, 0]);
    let kept = history.read_f32().unwrap();
    let entry = |i: usize| [kept[2 * i], kept[2 * i + 1]];
    assert_eq!(entry(HISTORY - 2), [2.0, 2.0]);
    assert_close("mean", &entry(HISTORY - 1), &[7.0 / 3.0, 0.0], 1e-6, 0.0);
    assert_close("the ring starts again", &entry(0), &[8.0 / 3.0, 3.0], 1e-6, 0.0);
    assert!(kept[2..2 * HISTORY - 4].iter().all(|&v| v == -7.0), "only three entries were written");
}

#[test]
fn a_loss_that_is_no_number_halts_until_the_flag_is_lowered() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let history = Tensor::zeros(&gpu(), [HISTORY, 2], DType::F32).unwrap();
        let progress = words(&[0, 3, 0]);
        step(&[1.0, bad], &[1, 1], &history, &progress);
        assert_eq!(progress.read_u32().unwrap(), [0, 3, 1], "{bad}");
        assert!(!history.read_f32().unwrap()[6].is_finite(), "the history shows what happened");
        step(&[1.0, 2.0], &[1, 1], &history, &progress);
        assert_eq!(progress.read_u32().unwrap(), [0, 3, 1], "a good loss does not lower the flag");
    }
    // Large is not infinite.
    let history = Tensor::zeros(&gpu(), [HISTORY, 2], DType::F32).unwrap();
    let progress = words(&[0, 0, 0]);
    step(&[3e38], &[0], &history, &progress);
    assert_eq!(progress.read_u32().unwrap(), [1, 1, 0]);
}
