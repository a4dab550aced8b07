// Makes a batch from a data set that lies on the device as bytes: picks the images of this step, takes the part of each
// that its view says, mirrors it, resizes it bilinearly (half-pixel centres, edges repeated; smaller ones antialiased)
// and normalizes: (value - norm.x) * norm.y, which nothing can fuse. An invocation makes /*{ unroll }*/ neighbours of a row,
// which share their image and their rows; the labels come along.
//% include "common/index.wgsl"

// The images up to params.first, and those from there on: one binding may be too small for all.
@group(0) @binding(0) var<storage, read> pixels: array<u32>;
@group(0) @binding(1) var<storage, read> more: array<u32>;
// For each place of the epoch: image, first row and column of the part that is taken, and twice the label, plus 1 where
// the image is mirrored.
@group(0) @binding(2) var<storage, read> order: array<vec4<i32>>;
// progress[0]: which batch of the epoch.
@group(0) @binding(3) var<storage, read> progress: array<u32>;
@group(0) @binding(4) var<storage, read> normalization: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> batch: array<f32>;
@group(0) @binding(6) var<storage, read_write> labels: array<u32>;
struct Params { rows: u32, batch: u32, count: u32, first: u32 }
@group(0) @binding(7) var<uniform> params: Params;

// Which image comes at a place of the batch, and its view; held inside the data, whatever turn is asked for.
fn turn_of(row: u32) -> vec4<i32> {
  let last = params.count - 1u;
  var turn = order[min(progress[0] * params.batch + row, last)];
  turn.x = i32(min(u32(turn.x), last));
  return turn;
}

// Constants, since divisions by numbers known in advance are cheap.
const channels = /*{ channels }*/u;
const height = /*{ height }*/u;
const width = /*{ width }*/u;
const part_height = /*{ part_height }*/u;
const part_width = /*{ part_width }*/u;
const out_width = /*{ out_width }*/u;
const strips = /*{ out_width // unroll }*/u;
const out_height = /*{ out_height }*/u;

// A value of the part that is taken; black where it reaches over the image's edge.
fn value_at(is_more: bool, plane: u32, turn: vec4<i32>, y: u32, x: u32) -> f32 {
//% if placed
  let row = i32(y) + turn.y;
  let column = i32(x) + turn.z;
  // A negative place is a large number without its sign.
  if ((u32(row) >= height) | (u32(column) >= width)) { return 0.0; }
  let at = plane + u32(row) * width + u32(column);
//% else
  let at = plane + y * width + x;
//% endif
  var word: u32;
  if (is_more) { word = more[at / 4u]; } else { word = pixels[at / 4u]; }
  return f32((word >> (8u * (at % 4u))) & 255u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.rows * channels * out_height * strips) { return; }
  // The first invocations, at least as many as images, also take the labels.
  if (i < params.rows) { labels[i] = u32(turn_of(i).w) >> 1u; }
  let y = i / strips % out_height;
  let plane = i / (strips * out_height);
  let channel = plane % channels;
  let turn = turn_of(plane / channels);
  let is_more = u32(turn.x) >= params.first;
  let base = ((u32(turn.x) - select(0u, params.first, is_more)) * channels + channel) * (height * width);
  let norm = normalization[channel];
  let out = (plane * out_height + y) * out_width + i % strips * /*{ unroll }*/u;
//% if resize
  const scale = vec2(f32(part_height) / f32(out_height), f32(part_width) / f32(out_width));
//% if smaller
  // A triangle as wide as two steps of the coarser grid, over the values that there are, its weights made to sum to 1.
  const reach = max(scale, vec2(1.0));
  let middle = (f32(y) + 0.5) * scale.x;
  let top = u32(max(middle - reach.x + 0.5, 0.0));
  let bottom = min(u32(middle + reach.x + 0.5), part_height);
//% else
  let down = max((f32(y) + 0.5) * scale.x - 0.5, 0.0);
  let upper = u32(down);
  let lower = min(upper + 1u, part_height - 1u);
  let share = down - f32(upper);
//% endif
//% endif
//% for u in range(unroll)
  {
    let x_out = i % strips * /*{ unroll }*/u + /*{ u }*/u;
//% if placed
    let x = select(x_out, out_width - 1u - x_out, (turn.w & 1) == 1);
//% else
    let x = x_out;
//% endif
//% if resize and smaller
    let centre = (f32(x) + 0.5) * scale.y;
    let left = u32(max(centre - reach.y + 0.5, 0.0));
    let right = min(u32(centre + reach.y + 0.5), part_width);
    var sum = vec2(0.0);
    for (var row = top; row < bottom; row++) {
      let down = max(1.0 - abs(f32(row) + 0.5 - middle) / reach.x, 0.0);
      var line = vec2(0.0);
      for (var column = left; column < right; column++) {
        let across = max(1.0 - abs(f32(column) + 0.5 - centre) / reach.y, 0.0);
        line += across * vec2(value_at(is_more, base, turn, row, column), 1.0);
      }
      sum += down * line;
    }
    let value = sum.x / sum.y;
//% elif resize
    let along = max((f32(x) + 0.5) * scale.y - 0.5, 0.0);
    let left = u32(along);
    let right = min(left + 1u, part_width - 1u);
    let part = along - f32(left);
    let above = mix(value_at(is_more, base, turn, upper, left), value_at(is_more, base, turn, upper, right), part);
    let below = mix(value_at(is_more, base, turn, lower, left), value_at(is_more, base, turn, lower, right), part);
    let value = mix(above, below, share);
//% else
    let value = value_at(is_more, base, turn, y, x);
//% endif
    batch[out + /*{ u }*/u] = (value - norm.x) * norm.y;
  }
//% endfor
}
