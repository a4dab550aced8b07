// Observing, laying grids and rounding in one go, for weights [C, length] and short tensors [1, length]: a workgroup owns a channel, and a
// channel is read twice out of a near cache. Otherwise as observe, update_range and fake_quant one by one.
//% include "quant/range.wgsl"
//% include "quant/round.wgsl"

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> minimum: array<f32>;
@group(0) @binding(2) var<storage, read_write> maximum: array<f32>;
@group(0) @binding(3) var<storage, read_write> steps: array<u32>;
@group(0) @binding(4) var<storage, read_write> grids: array<Grid>;
@group(0) @binding(5) var<storage, read_write> y: array<Value>;
// length is in elements of x (four values each with `vectors`).
struct Params { length: u32, delay: u32, freeze: u32, rate: f32 }
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let channel = group.x;
  let base = channel * params.length;
  let counter = steps[channel];
  var range = vec2(minimum[channel], maximum[channel]);
//% if observe
  let moves = !stands_still(counter, params.freeze);
  // A range that stands still needs no look at the values. All lanes run along to the join, which they do together.
  let seen = select(0u, params.length, moves);
  // Lanes beyond the channel repeat its first value, which changes no minimum.
  var low = x[base + select(0u, lane, lane < params.length)];
  var high = low;
  for (var k = lane + lanes; k < seen; k += lanes) {
    let value = x[base + k];
    low = min(low, value);
    high = max(high, value);
  }
//% if vectors
  let own = vec2(min(min(low.x, low.y), min(low.z, low.w)), max(max(high.x, high.y), max(high.z, high.w)));
//% else
  let own = vec2(low, high);
//% endif
  let batch = joined(lane, own);
  if (moves) { range = followed(range, batch, counter, params.rate); }
//% endif
  range = balanced(range);
  var grid = grid_of(range.x, range.y);
//% if observe
  if (count_of(counter) < params.delay) { grid.action = passes; }
//% endif
  for (var k = lane; k < params.length; k += lanes) {
    y[base + k] = rounded(x[base + k], grid);
  }
  if (lane == 0u) {
//% if observe
    if (moves) {
      minimum[channel] = range.x;
      maximum[channel] = range.y;
    }
    steps[channel] = counted(counter, params.delay);
//% endif
    grids[channel] = grid;
  }
}
