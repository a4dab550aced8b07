// Setting scales where that is due, counting and rounding in one go, for weights [C, length] and short tensors [1, length]: a workgroup owns a
// channel. Otherwise as learned_sums and learned_apply.
//% include "quant/learned.wgsl"
//% include "quant/sum_lanes.wgsl"

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read_write> scales: array<f32>;
@group(0) @binding(2) var<storage, read_write> steps: array<u32>;
@group(0) @binding(3) var<storage, read_write> used: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<Value>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let channel = group.x;
  let base = channel * params.length;
  let counter = steps[channel];
  let old = scales[channel];
  let sets = sets_scale(counter, old);
  // Most steps set nothing and need no sum. All lanes run along to the join, which they do together.
  let summed = select(0u, params.length, sets);
  var total = Value(0.0);
  for (var k = lane; k < summed; k += lanes) { total += abs(x[base + k]); }
  let sum = joined_sum(lane, sum_of(total));
  let scale = select(old, scale_after(old, sum), sets);
  let step = select(in_use(scale), unset, passes_values(counter));
  for (var k = lane; k < params.length; k += lanes) { y[base + k] = stepped(x[base + k], step); }
  if (lane == 0u) {
    used[channel] = step;
    if (sets) { scales[channel] = scale; }
    if (params.mode != 0u) { steps[channel] = counted(counter, params.delay); }
  }
}
