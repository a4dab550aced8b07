// Moves each channel's observed range by this batch's, counts the step, and lays the grid. One workgroup for
// each channel. Without `observe` (evaluation, frozen observers) the range stays and only the grid is laid.
//% include "quant/grid.wgsl"
const size = 32u;

//% set first = 1 if observe else 0
//% if observe
@group(0) @binding(0) var<storage, read> pieces: array<vec2<f32>>;
//% endif
@group(0) @binding(/*{ first }*/) var<storage, read_write> minimum: array<f32>;
@group(0) @binding(/*{ first + 1 }*/) var<storage, read_write> maximum: array<f32>;
@group(0) @binding(/*{ first + 2 }*/) var<storage, read_write> steps: array<u32>;
@group(0) @binding(/*{ first + 3 }*/) var<storage, read_write> grids: array<Grid>;
struct Params { pieces: u32, delay: u32, momentum: f32 }
@group(0) @binding(/*{ first + 4 }*/) var<uniform> params: Params;

var<workgroup> lows: array<f32, size>;
var<workgroup> highs: array<f32, size>;

@compute @workgroup_size(size)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let channel = group.x;
//% if observe
  let base = channel * params.pieces;
  // Lanes beyond the pieces repeat the first, which changes no minimum.
  var range = pieces[base + select(0u, lane, lane < params.pieces)];
  for (var k = lane + size; k < params.pieces; k += size) {
    let piece = pieces[base + k];
    range = vec2(min(range.x, piece.x), max(range.y, piece.y));
  }
  lows[lane] = range.x;
  highs[lane] = range.y;
  for (var half = size / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      lows[lane] = min(lows[lane], lows[lane + half]);
      highs[lane] = max(highs[lane], highs[lane + half]);
    }
  }
//% endif
  if (lane == 0u) {
    var low = minimum[channel];
    var high = maximum[channel];
    let step = steps[channel];
//% if observe
//% if observer == "moving_average"
    // The first batch is taken whole.
    low = select(low + params.momentum * (lows[0] - low), lows[0], step == 0u);
    high = select(high + params.momentum * (highs[0] - high), highs[0], step == 0u);
//% else
    low = lows[0];
    high = highs[0];
//% endif
    low = min(low, 0.0);
    high = max(high, 0.0);
//% endif
//% if symmetric
    high = max(-low, high);
    low = -high;
//% endif
//% if observe
    minimum[channel] = low;
    maximum[channel] = high;
    steps[channel] = step + 1u;
//% endif
    var grid = grid_of(low, high);
//% if observe
    if (step < params.delay) { grid.action = passes; }
//% endif
    grids[channel] = grid;
  }
}
