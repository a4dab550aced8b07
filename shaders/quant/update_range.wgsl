// Moves each channel's observed range by this batch's unless it stands still, counts the step, and lays the grid.
// One workgroup for each channel. Without `observe` (evaluation) the range stays and only the grid is laid.
//% include "quant/range.wgsl"

//% set first = 1 if observe else 0
//% if observe
@group(0) @binding(0) var<storage, read> pieces: array<vec2<f32>>;
//% endif
@group(0) @binding(/*{ first }*/) var<storage, read_write> minimum: array<f32>;
@group(0) @binding(/*{ first + 1 }*/) var<storage, read_write> maximum: array<f32>;
@group(0) @binding(/*{ first + 2 }*/) var<storage, read_write> steps: array<u32>;
@group(0) @binding(/*{ first + 3 }*/) var<storage, read_write> grids: array<Grid>;
struct Params { pieces: u32, delay: u32, freeze: u32, rate: f32 }
@group(0) @binding(/*{ first + 4 }*/) var<uniform> params: Params;

@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let channel = group.x;
//% if observe
  let base = channel * params.pieces;
  // Lanes beyond the pieces repeat the first, which changes no minimum.
  var seen = pieces[base + select(0u, lane, lane < params.pieces)];
  for (var k = lane + lanes; k < params.pieces; k += lanes) {
    let piece = pieces[base + k];
    seen = vec2(min(seen.x, piece.x), max(seen.y, piece.y));
  }
  seen = joined(lane, seen);
//% endif
  if (lane == 0u) {
    var range = vec2(minimum[channel], maximum[channel]);
    let counter = steps[channel];
//% if observe
    let moves = !stands_still(counter, params.freeze);
    if (moves) { range = followed(range, seen, counter, params.rate); }
//% endif
    range = balanced(range);
    var grid = grid_of(range.x, range.y);
//% if observe
    if (moves) {
      minimum[channel] = range.x;
      maximum[channel] = range.y;
    }
    steps[channel] = counted(counter, params.delay);
    if (count_of(counter) < params.delay) { grid.action = passes; }
//% endif
    grids[channel] = grid;
  }
}
