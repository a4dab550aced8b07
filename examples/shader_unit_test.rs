//! A unit test of one WGSL function: run it over chosen inputs on the adapter and compare with plain Rust. Here
//! the function is the library's own `grid_of`, which lays a quantization grid over a range.
//!
//! `cargo run --example shader_unit_test`

use simqat::gpu::{Gpu, GpuOptions};
use simqat::shader::{ShaderSpec, render};
use simqat::tensor::Tensor;

/// Calls the function for each pair and stores what it returns.
const HARNESS: &str = "
@group(0) @binding(0) var<storage, read> ranges: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> results: array<vec4<f32>>;

@compute @workgroup_size(1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let grid = grid_of(ranges[id.x].x, ranges[id.x].y);
  results[id.x] = vec4(grid.lo, grid.hi, grid.scale, grid.action);
}
";

fn main() -> simqat::Result<()> {
    // Checked keeps bounds checks in the shader; poison fills the output with NaN, so that a value which nobody
    // wrote is seen.
    let gpu = Gpu::open_with(&GpuOptions { checked: true, poison: true, ..GpuOptions::default() })?;
    let spec = ShaderSpec::new("quant/grid.wgsl").with("bits", 8u32).with("narrow_range", false);
    let source = render(&spec)? + HARNESS;

    let ranges: [[f32; 2]; 3] = [[-6.0, 6.0], [-10.0, 53.75], [-0.1, 63.65]];
    let inputs = Tensor::from_f32(&gpu, [3, 2], ranges.as_flattened())?;
    let outputs = Tensor::full(&gpu, [3, 4], f32::NAN)?;
    gpu.launch_source("grid_of", &source).bind(inputs.buffer()).bind(outputs.buffer()).groups([
        ranges.len() as u32,
        1,
        1,
    ])?;

    for (range, grid) in ranges.iter().zip(outputs.read_f32()?.chunks_exact(4)) {
        let expected = by_hand(*range);
        assert_eq!(&grid[..3], &expected, "grid of {range:?}");
        println!("{range:?} -> from {} to {} in steps of {}", grid[0], grid[1], grid[2]);
    }
    println!("the shader and plain Rust agree to the bit");
    Ok(())
}

/// Jacob et al. 2018, section 3, in f32: [lo, hi, scale] for 8 bits.
fn by_hand([low, high]: [f32; 2]) -> [f32; 3] {
    let scale = (high - low) / 255.0;
    // Half up, in f64, where adding a half is exact.
    let zero_point = (f64::from(0.0 - low / scale) + 0.5).floor().clamp(0.0, 255.0) as f32;
    [(0.0 - zero_point) * scale, (255.0 - zero_point) * scale, scale]
}
