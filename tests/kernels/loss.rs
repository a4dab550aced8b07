use simqat::kernel::loss::{CrossEntropy, ENTRY, HISTORY, softmax_cross_entropy, tally};
use simqat::tensor::{DType, Tensor};

use super::common::{assert_close, gpu};
use super::{tensor, values, words};

struct Expected {
    losses: Vec<f32>,
    ranks: Vec<u32>,
    gradient: Vec<f32>,
}

fn oracle(logits: &[f32], labels: &[u32], classes: usize, smoothing: f32) -> Expected {
    let mut all = Expected { losses: vec![], ranks: vec![], gradient: vec![] };
    let smoothing = f64::from(smoothing);
    for (row, &label) in logits.chunks(classes).zip(labels) {
        let label = label as usize;
        let row: Vec<f64> = row.iter().map(|&v| v.into()).collect();
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = row.iter().map(|v| (v - largest).exp()).sum();
        let (mut loss, mut rank) = (0.0, 0);
        for (k, &v) in row.iter().enumerate() {
            let one = if k == label { 1.0 } else { 0.0 };
            let target = (1.0 - smoothing) * one + smoothing / classes as f64;
            loss += target * (total.ln() + largest - v);
            rank += u32::from(v > row[label] || (v == row[label] && k < label));
            all.gradient.push((((v - largest).exp() / total - target) / labels.len() as f64) as f32);
        }
        all.losses.push(loss as f32);
        all.ranks.push(rank);
    }
    all
}

fn check_smoothed(logits: &[f32], labels: &[u32], classes: usize, smoothing: f32) {
    let what = format!("[{}, {classes}] with smoothing {smoothing}", labels.len());
    let expected = oracle(logits, labels, classes, smoothing);
    let logits = tensor([labels.len(), classes], logits);
    let found = softmax_cross_entropy(&logits, &words(labels), smoothing).unwrap();
    // exp and log of the device are off by a few units; the sum runs over `classes` of them.
    let losses = found.losses.read_f32().unwrap();
    assert_close(&format!("losses of {what}"), &losses, &expected.losses, 1e-5, 2e-6);
    assert_eq!(found.ranks.read_u32().unwrap(), expected.ranks, "{what}");
    let gradient = found.gradient.read_f32().unwrap();
    assert_close(&format!("gradient of {what}"), &gradient, &expected.gradient, 2e-5, 1e-7);
}

fn check(logits: &[f32], labels: &[u32], classes: usize) {
    check_smoothed(logits, labels, classes, 0.0);
}

/// From 64 classes on, a row has a workgroup.
const SHAPES: [(usize, usize); 9] =
    [(1, 1), (1, 10), (3, 2), (9, 7), (33, 10), (5, 63), (3, 64), (7, 101), (5, 1000)];

#[test]
fn cross_entropy_of_any_number_of_rows_and_classes() {
    for (rows, classes) in SHAPES {
        let labels: Vec<u32> = (0..rows).map(|i| (i * 7 % classes) as u32).collect();
        check(&values(rows * classes, rows as u64), &labels, classes);
    }
}

#[test]
fn smoothed_cross_entropy_of_any_number_of_rows_and_classes() {
    for (rows, classes) in SHAPES {
        let labels: Vec<u32> = (0..rows).map(|i| (i * 7 % classes) as u32).collect();
        for smoothing in [0.1, 0.75] {
            check_smoothed(&values(rows * classes, rows as u64), &labels, classes, smoothing);
        }
    }
}

/// More rows than one dimension of a dispatch has workgroups.
#[test]
fn cross_entropy_of_many_rows_of_many_classes() {
    let (rows, classes) = (65_600, 64);
    let labels: Vec<u32> = (0..rows).map(|i| (i % classes) as u32).collect();
    check(&values(rows * classes, 1), &labels, classes);
}

#[test]
fn large_logits_neither_overflow_nor_lose_the_loss() {
    let logits = [1e4, -1e4, 0.0, -1e4, 1e4, 1e4, 1e4, 1e4 - 1.0, -1e4, -1e4, -1e4, -1e4];
    for smoothing in [0.0, 0.1] {
        check_smoothed(&logits, &[0, 0, 1, 2], 3, smoothing);
        check_smoothed(&logits, &[1, 1, 0, 0], 3, smoothing);
    }
    let mut wide = vec![-1e4; 130];
    (wide[3], wide[64], wide[70], wide[129]) = (1e4, 1e4 - 1.0, 1e4, 1e4);
    check(&wide, &[3, 5], 65);
    check(&wide, &[64, 64], 65);
}

#[test]
fn the_first_of_equal_logits_is_the_prediction() {
    check(&[0.5; 12], &[0, 1, 2], 4);
    // Of equal logits, ranks go by the class in every variant.
    let labels = [0, 1, 63, 64, 99];
    let found = softmax_cross_entropy(&tensor([5, 100], &[0.5; 500]), &words(&labels), 0.0).unwrap();
    assert_eq!(found.ranks.read_u32().unwrap(), labels);
}

#[test]
fn a_label_that_is_no_class_is_noticed_in_the_loss() {
    for classes in [3, 100] {
        let logits = tensor([2, classes], &vec![0.5; 2 * classes]);
        let found = softmax_cross_entropy(&logits, &words(&[1, classes as u32]), 0.0).unwrap();
        let losses = found.losses.read_f32().unwrap();
        assert!(losses[0].is_finite() && !losses[1].is_finite(), "{losses:?}");
    }
}

#[test]
fn shapes_that_disagree_are_refused() {
    let logits = tensor([2, 3], &[0.0; 6]);
    assert!(softmax_cross_entropy(&logits, &words(&[0, 1, 2]), 0.0).is_err());
    assert!(softmax_cross_entropy(&logits, &tensor([2], &[0.0; 2]), 0.0).is_err());
    assert!(softmax_cross_entropy(&tensor([6], &[0.0; 6]), &words(&[0]), 0.0).is_err());
    for smoothing in [-0.1, 1.0, f32::NAN] {
        let error = softmax_cross_entropy(&logits, &words(&[0, 1]), smoothing).err().unwrap().to_string();
        assert!(error.contains(&smoothing.to_string()), "{error}");
    }
}

fn pass(losses: &[f32], ranks: &[u32], history: &Tensor, progress: &Tensor, passes: usize) {
    let gradient = tensor([losses.len()], losses);
    let loss = CrossEntropy { losses: tensor([losses.len()], losses), ranks: words(ranks), gradient };
    tally(&loss, history, progress, passes).unwrap();
}

#[test]
fn the_tally_counts_steps_and_keeps_their_losses_in_a_ring() {
    let history = Tensor::full(&gpu(), [HISTORY, ENTRY], -7.0).unwrap();
    let before = HISTORY as u32 - 2;
    let progress = words(&[5, before, 0, 0]);
    for (i, ranks) in [[0, 1, 0], [5, 4, 7], [0, 0, 0]].into_iter().enumerate() {
        pass(&[1.0 + i as f32, 2.0, 3.0], &ranks, &history, &progress, 1);
    }
    assert_eq!(progress.read_u32().unwrap(), [8, before + 3, 0, 1]);
    let kept = history.read_f32().unwrap();
    let entry = |i: usize| &kept[ENTRY * i..ENTRY * (i + 1)];
    assert_eq!(entry(HISTORY - 2), [2.0, 2.0, 3.0, 0.0]);
    assert_close("mean", entry(HISTORY - 1), &[7.0 / 3.0, 0.0, 1.0, 0.0], 1e-6, 0.0);
    assert_close("the ring starts again", entry(0), &[8.0 / 3.0, 3.0, 3.0, 0.0], 1e-6, 0.0);
    assert!(kept[ENTRY..ENTRY * (HISTORY - 2)].iter().all(|&v| v == -7.0), "only three entries were written");
}

#[test]
fn the_passes_of_a_step_share_an_entry() {
    let history = Tensor::full(&gpu(), [HISTORY, ENTRY], -7.0).unwrap();
    let progress = words(&[0, 0, 0, 0]);
    let losses = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]];
    let expected = [[1, 0, 0, 1], [2, 0, 0, 2], [3, 1, 0, 3], [4, 1, 0, 1]];
    for (losses, expected) in losses.iter().zip(expected) {
        pass(losses, &[0, 4], &history, &progress, 3);
        assert_eq!(progress.read_u32().unwrap(), expected);
    }
    let kept = history.read_f32().unwrap();
    // Thirds are rounded.
    assert_close("mean of three", &kept[..ENTRY], &[3.5, 3.0, 6.0, 0.0], 1e-6, 0.0);
    assert_close("the next step begins", &kept[ENTRY..2 * ENTRY], &[2.5, 1.0, 2.0, 0.0], 1e-6, 0.0);
    let none =
        CrossEntropy { losses: tensor([1], &[0.0]), ranks: words(&[0]), gradient: tensor([1], &[0.0]) };
    assert!(tally(&none, &history, &progress, 0).is_err());
}

#[test]
fn a_loss_that_is_no_number_halts_until_the_flag_is_lowered() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let history = Tensor::zeros(&gpu(), [HISTORY, ENTRY], DType::F32).unwrap();
        let progress = words(&[0, 3, 0, 0]);
        pass(&[1.0, bad], &[0, 0], &history, &progress, 1);
        assert_eq!(progress.read_u32().unwrap(), [0, 3, 1, 0], "{bad}");
        assert!(!history.read_f32().unwrap()[3 * ENTRY].is_finite(), "the history shows what happened");
        pass(&[1.0, 2.0], &[0, 0], &history, &progress, 1);
        assert_eq!(progress.read_u32().unwrap(), [0, 3, 1, 0], "a good loss does not lower the flag");
        assert!(!history.read_f32().unwrap()[3 * ENTRY].is_finite(), "nor does it hide what happened");
    }
    // Large is not infinite.
    let history = Tensor::zeros(&gpu(), [HISTORY, ENTRY], DType::F32).unwrap();
    let progress = words(&[0, 0, 0, 0]);
    pass(&[3e38], &[1], &history, &progress, 1);
    assert_eq!(progress.read_u32().unwrap(), [1, 1, 0, 1]);
}
