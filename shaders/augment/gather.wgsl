// Makes a batch from a data set that lies on the device as bytes: picks the images of this step, resizes them
// bilinearly (half-pixel centres, edges repeated) and normalizes, (value / 255 - mean) / deviation. An invocation
// makes /*{ unroll }*/ neighbours of a row, which share their image and their rows; the labels come along.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> pixels: array<u32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
// progress[0]: which batch of the epoch.
@group(0) @binding(2) var<storage, read> progress: array<u32>;
@group(0) @binding(3) var<storage, read> normalization: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read> classes: array<u32>;
@group(0) @binding(5) var<storage, read_write> batch: array<f32>;
@group(0) @binding(6) var<storage, read_write> labels: array<u32>;
struct Params { rows: u32, batch: u32, count: u32 }
@group(0) @binding(7) var<uniform> params: Params;

// Which image comes at a place of the batch; held inside the data, whatever turn is asked for.
fn image_at(row: u32) -> u32 {
  let last = params.count - 1u;
  return min(order[min(progress[0] * params.batch + row, last)], last);
}

// Constants, since divisions by numbers known in advance are cheap.
const channels = /*{ channels }*/u;
const height = /*{ height }*/u;
const width = /*{ width }*/u;
const out_width = /*{ out_width }*/u;
const strips = /*{ out_width // unroll }*/u;
const out_height = /*{ out_height }*/u;

fn pixel(at: u32) -> f32 {
  return f32((pixels[at / 4u] >> (8u * (at % 4u))) & 255u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.rows * channels * out_height * strips) { return; }
  // The first invocations, at least as many as images, also take the labels.
  if (i < params.rows) { labels[i] = classes[image_at(i)]; }
  let y = i / strips % out_height;
  let plane = i / (strips * out_height);
  let channel = plane % channels;
  let image = image_at(plane / channels);
  let base = (image * channels + channel) * (height * width);
  let norm = normalization[channel];
  let out = (plane * out_height + y) * out_width + i % strips * /*{ unroll }*/u;
//% if resize
  const scale = vec2(f32(height) / f32(out_height), f32(width) / f32(out_width));
  let down = max((f32(y) + 0.5) * scale.x - 0.5, 0.0);
  let upper = u32(down);
  let lower = min(upper + 1u, height - 1u);
  let share = down - f32(upper);
//% endif
//% for u in range(unroll)
  {
    let x = i % strips * /*{ unroll }*/u + /*{ u }*/u;
//% if resize
    let along = max((f32(x) + 0.5) * scale.y - 0.5, 0.0);
    let left = u32(along);
    let right = min(left + 1u, width - 1u);
    let part = along - f32(left);
    let above = mix(pixel(base + upper * width + left), pixel(base + upper * width + right), part);
    let below = mix(pixel(base + lower * width + left), pixel(base + lower * width + right), part);
    let value = mix(above, below, share);
//% else
    let value = pixel(base + y * width + x);
//% endif
    batch[out + /*{ u }*/u] = (value / 255.0 - norm.x) / norm.y;
  }
//% endfor
}
