//! From a float network to an integer one, without a data set: quantize, calibrate, convert, run on the CPU and on the GPU,
//! count where both agree with the simulated network, and write it for ONNX Runtime.
//!
//! `cargo run --release --example deploy_int8`

use simqat::deploy::onnx::{OnnxOptions, write_int8};
use simqat::deploy::parity::Comparison;
use simqat::deploy::{CpuEngine, Engine, GpuEngine, Int8Model, convert};
use simqat::gpu::Gpu;
use simqat::nn::models::{ModelInit, lenet5};
use simqat::quant::SimQat;
use simqat::tensor::Tensor;
use simqat::tensor::random::Philox;

fn main() -> simqat::Result<()> {
    let gpu = Gpu::open()?;
    let float = lenet5(10, ModelInit::He).build(&gpu, 1)?;
    let simulated = SimQat::default().apply(&float)?;
    let mut random = Philox::new(1, 1);
    let mut images = |count: usize| -> simqat::Result<Tensor> {
        let values: Vec<f32> = (0..count * 32 * 32).map(|_| random.normal()).collect();
        Tensor::from_f32(&gpu, [count, 1, 32, 32], &values)
    };
    // A trained network has seen its data; this one sees a batch.
    simulated.calibrate(&images(32)?, 0)?;

    let conversion = convert(&simulated)?;
    let bytes = conversion.model.to_bytes()?;
    println!("{} bytes instead of {} in f32", bytes.len(), 4 * float.trainable_count());
    // What a program would read from a file or carry in itself.
    let model = Int8Model::from_bytes(&bytes)?;
    for layer in &model.layers {
        println!(
            "{:8} {:?}, scale {:.5}, zero point {}",
            layer.name, layer.shape, layer.grid.scale, layer.grid.zero_point
        );
    }

    let x = images(16)?;
    let logits = CpuEngine::new(&model)?.predict(&x.read_f32()?)?;
    println!("logits of the first image: {:.3?}", &logits[..10]);

    let engines: Vec<(String, Box<dyn Engine>)> = vec![
        ("cpu".into(), Box::new(CpuEngine::new(&model)?)),
        ("gpu".into(), Box::new(GpuEngine::new(&gpu, &model)?)),
    ];
    let mut comparison = Comparison::new(&simulated, &conversion, engines)?;
    comparison.add(&x, &[0; 16])?;
    let found = comparison.found();
    for layer in &found.layers {
        println!(
            "{:8} {} of {} codes differ from the simulated network's",
            layer.name, layer.differ, layer.codes
        );
    }
    println!("{} of {} codes differ between CPU and GPU", found.engines[0].differ, found.engines[0].codes);
    assert_eq!(found.engines[0].differ, 0);

    let path = std::env::temp_dir().join("simqat-example.onnx");
    write_int8(&model, &OnnxOptions::default(), &path)?;
    println!("{} is the same network for ONNX Runtime", path.display());
    Ok(())
}
