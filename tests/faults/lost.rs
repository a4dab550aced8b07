//! Devices that go away while they are used: destroyed by their hosts, at any call, with and without handlers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::common;

use simqat::data::Split;
use simqat::gpu::{Gpu, GpuOptions};
use simqat::nn::{Dense, Network};
use simqat::quant::SimQat;
use simqat::tensor::{DType, Tensor};
use simqat::train::checkpoint::{Checkpoint, save_network, save_training};
use simqat::train::{Feed, Normalization, RunMode, StopFlag, Trainer, TrainerOptions};
use simqat::{Error, Result, wgpu};

/// A device as a host makes it, on the adapter of these tests.
fn hosts() -> (wgpu::Device, wgpu::Queue) {
    let name = common::gpu().caps().adapter.name.clone();
    pollster::block_on(async {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let all = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
        let adapter = all.into_iter().find(|a| a.get_info().name == name).expect("the adapter of the tests");
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter.features() & wgpu::Features::SUBGROUP,
            ..Default::default()
        };
        adapter.request_device(&descriptor).await.unwrap()
    })
}

fn feed(gpu: &Gpu) -> Feed {
    let pixels: Vec<u8> = (0..64 * 16).map(|i| (i * 7 % 251) as u8).collect();
    let split = Split::new([1, 4, 4], pixels, (0..64).map(|i| i % 3).collect(), 3).unwrap();
    let normalization = Normalization { mean: vec![0.5], deviation: vec![0.25] };
    Feed::new(gpu, &split, 8, [4, 4], &normalization).unwrap()
}

fn trainer(gpu: &Gpu, mode: RunMode) -> Trainer {
    let float = Network::builder("Small", [1, 4, 4])
        .flatten("flatten")
        .dense("hidden", Dense::new(16, 8))
        .relu("relu")
        .dense("out", Dense::new(8, 3));
    let network = SimQat::default().quant_delay(2).apply(&float.build(gpu, 1).unwrap()).unwrap();
    let options = TrainerOptions { epochs: 1000, mode, ..Default::default() };
    Trainer::new(network, feed(gpu), options).unwrap()
}

#[track_caller]
fn told_lost<T>(what: &str, outcome: Result<T>) -> String {
    match outcome {
        Err(error @ Error::Lost { .. }) => {
            let text = error.to_string();
            assert!(!error.is_bad_input(), "{what}");
            assert!(text.starts_with("the GPU was lost (") && !text.contains('\n'), "{what}: {text}");
            text
        }
        Err(error) => panic!("{what}: another error: {error}"),
        Ok(_) => panic!("{what}: done, on a device that is gone"),
    }
}

/// Whatever can be asked of a device, and of a training on it, from its loss on.
fn everything_says_lost(gpu: &Gpu, trainer: &mut Trainer, saved: Option<&std::path::Path>) {
    let done = trainer.steps_done();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("late.safetensors");
    let named = |text: String| {
        if let Some(path) = saved {
            assert!(text.ends_with(&format!("go on from {}", path.display())), "{text}");
        }
    };
    for round in 0..3 {
        named(told_lost("step", trainer.step()));
        named(told_lost("run_for", trainer.run_for(Duration::from_secs(5), &mut [])));
        named(told_lost("save", save_training(trainer, &file, &[])));
        told_lost("save a network", save_network(trainer.network(), &file));
        told_lost("flush", gpu.flush());
        told_lost("wait", gpu.wait());
        told_lost("alloc", gpu.alloc(4096));
        told_lost("upload", gpu.upload(&[1; 64]));
        told_lost("read", trainer.network().parameters()[0].tensor.read_f32());
        told_lost("write", trainer.network().parameters()[0].tensor.write_f32(&[0.0; 8 * 16]));
        told_lost("record", gpu.record(|| Ok(())));
        told_lost("profile", gpu.profile(|| Ok(())));
        told_lost("a tensor", Tensor::zeros(gpu, [4], DType::F32));
        told_lost("a network", Network::builder("N", [4]).dense("a", Dense::new(4, 2)).build(gpu, 1));
        gpu.trim();
        assert_eq!(trainer.steps_done(), done, "steps that were not done, in round {round}");
    }
    assert!(!file.exists(), "a checkpoint of a device that is gone");
}

#[test]
fn a_host_destroys_its_device_between_steps() {
    for mode in [RunMode::Graph, RunMode::Eager] {
        let (device, queue) = hosts();
        let gpu = Gpu::from_wgpu(device.clone(), queue).unwrap();
        let mut trainer = self::trainer(&gpu, mode);
        let test = feed(&gpu);
        (0..5).for_each(|_| trainer.step().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("five.safetensors");
        save_training(&trainer, &path, &[]).unwrap();
        (0..3).for_each(|_| trainer.step().unwrap());
        device.destroy();
        told_lost("evaluate", trainer.evaluate(&test));
        told_lost("fit", trainer.fit(&test, &mut [], &StopFlag::default()));
        everything_says_lost(&gpu, &mut trainer, Some(&path));
        drop((trainer, test));
        // The file is whole, and another device goes on from it.
        let other = common::gpu();
        let mut again = self::trainer(&other, mode);
        Checkpoint::read(&path).unwrap().resume(&mut again).unwrap();
        assert_eq!(again.steps_done(), 5);
        again.step().unwrap();
        again.check_finite().unwrap();
    }
}

#[test]
fn a_host_destroys_its_device_in_the_middle_of_a_step() {
    for mode in [RunMode::Graph, RunMode::Eager] {
        for after in [0, 1, 7, 30] {
            let (device, queue) = hosts();
            let gpu = Gpu::from_wgpu(device.clone(), queue).unwrap();
            let mut trainer = self::trainer(&gpu, mode);
            trainer.step().unwrap();
            let begun = Arc::new(AtomicUsize::new(0));
            let seen = begun.clone();
            let other = std::thread::spawn(move || {
                // Other places of the loop each time, for as long as a step takes.
                while seen.load(Ordering::Relaxed) <= after {
                    std::hint::spin_loop();
                }
                device.destroy();
            });
            let error = loop {
                begun.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = trainer.step() {
                    break error;
                }
            };
            other.join().unwrap();
            told_lost("step", Err::<(), _>(error));
            everything_says_lost(&gpu, &mut trainer, None);
        }
    }
}

#[test]
fn a_hosts_handlers_stay_its_own_and_hear_of_their_own_mistakes_alone() {
    let (device, queue) = hosts();
    let (errors, losses) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (heard, lost) = (errors.clone(), losses.clone());
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        heard.lock().unwrap().push(error.to_string());
    }));
    device.set_device_lost_callback(move |_, _| {
        lost.fetch_add(1, Ordering::Relaxed);
    });
    let gpu = Gpu::from_wgpu(device.clone(), queue).unwrap();
    let mut trainer = trainer(&gpu, RunMode::Graph);
    trainer.step().unwrap();
    // A mistake of the host's is told to the host, and is none of the training's.
    let _ = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("the host's"),
        size: 16,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::MAP_WRITE,
        mapped_at_creation: false,
    });
    assert_eq!(errors.lock().unwrap().len(), 1);
    trainer.step().unwrap();
    gpu.wait().unwrap();
    device.destroy();
    everything_says_lost(&gpu, &mut trainer, None);
    let _ = device.poll(wgpu::PollType::wait_indefinitely());
    assert_eq!(losses.load(Ordering::Relaxed), 1, "the host's handler");
    assert_eq!(errors.lock().unwrap().len(), 1, "{:?}", errors.lock().unwrap());
}

#[test]
fn a_device_that_was_opened_here_says_the_same() {
    let gpu = Gpu::open_with(&GpuOptions { checked: true, ..Default::default() }).unwrap();
    let mut trainer = trainer(&gpu, RunMode::Graph);
    trainer.step().unwrap();
    gpu.wait().unwrap();
    let readback = gpu.start_read(trainer.network().parameters()[0].tensor.buffer()).unwrap();
    gpu.device().destroy();
    told_lost("a read under way", readback.wait());
    everything_says_lost(&gpu, &mut trainer, None);
    assert!(told_lost("the reason", gpu.flush()).contains("(it was destroyed)"));
}

#[test]
fn a_device_without_a_driver_is_lost_as_well() {
    let gpu = Gpu::noop();
    let mut trainer = trainer(&gpu, RunMode::Eager);
    trainer.step().unwrap();
    gpu.device().destroy();
    everything_says_lost(&gpu, &mut trainer, None);
}
