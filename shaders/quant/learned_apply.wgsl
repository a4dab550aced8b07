// Rounds a tensor with one scale. With `observe`, the step is counted, and the scale set where `learned_sums` says so.
//% include "common/index.wgsl"
//% include "quant/learned.wgsl"

@group(0) @binding(0) var<storage, read> x: array<Value>;
//% if observe
@group(0) @binding(1) var<storage, read> facts: array<f32>;
@group(0) @binding(2) var<storage, read_write> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> steps: array<u32>;
@group(0) @binding(4) var<storage, read_write> used: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<Value>;
@group(0) @binding(6) var<uniform> params: Params;
//% else
@group(0) @binding(1) var<storage, read> scales: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<Value>;
@group(0) @binding(3) var<uniform> params: Params;
//% endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let first = linear_index(id, groups, 64u);
//% if observe
  var scale = facts[0];
  if (facts[1] != 0.0) {
    // Once in a training, so every invocation may add up the few sums for itself: that needs no barrier and no dispatch.
    var sum = facts[3];
    for (var piece = 1u; piece < params.pieces; piece++) { sum += facts[3u + piece]; }
    scale = scale_after(scale, sum);
  }
  let step = select(in_use(scale), unset, facts[2] != 0.0);
  if (first == 0u) {
    used[0] = step;
    if (facts[1] != 0.0) { scales[0] = scale; }
    steps[0] = counted(steps[0], params.delay);
  }
//% else
  let step = in_use(scales[0]);
//% endif
  // The last workgroup reaches into what the first invocations take on their second turn.
  if (first >= params.stride) { return; }
//% for u in range(unroll)
  {
    let i = first + /*{ u }*/u * params.stride;
    if (i < params.length) { y[i] = stepped(x[i], step); }
  }
//% endfor
}
