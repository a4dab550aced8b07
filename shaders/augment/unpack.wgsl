// Makes a batch from pictures that the host has decoded, cut and resized: bytes of [rows, H, W, C] become values of
// [rows, C, H, W], mirrored where that is asked for, and normalized as in gather.wgsl, to the same bits. An invocation takes
// /*{ unroll }*/ neighbours of a row in all channels.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> bytes: array<u32>;
// For each row of the batch: its label, and 1 where it is mirrored.
@group(0) @binding(1) var<storage, read> turns: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> normalization: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> batch: array</*{ "vec4<f32>" if unroll == 4 else "f32" }*/>;
@group(0) @binding(4) var<storage, read_write> labels: array<u32>;
struct Params { rows: u32 }
@group(0) @binding(5) var<uniform> params: Params;

const height = /*{ height }*/u;
const strips = /*{ width // unroll }*/u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.rows * height * strips) { return; }
  let strip = i % strips;
  let line = i / strips;
  let y = line % height;
  let row = line / height;
  let turn = turns[row];
  let mirrored = turn.y == 1u;
  if ((y == 0u) & (strip == 0u)) { labels[row] = turn.x; }
  let source = line * strips + select(strip, strips - 1u - strip, mirrored);
  let plane = row * /*{ channels }*/u * height + y;
//% if unroll == 4
//% for word in range(channels)
  let word/*{ word }*/ = bytes[source * /*{ channels }*/u + /*{ word }*/u];
//% endfor
//% for c in range(channels)
  {
    let four = vec4(
//% for pixel in range(4)
      word/*{ (pixel * channels + c) // 4 }*/ >> /*{ 8 * ((pixel * channels + c) % 4) }*/u,
//% endfor
    );
    let values = vec4<f32>(four & vec4(255u));
    let norm = normalization[/*{ c }*/];
    batch[(plane + /*{ c }*/u * height) * strips + strip] =
      (select(values, values.wzyx, mirrored) - norm.x) * norm.y;
  }
//% endfor
//% else
//% for c in range(channels)
  {
    let at = source * /*{ channels }*/u + /*{ c }*/u;
    let value = f32((bytes[at / 4u] >> (8u * (at % 4u))) & 255u);
    let norm = normalization[/*{ c }*/];
    batch[(plane + /*{ c }*/u * height) * strips + strip] = (value - norm.x) * norm.y;
  }
//% endfor
//% endif
}
