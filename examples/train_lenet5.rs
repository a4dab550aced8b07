//! LeNet5 on digits with the library: data, network, trainer, evaluation, in float and with SimQAT.
//!
//! `cargo run --release --example train_lenet5 -- [epochs] [data set]`; without words, on the sample of MNIST that
//! comes with the repository.

use simqat::data::{self, DataOptions};
use simqat::gpu::Gpu;
use simqat::nn::models::{ModelInit, lenet5};
use simqat::optim::MomentumOptions;
use simqat::quant::SimQat;
use simqat::train::{Feed, LossMonitor, Normalization, StopFlag, TimeMonitor, Trainer, TrainerOptions};

fn main() -> simqat::Result<()> {
    let mut words = std::env::args().skip(1);
    let epochs = words.next().and_then(|n| n.parse().ok()).unwrap_or(2);
    let name = words.next().unwrap_or_else(|| "mnist-5k".into());
    let gpu = Gpu::open()?;
    let data = data::load(&name, &DataOptions::default())?;
    println!("{}\n{gpu:?}", data.source);

    // He's initial values learn from the first step, which suits a short training.
    let float = lenet5(data.classes, ModelInit::He).build(&gpu, 1)?;
    let quantized = SimQat::default().quant_delay(100).apply(&float)?;
    println!("{float}\n{quantized}");

    let normalization = Normalization { mean: vec![0.1307], deviation: vec![0.3081] };
    let options = TrainerOptions {
        epochs,
        log_every: 100,
        optimizer: MomentumOptions { learning_rate: 0.01, momentum: 0.9, weight_decay: 0.0 },
        ..TrainerOptions::default()
    };
    for network in [float, quantized] {
        let feed = Feed::new(&gpu, &data.train, 32, [32, 32], &normalization)?;
        let test = Feed::new(&gpu, &data.test, 250, [32, 32], &normalization)?;
        let mut trainer = Trainer::new(network, feed, options.clone())?;
        let mut loss = LossMonitor(std::io::stdout());
        let mut time = TimeMonitor(std::io::stdout());
        trainer.fit(&test, &mut [&mut loss, &mut time], &StopFlag::default())?;
        let accuracy = trainer.evaluate(&test)?.top1();
        println!("{}: {:.2} % of the test images are right", trainer.network().name(), 100.0 * accuracy);
    }
    Ok(())
}
