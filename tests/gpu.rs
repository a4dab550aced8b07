//! The device floor from outside: order, recordings, memory, transfers, errors.

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::gpu;
use simqat::gpu::{Gpu, GpuOptions, KernelFamily, MemoryUse};
use simqat::kernel::counter::NEVER;
use simqat::kernel::elementwise::{Binary, Unary, binary, unary};
use simqat::kernel::momentum::{Settings, update};
use simqat::kernel::pool::{Window, max_forward};
use simqat::kernel::reduce::{Reduction, reduce};
use simqat::kernel::{loss, quantize};
use simqat::shader::Shader;
use simqat::shader_test::{Bound, compare};
use simqat::tensor::{DType, Tensor};
use simqat::{Error, MemoryLimit, Result};

/// A device of one's own, for tests that look at its memory or its kernels.
fn own() -> Gpu {
    Gpu::open_with(&GpuOptions { checked: true, poison: true, ..Default::default() }).unwrap()
}

fn affine(x: &Tensor, a: f32, b: f32) -> Result<Tensor> {
    unary(Unary::Affine, x, a, b)
}

#[test]
fn a_chain_of_a_thousand_dispatches_runs_in_order() {
    let mut x = Tensor::full(&gpu(), [5], 1.0).unwrap();
    let mut expected = 1.0f32;
    for i in 0..1000 {
        // Halving and adding small numbers: exact in no order but this one.
        let add = (i % 7) as f32;
        x = affine(&x, 0.5, add).unwrap();
        expected = expected * 0.5 + add;
    }
    assert_eq!(x.read_f32().unwrap(), [expected; 5]);
}

#[test]
fn writes_copies_and_reads_keep_their_place_between_kernels() {
    let x = Tensor::full(&gpu(), [5], 1.0).unwrap();
    let twice = affine(&x, 2.0, 0.0).unwrap();
    let copy = x.duplicate().unwrap();
    x.write_f32(&[10.0; 5]).unwrap();
    let later = affine(&x, 2.0, 0.0).unwrap();
    for (tensor, expected) in [(&twice, 2.0), (&copy, 1.0), (&later, 20.0)] {
        assert_eq!(tensor.read_f32().unwrap(), [expected; 5]);
    }
    gpu().copy(copy.buffer(), twice.buffer(), 0).unwrap();
    assert_eq!(twice.read_f32().unwrap(), [1.0; 5]);
    let error = gpu().copy(copy.buffer(), twice.buffer(), 4).unwrap_err().to_string();
    assert!(error.contains("20 bytes") && error.contains("offset 4"), "{error}");
}

#[test]
fn odd_numbers_of_bytes_are_padded_with_zeros() {
    for length in 0..9usize {
        let bytes: Vec<u8> = (1..=length as u8).collect();
        let mut expected = bytes.clone();
        expected.resize(length.next_multiple_of(4).max(4), 0);
        let read = gpu().read(&gpu().upload(&bytes).unwrap()).unwrap();
        assert_eq!(read[..length.next_multiple_of(4)], expected[..length.next_multiple_of(4)]);
    }
    let small = gpu().alloc(4).unwrap();
    assert!(gpu().write(&small, &[0; 5]).is_err());
}

/// Something with temporaries, several kernels and a reduction.
fn work(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let a = unary(Unary::Tanh, x, 0.0, 0.0)?;
    let b = binary(Binary::Mul, &a, y, 0.0)?;
    let c = binary(Binary::Add, &b, &reduce(Reduction::Mean, &b, 0..1)?, 0.0)?;
    unary(Unary::Sigmoid, &c, 0.0, 0.0)
}

#[test]
fn a_replay_gives_the_bits_of_the_eager_run() {
    let gpu = own();
    let values: Vec<f32> = (0..1003).map(|i| (i as f32 * 0.37).sin()).collect();
    let x = Tensor::from_f32(&gpu, [17, 59], &values).unwrap();
    let y = affine(&x, -0.5, 1.0).unwrap();
    let eager = work(&x, &y).unwrap().read_f32().unwrap();
    let (recording, out) = gpu.record(|| work(&x, &y)).unwrap();
    assert_eq!(recording.len(), 5);
    recording.replay().unwrap();
    assert_eq!(out.read_f32().unwrap(), eager);
    // New data, same recording.
    x.write_f32(&values.iter().map(|v| v * 3.0).collect::<Vec<_>>()).unwrap();
    recording.replay().unwrap();
    let replayed = out.read_f32().unwrap();
    assert_eq!(replayed, work(&x, &y).unwrap().read_f32().unwrap());
    assert_ne!(replayed, eager);
}

#[test]
fn replays_accumulate() {
    let gpu = own();
    let [total, velocity] = [0; 2].map(|_| Tensor::zeros(&gpu, [3], DType::F32).unwrap());
    let down = Tensor::from_f32(&gpu, [3], &[-1.0, -2.0, -3.0]).unwrap();
    let rate = Tensor::full(&gpu, [1], 0.5).unwrap();
    let progress = Tensor::zeros(&gpu, [3], DType::U32).unwrap();
    let settings = Settings {
        rate: &rate,
        progress: &progress,
        factor: None,
        momentum: 0.0,
        weight_decay: 0.0,
        place: 0,
    };
    let (recording, ()) =
        gpu.record(|| update(&total, &velocity, &affine(&down, 2.0, 0.0)?, &settings)).unwrap();
    assert_eq!(total.read_f32().unwrap(), [0.0; 3], "recording runs nothing");
    for _ in 0..300 {
        recording.replay().unwrap();
    }
    assert_eq!(total.read_f32().unwrap(), [300.0, 600.0, 900.0]);
    // What changes from step to step is data.
    rate.write_f32(&[0.0]).unwrap();
    recording.replay().unwrap();
    assert_eq!(total.read_f32().unwrap(), [300.0, 600.0, 900.0]);
}

#[test]
fn a_recording_is_its_threads_and_others_go_on_beside_it() {
    let gpu = own();
    let x = Tensor::full(&gpu, [1000], 1.0).unwrap();
    let beside = |value: f32| {
        let mine = Tensor::full(&gpu, [1000], value)?;
        affine(&mine.duplicate()?, 2.0, 1.0)?.read_f32()
    };
    let (recording, out) = gpu
        .record(|| {
            let first = affine(&x, 2.0, 0.0)?;
            // While this one records, another thread writes, computes and reads, and makes a recording that it runs.
            std::thread::scope(|scope| {
                let other = scope.spawn(|| {
                    assert_eq!(beside(3.0).unwrap(), [7.0; 1000]);
                    let (own, y) = gpu.record(|| affine(&x, 5.0, 0.0)).unwrap();
                    own.replay().unwrap();
                    assert_eq!(y.read_f32().unwrap(), [5.0; 1000]);
                    assert_eq!(own.len(), 1);
                });
                other.join().unwrap();
            });
            affine(&first, 1.0, 0.5)
        })
        .unwrap();
    assert_eq!(recording.len(), 2, "what this thread asked for, and nothing else");
    for _ in 0..3 {
        assert_eq!(beside(4.0).unwrap(), [9.0; 1000]);
        recording.replay().unwrap();
        assert_eq!(out.read_f32().unwrap(), [2.5; 1000]);
    }
}

#[test]
fn threads_record_replay_and_compute_at_once() {
    let gpu = own();
    let values: Vec<f32> = (0..1003).map(|i| (i as f32 * 0.37).sin()).collect();
    let start =
        |k: usize| Tensor::from_f32(&gpu, [17, 59], &values.iter().map(|v| v * k as f32).collect::<Vec<_>>());
    let eager: Vec<Vec<f32>> =
        (1..5).map(|k| work(&start(k).unwrap(), &start(k).unwrap()).unwrap().read_f32().unwrap()).collect();
    std::thread::scope(|scope| {
        for (k, expected) in (1..5).zip(&eager) {
            let (gpu, start) = (&gpu, &start);
            scope.spawn(move || {
                for round in 0..20 {
                    let x = start(k).unwrap();
                    let (recording, out) = gpu.record(|| work(&x, &x)).unwrap();
                    assert_eq!(recording.len(), 5, "thread {k}, round {round}");
                    recording.replay().unwrap();
                    assert_eq!(
                        work(&x, &x).unwrap().read_f32().unwrap(),
                        *expected,
                        "thread {k}, round {round}"
                    );
                    recording.replay().unwrap();
                    assert_eq!(out.read_f32().unwrap(), *expected, "thread {k}, round {round}");
                }
            });
        }
    });
}

#[test]
fn copies_are_recorded_too() {
    let gpu = own();
    let x = Tensor::full(&gpu, [6], 1.0).unwrap();
    let (recording, copy) = gpu.record(|| affine(&x.duplicate()?, 3.0, 0.0)).unwrap();
    x.write_f32(&[2.0; 6]).unwrap();
    recording.replay().unwrap();
    assert_eq!(copy.read_f32().unwrap(), [6.0; 6]);
}

#[test]
fn a_recordings_memory_is_its_own_while_it_lives() {
    let gpu = own();
    let size = [1000];
    let outside = Tensor::full(&gpu, size, 2.0).unwrap();
    let (recording, out) = gpu
        .record(|| {
            let temporary = affine(&outside, 3.0, 0.0)?;
            let second = affine(&temporary, 1.0, 1.0)?;
            binary(Binary::Add, &temporary, &second, 0.0)
        })
        .unwrap();
    // The recording still reads the first and writes the temporaries, all without a handle here.
    drop(outside);
    let mut others = Vec::new();
    for i in 0..50 {
        let other = Tensor::full(&gpu, size, 1e6 + i as f32).unwrap();
        others.push(affine(&other, 1.0, 0.0).unwrap());
    }
    for _ in 0..2 {
        recording.replay().unwrap();
        assert_eq!(out.read_f32().unwrap(), [13.0; 1000]);
    }
    for (i, other) in others.iter().enumerate() {
        assert_eq!(other.read_f32().unwrap(), [1e6 + i as f32; 1000], "tensor {i} was written by the replay");
    }
}

#[test]
fn a_result_outlives_its_recording_and_then_serves_everybody() {
    // Guard zones, which a recording's memory has not, would make sizes differ.
    let gpu = Gpu::open_with(&GpuOptions::default()).unwrap();
    let x = Tensor::full(&gpu, [1000], 1.0).unwrap();
    let (recording, out) = gpu.record(|| affine(&affine(&x, 2.0, 0.0)?, 1.0, 1.0)).unwrap();
    recording.replay().unwrap();
    drop(recording);
    let others: Vec<Tensor> = (0..10).map(|_| Tensor::full(&gpu, [1000], 9.0).unwrap()).collect();
    assert_eq!(out.read_f32().unwrap(), [3.0; 1000]);
    let reserved = gpu.memory().reserved;
    drop((out, others));
    let _again: Vec<Tensor> = (0..11).map(|_| Tensor::full(&gpu, [1000], 9.0).unwrap()).collect();
    assert_eq!(gpu.memory().reserved, reserved, "the recording's memory came back");
}

#[test]
fn a_recording_may_use_the_result_of_another() {
    let gpu = own();
    let x = Tensor::full(&gpu, [100], 1.0).unwrap();
    let (first, a) = gpu.record(|| affine(&x, 2.0, 0.0)).unwrap();
    let (second, b) = gpu.record(|| affine(&a, 1.0, 5.0)).unwrap();
    first.replay().unwrap();
    drop((first, a));
    let _others: Vec<Tensor> = (0..20).map(|_| Tensor::full(&gpu, [100], 1e6).unwrap()).collect();
    second.replay().unwrap();
    assert_eq!(b.read_f32().unwrap(), [7.0; 100]);
}

#[test]
fn memory_is_flat_over_many_steps() {
    let gpu = own();
    let x = Tensor::full(&gpu, [33, 65], 0.5).unwrap();
    let y = Tensor::full(&gpu, [33, 65], 0.5).unwrap();
    let mut at_ten = MemoryUse::default();
    for i in 0..500 {
        work(&x, &y).unwrap();
        if i == 9 {
            at_ten = gpu.memory();
        }
    }
    assert_eq!(gpu.memory(), at_ten, "eager");
    let (recording, _out) = gpu.record(|| work(&x, &y)).unwrap();
    let recorded = gpu.memory();
    for _ in 0..500 {
        recording.replay().unwrap();
    }
    gpu.wait().unwrap();
    assert_eq!(gpu.memory(), recorded, "replayed");
    for _ in 0..50 {
        gpu.record(|| work(&x, &y)).unwrap();
    }
    // While the first recording lives, the others share one more set.
    assert!(gpu.memory().reserved <= 2 * recorded.reserved, "{:?} after {recorded:?}", gpu.memory());
}

#[test]
fn temporaries_of_a_recording_share_memory() {
    let gpu = own();
    let x = Tensor::full(&gpu, [10_000], 0.5).unwrap();
    let before = gpu.memory().reserved;
    let (recording, out) = gpu
        .record(|| {
            let mut y = affine(&x, 1.0, 1.0)?;
            for _ in 0..50 {
                y = affine(&y, 1.0, 1.0)?;
            }
            Ok(y)
        })
        .unwrap();
    // One that is read and one that is written.
    assert!(gpu.memory().reserved - before <= 2 * 49_152, "{:?}", gpu.memory());
    recording.replay().unwrap();
    assert_eq!(out.read_f32().unwrap(), [51.5; 10_000]);
}

#[test]
fn trimming_gives_unused_memory_back_and_harms_nothing() {
    let gpu = own();
    let x = Tensor::full(&gpu, [1000], 1.0).unwrap();
    let y = affine(&affine(&x, 2.0, 0.0).unwrap(), 2.0, 0.0).unwrap();
    gpu.trim();
    let memory = gpu.memory();
    assert_eq!(memory.reserved, memory.live);
    assert_eq!(y.read_f32().unwrap(), [4.0; 1000]);
    assert_eq!(affine(&y, 2.0, 0.0).unwrap().read_f32().unwrap(), [8.0; 1000]);
}

#[test]
fn trimming_lets_compiled_kernels_go_that_nothing_holds() {
    let gpu = own();
    let x = Tensor::from_f32(&gpu, [17, 59], &vec![0.3; 17 * 59]).unwrap();
    let expected = work(&x, &x).unwrap().read_f32().unwrap();
    // The recording holds a kernel that was compiled last, so that those after the trim could be taken for it.
    let (recording, out) = gpu.record(|| affine(&x, 3.0, 0.5)).unwrap();
    assert_eq!(gpu.compiled_kernels(), 6);
    gpu.trim();
    assert_eq!(gpu.compiled_kernels(), 1, "the recording's");
    for round in 0..3 {
        assert_eq!(work(&x, &x).unwrap().read_f32().unwrap(), expected, "round {round}");
        recording.replay().unwrap();
        assert_eq!(out.read_f32().unwrap(), vec![0.3 * 3.0 + 0.5; 17 * 59], "round {round}");
        assert_eq!(affine(&x, 2.0, 0.0).unwrap().read_f32().unwrap(), vec![0.6; 17 * 59], "round {round}");
        assert_eq!(gpu.compiled_kernels(), 6, "round {round}");
        gpu.trim();
    }
    // Nor may what was asked for and has not run yet lose its kernels.
    let late = work(&x, &x).unwrap();
    gpu.trim();
    assert_eq!(late.read_f32().unwrap(), expected);
    drop(recording);
    gpu.trim();
    assert_eq!(gpu.compiled_kernels(), 0);
}

#[test]
fn what_a_recording_cannot_do_is_an_error_and_leaves_the_device_usable() {
    let gpu = own();
    let x = Tensor::full(&gpu, [4], 1.0).unwrap();
    let (other, _) = gpu.record(|| affine(&x, 1.0, 0.0)).unwrap();
    let tries: [(&str, &dyn Fn() -> Result<()>); 5] = [
        ("nested", &|| gpu.record(|| Ok(())).map(drop)),
        ("reading", &|| x.read_f32().map(drop)),
        ("writing", &|| x.write_f32(&[0.0; 4])),
        ("writing", &|| Tensor::zeros(&gpu, [4], DType::F32).map(drop)),
        ("replayed", &|| other.replay()),
    ];
    for (wanted, attempt) in tries {
        let Err(error) = gpu.record(attempt) else { panic!("{wanted} passed") };
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(affine(&x, 2.0, 0.0).unwrap().read_f32().unwrap(), [2.0; 4], "after {wanted}");
    }
}

#[test]
fn a_panic_while_recording_leaves_the_device_usable() {
    let gpu = own();
    let x = Tensor::full(&gpu, [4], 1.0).unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        gpu.record(|| -> Result<()> {
            let _y = affine(&x, 2.0, 0.0)?;
            panic!("a bug in the host's step");
        })
        .map(drop)
    }));
    assert!(result.is_err());
    assert_eq!(affine(&x, 3.0, 0.0).unwrap().read_f32().unwrap(), [3.0; 4]);
    let (recording, out) = gpu.record(|| affine(&x, 4.0, 0.0)).unwrap();
    recording.replay().unwrap();
    assert_eq!(out.read_f32().unwrap(), [4.0; 4]);
}

#[test]
fn a_readback_can_be_asked_waited_for_and_awaited() {
    let x = affine(&Tensor::full(&gpu(), [3], 1.0).unwrap(), 2.0, 0.5).unwrap();
    let expected: Vec<u8> = [2.5f32; 3].iter().flat_map(|v| v.to_le_bytes()).collect();
    let read = || gpu().start_read(x.buffer()).unwrap();
    assert_eq!(read().wait().unwrap(), expected);

    let mut asked = read();
    let taken = (0..10_000).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        asked.try_take().unwrap()
    });
    assert_eq!(taken, Some(expected.clone()));
    assert_eq!(asked.try_take().unwrap(), None, "taken is taken");

    let mut awaited = pin!(read());
    let mut context = Context::from_waker(Waker::noop());
    let ready = (0..10_000).find_map(|_| match awaited.as_mut().poll(&mut context) {
        Poll::Ready(bytes) => Some(bytes.unwrap()),
        Poll::Pending => {
            std::thread::sleep(std::time::Duration::from_millis(1));
            None
        }
    });
    assert_eq!(ready, Some(expected));

    // What is written after a read was asked for is not what it gives.
    let early = read();
    x.write_f32(&[0.0; 3]).unwrap();
    assert_eq!(early.wait().unwrap()[..4], 2.5f32.to_le_bytes());
}

/// A store that goes past an end, as a broken kernel makes it: behind the library's back.
#[test]
fn a_store_outside_of_a_buffer_is_told_with_its_place_when_the_buffer_is_read() {
    // 20 bytes, of which a binding takes 32, with guard zones of 256 bytes around.
    for (at, wanted) in
        [(-256, true), (-4, true), (0, false), (16, false), (28, false), (32, true), (284, true)]
    {
        let gpu = own();
        let x = Tensor::full(&gpu, [5], 1.0).unwrap();
        gpu.flush().unwrap();
        let place = x.buffer().offset() as i64 + at;
        gpu.queue().write_buffer(x.buffer().raw(), place as u64, &2.0f32.to_le_bytes());
        match (x.read_f32(), wanted) {
            (Ok(values), false) => {
                assert_eq!(values.iter().filter(|&&v| v == 2.0).count(), usize::from(at < 20), "at {at}")
            }
            (Err(error), true) => {
                assert!(matches!(error, Error::Mismatch(_)), "{error:?}");
                let (text, place) = (error.to_string(), format!("at byte {at} of a buffer of 20 bytes"));
                assert!(text.contains(&place), "no \"{place}\" in: {text}");
            }
            (found, _) => panic!("at {at}: {found:?}"),
        }
        // What was told is of that buffer alone, and its memory serves again.
        drop(x);
        assert_eq!(Tensor::full(&gpu, [5], 3.0).unwrap().read_f32().unwrap(), [3.0; 5], "at {at}");
    }
}

#[test]
fn a_device_without_poison_has_no_guard_zones() {
    let gpu = Gpu::open_with(&GpuOptions::default()).unwrap();
    let x = Tensor::full(&gpu, [5], 1.0).unwrap();
    assert_eq!(x.buffer().offset(), 0);
    gpu.flush().unwrap();
    gpu.queue().write_buffer(x.buffer().raw(), 32, &[0; 4]);
    assert_eq!(x.read_f32().unwrap(), [1.0; 5]);
}

#[test]
fn what_a_shader_does_not_write_is_told_as_unwritten() {
    let gpu = own();
    let x = Tensor::from_f32(&gpu, [6], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let y = Tensor::empty(&gpu, [6], DType::F32).unwrap();
    // Its last invocation is missing.
    let text = "
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(5)
        fn main(@builtin(local_invocation_index) i: u32) { y[i] = 2.0 * x[i]; }";
    gpu.launch_source("five of six", text).bind(x.buffer()).bind(y.buffer()).groups([1, 1, 1]).unwrap();
    let (found, expected) = (y.read_f32().unwrap(), [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
    let error = compare("twice", &found, &expected, Bound::Equal).unwrap_err().to_string();
    for part in ["1 of 6 values", "value 5", "nothing was written there", "expected 1.2e1"] {
        assert!(error.contains(part), "no \"{part}\" in: {error}");
    }
    compare("the others", &found[..5], &expected[..5], Bound::Equal).unwrap();
}

#[test]
fn threads_that_read_at_once_all_get_their_answers() {
    // One thread's wait may be handed another's answer; each must still come home.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for i in 0..100 {
                    let value = (thread * 1000 + i) as f32;
                    let x = Tensor::full(&gpu(), [7], value).unwrap();
                    assert_eq!(x.read_f32().unwrap(), [value; 7]);
                }
            });
        }
    });
}

#[test]
fn tensors_of_two_devices_do_not_mix() {
    let [one, two] = [own(), own()];
    let [a, b] = [&one, &two].map(|gpu| Tensor::full(gpu, [4], 1.0).unwrap());
    let attempts = [
        binary(Binary::Add, &a, &b, 0.0).map(drop),
        binary(Binary::Add, &b, &a, 0.0).map(drop),
        one.copy(a.buffer(), b.buffer(), 0),
        one.copy(b.buffer(), a.buffer(), 0),
        one.write(b.buffer(), &[0; 16]),
        one.read(b.buffer()).map(drop),
    ];
    for (i, attempt) in attempts.into_iter().enumerate() {
        let error = attempt.unwrap_err().to_string();
        assert!(error.contains("lives on"), "attempt {i}: {error}");
    }
    assert_eq!(binary(Binary::Add, &a, &a, 0.0).unwrap().read_f32().unwrap(), [2.0; 4]);
}

#[test]
fn a_tensor_beyond_the_adapters_limit_is_refused_with_the_numbers() {
    let most = gpu().caps().max_binding_bytes;
    let Err(error) = gpu().alloc(most + 4) else { panic!("an allocation above the limit passed") };
    let text = error.to_string();
    let mib = format!("{:.1} MiB", (most as f64 / 104857.6).floor() / 10.0);
    assert!(text.contains(&mib) && text.contains(&gpu().caps().adapter.name), "{text}");
    assert!(matches!(error, Error::Memory { limit: MemoryLimit::Tensor(limit), .. } if limit == most));
    // And the device goes on.
    Tensor::full(&gpu(), [4], 1.0).unwrap().read_f32().unwrap();
}

#[test]
fn an_unknown_adapter_is_an_error_that_lists_those_there_are() {
    let options = GpuOptions { adapter: Some("no such adapter".into()), ..Default::default() };
    let Err(error) = Gpu::open_with(&options) else { panic!("an adapter of that name opened") };
    assert!(error.is_bad_input());
    let text = error.to_string();
    assert!(text.contains("no such adapter") && text.contains(&gpu().caps().adapter.name), "{text}");
    // A part of a name is enough, in any case.
    let part = gpu().caps().adapter.name.to_uppercase()[..4].to_string();
    Gpu::open_with(&GpuOptions { adapter: Some(part), ..Default::default() }).unwrap();
    // Its backend in front tells it from the same adapter through another one.
    let name = gpu().caps().adapter.full_name();
    let opened = Gpu::open_with(&GpuOptions { adapter: Some(name.clone()), ..Default::default() }).unwrap();
    assert_eq!(opened.caps().adapter.full_name(), name);
    let listed = pollster::block_on(simqat::gpu::adapters());
    assert!(listed.iter().any(|a| a.full_name() == name), "{name} is not in {listed:?}");
}

/// What a host would make. Without OpenGL, unless the environment asks for it: loading that driver on one thread while
/// others open devices is what a program of several threads should not do.
fn host_instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::PRIMARY);
    wgpu::Instance::new(descriptor)
}

#[test]
fn a_hosts_device_is_used_and_stays_the_hosts() {
    let instance = host_instance();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    // WebGPU's default limits and no feature at all: what the least host has.
    let (device, queue) =
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
    let gpu = Gpu::from_wgpu(device.clone(), queue.clone()).unwrap();
    assert_eq!(gpu.caps().subgroup_size, None);
    let x = Tensor::full(&gpu, [4], 1.0).unwrap();
    let y = work(&x.reshape([2, 2]).unwrap(), &x.reshape([2, 2]).unwrap()).unwrap();
    assert!(y.read_f32().unwrap().iter().all(|v| v.is_finite()));
    // The host goes on with its queue, and may look at tensors after a flush.
    gpu.flush().unwrap();
    queue.write_buffer(x.buffer().raw(), 0, &[0; 16]);
    assert_eq!(x.read_f32().unwrap(), [0.0; 4]);
    drop((x, y, gpu));
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
}

#[test]
fn a_hosts_device_that_is_too_small_is_refused_with_the_numbers() {
    let instance = host_instance();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let required_limits = wgpu::Limits {
        max_storage_buffers_per_shader_stage: 4,
        max_compute_invocations_per_workgroup: 128,
        max_compute_workgroup_size_x: 128,
        ..Default::default()
    };
    let descriptor = wgpu::DeviceDescriptor { required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
    let Err(error) = Gpu::from_wgpu(device, queue) else { panic!("too small a device was taken") };
    assert!(error.is_bad_input());
    let text = error.to_string();
    for part in ["max_storage_buffers_per_shader_stage = 4 where the kernels need 7", "= 128", "need 256"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn a_profile_counts_calls_and_changes_no_result() {
    let gpu = own();
    let x = Tensor::full(&gpu, [17, 59], 0.3).unwrap();
    let eager = work(&x, &x).unwrap().read_f32().unwrap();
    let (recording, replayed) = gpu.record(|| work(&x, &x)).unwrap();
    let (times, out) = gpu
        .profile(|| {
            for _ in 0..99 {
                work(&x, &x)?;
            }
            recording.replay()?;
            let copy = x.duplicate()?;
            work(&copy, &x)
        })
        .unwrap();
    let calls = |part: &str| times.iter().filter(|t| t.kernel.contains(part)).map(|t| t.calls).sum::<u64>();
    assert_eq!((calls("op=tanh"), calls("op=sigmoid"), calls("reduce/")), (101, 101, 101), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[0].total >= pair[1].total), "{times:?}");
    assert_eq!(out.read_f32().unwrap(), eager);
    assert_eq!(replayed.read_f32().unwrap(), eager);
    // What `work` returns comes out, and profiling ends with it.
    let failed = gpu.profile(|| -> Result<()> { Err(Error::Invalid("stop".into())) });
    assert_eq!(failed.unwrap_err().to_string(), "stop");
    assert_eq!(work(&x, &x).unwrap().read_f32().unwrap(), eager);
}

#[test]
fn shapes_go_through_the_launchers_without_a_driver() {
    let gpu = Gpu::noop();
    let x = Tensor::zeros(&gpu, [2, 3, 8, 8], DType::F32).unwrap();
    let (y, places) = max_forward(&x, &Window::square(2), true).unwrap();
    assert_eq!((y.shape()[..].to_vec(), places.dtype()), (vec![2, 3, 4, 4], DType::U32));
    let logits = reduce(Reduction::Mean, &y, 2..4).unwrap();
    assert_eq!(logits.shape()[..], [2, 3]);
    let labels = Tensor::from_u32(&gpu, [2], &[0, 1]).unwrap();
    let ce = loss::softmax_cross_entropy(&logits, &labels, 0.0).unwrap();
    assert_eq!(ce.gradient.shape()[..], [2, 3]);
    let state = quantize::RangeState {
        min: Tensor::full(&gpu, [2], -6.0).unwrap(),
        max: Tensor::full(&gpu, [2], 6.0).unwrap(),
        steps: Tensor::zeros(&gpu, [2], DType::U32).unwrap(),
    };
    let rule = quantize::GridRule {
        bits: 8,
        symmetric: true,
        narrow_range: true,
        observer: quantize::RangeObserver::LastBatch,
        delay: 0,
        freeze: NEVER,
    };
    let grids = quantize::lay_grid(&x, &state, &rule, quantize::Observation::Train).unwrap();
    assert_eq!(quantize::fake_quant(&x, &grids).unwrap().shape(), x.shape());
    let (recording, z) = gpu.record(|| work(&logits, &logits)).unwrap();
    recording.replay().unwrap();
    assert_eq!(z.read_f32().unwrap().len(), 6);
}

#[test]
fn a_device_is_asked_whether_it_takes_a_shader_and_goes_on() {
    let gpu = own();
    let shader = |text: &str| Shader::Host { name: "asked about".to_string(), text: text.to_string() };
    assert!(gpu.takes(&shader("@compute @workgroup_size(1) fn main() {}")));
    assert!(!gpu.takes(&shader("@compute @workgroup_size(1) fn main() { let x = 1u + 1.0; }")));
    assert!(!gpu.takes(&shader("@compute @workgroup_size(0) fn main() {}")));
    assert_eq!(gpu.kernel_names(), Vec::<String>::new(), "what was asked about is not kept");
    let x = Tensor::full(&gpu, [5], 1.0).unwrap();
    assert_eq!(affine(&x, 2.0, 0.0).unwrap().read_f32().unwrap(), [2.0; 5]);
}

#[test]
fn broadcast_kernels_are_refused_where_no_subgroup_has_their_lanes() {
    // With the least features there are no subgroups.
    let options = GpuOptions { kernels: KernelFamily::Broadcast, least: true, ..Default::default() };
    let Err(error) = Gpu::open_with(&options) else { panic!("broadcast kernels without subgroups") };
    assert!(error.is_bad_input() && error.to_string().contains("no lanes of a fixed number"), "{error}");
}
