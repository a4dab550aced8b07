//! A training loop by hand, with the tape alone: no network, no trainer. A dense layer learns to tell two
//! spirals apart after a small hidden layer, on whatever adapter there is.
//!
//! `cargo run --release --example custom_loop`

use simqat::autograd::{Tape, Var};
use simqat::gpu::Gpu;
use simqat::ops::{dense, softmax_cross_entropy};
use simqat::optim::{Momentum, MomentumOptions};
use simqat::tensor::Tensor;
use simqat::tensor::init::Init;

const POINTS: usize = 256;
const HIDDEN: usize = 64;

fn main() -> simqat::Result<()> {
    let gpu = Gpu::open()?;
    let (points, labels) = spirals();
    let points = Tensor::from_f32(&gpu, [POINTS, 2], &points)?;
    let labels = Tensor::from_u32(&gpu, [POINTS], &labels)?;

    let parameters = [
        Init::He.tensor(&gpu, [HIDDEN, 2], 1, 0)?,
        Tensor::full(&gpu, [HIDDEN], 0.0)?,
        Init::He.tensor(&gpu, [HIDDEN, HIDDEN], 1, 1)?,
        Tensor::full(&gpu, [HIDDEN], 0.0)?,
        Init::He.tensor(&gpu, [2, HIDDEN], 1, 2)?,
        Tensor::full(&gpu, [2], 0.0)?,
    ];
    let options = MomentumOptions { learning_rate: 0.1, momentum: 0.9, weight_decay: 0.0 };
    let optimizer = Momentum::new(&parameters, options)?;

    for step in 0..=300 {
        // A tape serves one walk: forward puts nodes on it, backward takes them off.
        let tape = Tape::new();
        let [w1, b1, w2, b2, w3, b3] = parameters.each_ref().map(|p| tape.leaf(p));
        let hidden = dense(&Var::constant(points.clone()), &w1, Some(&b1), true)?;
        let hidden = dense(&hidden, &w2, Some(&b2), true)?;
        let logits = dense(&hidden, &w3, Some(&b3), false)?;
        let loss = softmax_cross_entropy(&logits, &labels)?;
        let gradients = tape.backward(&loss.mean)?;
        for (index, leaf) in [w1, b1, w2, b2, w3, b3].iter().enumerate() {
            if let Some(gradient) = gradients.of(leaf) {
                optimizer.update(index, gradient)?;
            }
        }
        // Reading waits for the device, so a loop does it now and then.
        if step % 100 == 0 {
            let right = loss.rows.ranks.read_u32()?.iter().filter(|&&rank| rank == 0).count();
            println!("step {step}: loss {:.4}, {right} of {POINTS} right", loss.mean.tensor().read_f32()?[0]);
        }
    }
    Ok(())
}

/// Points of two spirals around each other, and which of the two.
fn spirals() -> (Vec<f32>, Vec<u32>) {
    let point = |i: usize| {
        let turn = 6.0 * (i / 2) as f32 / (POINTS / 2) as f32 + 0.5;
        let angle = turn + if i.is_multiple_of(2) { 0.0 } else { std::f32::consts::PI };
        [turn / 4.0 * angle.cos(), turn / 4.0 * angle.sin()]
    };
    ((0..POINTS).flat_map(point).collect(), (0..POINTS as u32).map(|i| i % 2).collect())
}
