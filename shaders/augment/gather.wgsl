// Makes a batch from a data set that lies on the device as bytes: picks the images of this step, resizes them
// bilinearly (half-pixel centres, edges repeated) and normalizes, (value / 255 - mean) / deviation.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> pixels: array<u32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
// progress[0]: which batch of the epoch.
@group(0) @binding(2) var<storage, read> progress: array<u32>;
@group(0) @binding(3) var<storage, read> normalization: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> batch: array<f32>;
struct Params { rows: u32, batch: u32, channels: u32, height: u32, width: u32, out_height: u32, out_width: u32 }
@group(0) @binding(5) var<uniform> params: Params;

fn pixel(at: u32) -> f32 {
  return f32((pixels[at / 4u] >> (8u * (at % 4u))) & 255u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  let area = params.out_height * params.out_width;
  if (i >= params.rows * params.channels * area) { return; }
  let row = i / (params.channels * area);
  let channel = i / area % params.channels;
  let image = order[progress[0] * params.batch + row];
  let base = (image * params.channels + channel) * params.height * params.width;
  let y = i % area / params.out_width;
  let x = i % params.out_width;
//% if resize
  let scale = vec2(f32(params.height), f32(params.width)) / vec2(f32(params.out_height), f32(params.out_width));
  let place = max((vec2(f32(y), f32(x)) + 0.5) * scale - 0.5, vec2(0.0));
  let near = vec2<u32>(place);
  let far = min(near + 1u, vec2(params.height - 1u, params.width - 1u));
  let weight = place - vec2<f32>(near);
  let upper = mix(pixel(base + near.x * params.width + near.y), pixel(base + near.x * params.width + far.y), weight.y);
  let lower = mix(pixel(base + far.x * params.width + near.y), pixel(base + far.x * params.width + far.y), weight.y);
  let value = mix(upper, lower, weight.x);
//% else
  let value = pixel(base + y * params.width + x);
//% endif
  let norm = normalization[channel];
  batch[i] = (value / 255.0 - norm.x) / norm.y;
}
