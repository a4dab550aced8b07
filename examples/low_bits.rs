//! Few bits: a float network quantized by calibration alone, and by SimQAT with learned steps (LSQ) from the same
//! values, on the sample of MNIST that comes with the repository.
//!
//! `cargo run --release --example low_bits -- [bits]`; 4 without a word. The fewer, the more training is worth.

use simqat::data::{self, DataOptions};
use simqat::gpu::Gpu;
use simqat::nn::Network;
use simqat::nn::models::{ModelInit, lenet5};
use simqat::optim::MomentumOptions;
use simqat::quant::{LayerOptions, Observer, SimQat};
use simqat::train::{Feed, Normalization, StopFlag, Trainer, TrainerOptions, calibrate, evaluate};

fn main() -> simqat::Result<()> {
    let bits = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(4);
    let gpu = Gpu::open()?;
    let data = data::load("mnist-5k", &DataOptions::default())?;
    println!("{}", data.source);
    let normalization = Normalization { mean: vec![0.1307], deviation: vec![0.3081] };
    let train = || Feed::new(&gpu, &data.train, 32, [32, 32], &normalization);
    let test = Feed::new(&gpu, &data.test, 250, [32, 32], &normalization)?;
    let tell = |what: &str, network: &Network| -> simqat::Result<()> {
        println!("{what:32} {:.1} %", 100.0 * evaluate(network, &test)?.top1());
        Ok(())
    };
    let trained = |network: Network, learning_rate: f32, epochs: usize| -> simqat::Result<Network> {
        let optimizer = MomentumOptions { learning_rate, momentum: 0.9, weight_decay: 0.0 };
        let options = TrainerOptions { epochs, log_every: 100, optimizer, ..TrainerOptions::default() };
        let mut trainer = Trainer::new(network, train()?, options)?;
        trainer.fit(&test, &mut [], &StopFlag::default())?;
        Ok(trainer.into_network())
    };

    let float = trained(lenet5(data.classes, ModelInit::He).build(&gpu, 1)?, 0.01, 4)?;
    tell("float", &float)?;

    // Weights and activations of the last layer keep 8 bits: it has few of them, and its errors are the result's.
    let last = LayerOptions { weight_bits: Some(8), activation_bits: Some(8), ..Default::default() };
    let few_bits = SimQat::default().bits(bits, bits).for_layers("fc3", last);

    // Ranges from 16 batches, and no training.
    let calibrated = few_bits.apply(&float)?;
    calibrate(&calibrated, &train()?, 16)?;
    tell(&format!("{bits} bits, calibrated"), &calibrated)?;

    // The step of each grid is trained along with the weights, which start where float ended.
    let learned = few_bits.observer(Observer::LearnedStep, Observer::LearnedStep).apply(&float)?;
    let learned = trained(learned, 0.002, 2)?;
    tell(&format!("{bits} bits, SimQAT, learned steps"), &learned)
}
