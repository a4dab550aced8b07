// Both gradients of learned step size quantization in one pass over x [C, length]: that of x, which passes strictly between the ends, and the slopes
// of the scales (equation 3 of the paper) times y_grad, added up in pieces: [C, pieces].
//% include "quant/learned.wgsl"
//% include "quant/sum_lanes.wgsl"

//% set next = 4 if input else 3
@group(0) @binding(0) var<storage, read> y_grad: array<Value>;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> used: array<f32>;
//% if input
@group(0) @binding(3) var<storage, read_write> x_grad: array<Value>;
//% endif
@group(0) @binding(/*{ next }*/) var<storage, read_write> sums: array<f32>;
@group(0) @binding(/*{ next + 1 }*/) var<uniform> params: Params;

// Half the distance from a code to the f32 beside it towards zero: from there on, f32 rounds quotients to the code.
fn half_gap(code: f32) -> f32 {
  let size = abs(code);
  return 0.5 * (size - bitcast<f32>(max(bitcast<u32>(size), 1u) - 1u));
}

// Workgroups: x = pieces, y = channel.
@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let base = group.y * params.length;
  let step = in_use(used[group.y]);
  let passes = step == unset;
  let divisor = select(step, 1.0, passes);
  var total = Value(0.0);
  // Neighbours take neighbouring elements, so that loads coalesce.
  for (var k = group.x * lanes + lane; k < params.length; k += params.pieces * lanes) {
    let gradient = y_grad[base + k];
    let value = x[base + k];
    let below = beyond(value, Value(params.lowest), divisor) <= Value(divisor * half_gap(params.lowest));
    let above = beyond(value, Value(params.highest), divisor) >= Value(-divisor * half_gap(params.highest));
    // Only the quotient's last bits differ by adapter; which code it is from does not.
    let inside = nearest(value, divisor) - value / divisor;
    let slope = select(select(inside, Value(params.lowest), below), Value(params.highest), above);
    total += gradient * slope;
//% if input
    x_grad[base + k] = select(select(gradient, Value(0.0), below | above), gradient, passes);
//% endif
  }
  let sum = joined_sum(lane, sum_of(total));
  // Values that pass tell nothing about a step.
  if (lane == 0u) { sums[group.y * params.pieces + group.x] = select(sum * params.factor, 0.0, passes); }
}
