//! Kernels of hosts with mistakes in them: told by the call that starts them, and the device goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use simqat::gpu::{Gpu, GpuOptions};
use simqat::kernel::elementwise::{Unary, unary};
use simqat::tensor::{DType, Tensor};
use simqat::{Error, Result, wgpu};

const SCALE: &str = "
struct Params { factor: f32, count: u32 }
@group(0) @binding(0) var<storage, read> given: array<f32>;
@group(0) @binding(1) var<storage, read_write> to: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < params.count) { to[id.x] = params.factor * given[id.x]; }
}
";

fn open() -> Gpu {
    Gpu::open_with(&GpuOptions { checked: true, poison: true, ..Default::default() }).unwrap()
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    factor: f32,
    count: u32,
}

fn scale(gpu: &Gpu, text: &str) -> Result<Vec<f32>> {
    let x = Tensor::from_f32(gpu, [5], &[1.0, 2.0, 3.0, 4.0, 5.0])?;
    let y = Tensor::full(gpu, [5], 0.0)?;
    let params = Params { factor: 3.0, count: 5 };
    let launch = gpu.launch_source("scale", text).bind(x.buffer()).bind(y.buffer());
    launch.params(&params).groups([1, 1, 1])?;
    y.read_f32()
}

#[track_caller]
fn wrong<T>(outcome: Result<T>, at: Option<u32>, words: &str) {
    match outcome {
        Err(error @ Error::Shader { .. }) => {
            let text = error.to_string();
            let Error::Shader { line, .. } = error else { unreachable!() };
            assert!(line == at && text.contains(words) && !text.contains('\n'), "line {line:?}: {text}");
        }
        Err(error) => panic!("another error: {error:?}"),
        Ok(_) => panic!("no error: {words}"),
    }
}

#[test]
fn what_a_text_gets_wrong_is_told_at_once_with_its_line() {
    let gpu = open();
    for (sound, broken, line, words) in [
        ("params.factor * given", "params.factor * / given", 8, "expected"),
        ("params.factor * given", "params.factor * nothing", 8, "nothing"),
        ("to[id.x] = params.factor", "to[id.x] = params.count", 8, ""),
        ("given[id.x]", "f32(to)", 8, ""),
        ("to[id.x] =", "given[id.x] =", 8, ""),
        ("@workgroup_size(8)", "@workgroup_size(100000)", 0, ""),
        ("fn main", "fn start", 0, "start"),
        ("@group(0) @binding(1)", "@group(3) @binding(1)", 4, "group 3"),
        ("@binding(2)", "@binding(9)", 5, "binding 9"),
        ("array<f32>;\n@group(0) @binding(2)", "array<f32>;\n@group(0) @binding(1)", 5, "second binding 1"),
    ] {
        assert!(SCALE.contains(sound), "{sound}");
        let line = (line > 0).then_some(line);
        wrong(scale(&gpu, &SCALE.replacen(sound, broken, 1)), line, words);
        // The device and its other work know nothing of it.
        assert_eq!(scale(&gpu, SCALE).unwrap(), [3.0, 6.0, 9.0, 12.0, 15.0]);
    }
}

#[test]
fn bindings_are_found_wherever_they_stand_in_the_text() {
    let gpu = open();
    for text in [
        SCALE.replace(";\n@group", "; @group"),
        SCALE.replace(" var<", "\n  var\n <"),
        SCALE.replace("@group(0) @binding(1)", "@binding( 1 )\n@group(0)"),
        SCALE.replace(
            "@group(0) @binding(2)",
            "/* @group(0) @binding(2) var<storage> no: u32; */ @group(0) @binding(2)",
        ),
    ] {
        assert_ne!(text, SCALE);
        assert_eq!(scale(&gpu, &text).unwrap(), [3.0, 6.0, 9.0, 12.0, 15.0], "{text}");
    }
}

#[test]
fn what_is_bound_is_held_against_the_text() {
    let gpu = open();
    let x = Tensor::full(&gpu, [5], 1.0).unwrap();
    let y = Tensor::empty(&gpu, [5], DType::F32).unwrap();
    let params = Params { factor: 3.0, count: 5 };
    let launch = || gpu.launch_source("scale", SCALE);
    let one = [1, 1, 1];
    wrong(
        launch().bind(x.buffer()).params(&params).groups(one),
        None,
        "2 buffers (given, to), and 1 were bound",
    );
    let three = launch().bind(x.buffer()).bind(y.buffer()).bind(x.buffer());
    wrong(three.params(&params).groups(one), None, "3 were bound");
    wrong(launch().bind(x.buffer()).bind(y.buffer()).groups(one), None, "8 bytes, and 0 were given");
    wrong(launch().bind(x.buffer()).bind(y.buffer()).params(&1u32).groups(one), None, "8 bytes, and 4");
    wrong(launch().bind(x.buffer()).bind(x.buffer()).params(&params).groups(one), None, "one buffer");
    let block = SCALE.replace("to: array<f32>", "to: array<f32, 64>");
    wrong(scale(&gpu, &block), None, "`to` has 256 bytes at least, and a buffer of 20 bytes was bound");
    let without = SCALE.replace("params.factor", "2.0").replace("params.count", "5u");
    let without = without.replace("@group(0) @binding(2) var<uniform> params: Params;", "");
    wrong(scale(&gpu, &without), None, "no parameters, and 8 bytes");
    // Work in pieces of a recording is refused while it is recorded.
    let recorded = gpu.record(|| launch().bind(x.buffer()).groups(one));
    wrong(recorded, None, "were bound");
    assert_eq!(unary(Unary::Affine, &x, 2.0, 1.0).unwrap().read_f32().unwrap(), [3.0; 5]);
}

#[test]
fn a_hosts_device_and_its_handler_hear_nothing_of_it() {
    let heard = Arc::new(AtomicUsize::new(0));
    let gpu = Gpu::noop();
    // With no handler at all, wgpu would end the process here.
    wrong(scale(&gpu, "fn main() {"), Some(1), "");
    let count = heard.clone();
    gpu.device().on_uncaptured_error(Arc::new(move |_: wgpu::Error| {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    wrong(scale(&gpu, &SCALE.replace("= params.factor", "= params.count")), Some(8), "");
    scale(&gpu, SCALE).unwrap();
    assert_eq!(heard.load(Ordering::Relaxed), 0);
}
