// Sums of magnitudes of a tensor with one scale, in pieces, where its scale is to be set; in all other steps there is nothing to do. `learned_apply`
// joins the pieces. It changes the state while all its workgroups run, so what they must know of the state is written here.
//% include "quant/learned.wgsl"
//% include "quant/sum_lanes.wgsl"

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> scales: array<f32>;
@group(0) @binding(2) var<storage, read> steps: array<u32>;
// The scale before the step, whether it is to be set, whether values pass, and the sums.
@group(0) @binding(3) var<storage, read_write> facts: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  let counter = steps[0];
  let scale = scales[0];
  let sets = sets_scale(counter, scale);
  if ((group.x == 0u) & (lane == 0u)) {
    facts[0] = scale;
    facts[1] = f32(sets);
    facts[2] = f32(passes_values(counter));
  }
  if (!sets) { return; }
  var total = Value(0.0);
  // Neighbours take neighbouring elements, so that loads coalesce.
  for (var k = group.x * lanes + lane; k < params.length; k += params.pieces * lanes) { total += abs(x[k]); }
  let sum = joined_sum(lane, sum_of(total));
  if (lane == 0u) { facts[3u + group.x] = sum; }
}
