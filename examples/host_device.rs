//! Training on a wgpu device that the host made, a slice of time at once, beside the host's own work on the
//! same queue.
//!
//! `cargo run --release --example host_device`

use std::time::Duration;

use simqat::data::{self, DataOptions};
use simqat::gpu::Gpu;
use simqat::nn::models::{ModelInit, lenet5};
use simqat::optim::MomentumOptions;
use simqat::train::{Feed, Normalization, Trainer, TrainerOptions};

fn main() -> simqat::Result<()> {
    // The host's affair: which adapter, which features and limits. SUBGROUP is worth asking for.
    let (device, queue) = pollster::block_on(async {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await;
        let adapter = adapter.expect("this example needs a GPU adapter");
        let wanted = wgpu::DeviceDescriptor {
            required_features: adapter.features() & wgpu::Features::SUBGROUP,
            ..Default::default()
        };
        adapter.request_device(&wanted).await.expect("the adapter gives a device")
    });

    // simqat takes it as it is: WebGPU's default limits are enough.
    let gpu = Gpu::from_wgpu(device.clone(), queue.clone())?;
    let data = data::load("mnist", &DataOptions::default())?;
    let normalization = Normalization { mean: vec![0.1307], deviation: vec![0.3081] };
    let feed = Feed::new(&gpu, &data.train, 32, [32, 32], &normalization)?;
    let network = lenet5(data.classes, ModelInit::He).build(&gpu, 1)?;
    let options = TrainerOptions {
        epochs: 1,
        log_every: 25,
        optimizer: MomentumOptions { learning_rate: 0.01, momentum: 0.9, weight_decay: 0.0 },
        ..TrainerOptions::default()
    };
    let mut trainer = Trainer::new(network, feed, options)?;

    for frame in 0..20 {
        let more = trainer.run_for(Duration::from_millis(50), &mut [])?;
        // Whatever the host draws or computes goes on the same queue; here, nothing but an empty submission.
        queue.submit([]);
        println!("frame {frame}: {} steps asked for", trainer.steps_done());
        if !more {
            break;
        }
    }
    let test = Feed::new(&gpu, &data.test, 250, [32, 32], &normalization)?;
    let evaluation = trainer.evaluate(&test)?;
    println!("{} of {} test images right", evaluation.correct, evaluation.images);
    Ok(())
}
