// Weights [channels, length] times gamma / s, s = sqrt(running variance + epsilon): what stands in a convolution that
// a normalization was folded into. With `training`, in the form that divides by the factor again. A workgroup owns a
// channel. Keeps the factor and its slope by gamma for the gradient.
//% include "common/counter.wgsl"
//% include "norm/value.wgsl"
//% include "norm/ratio.wgsl"
const lanes = /*{ lanes }*/u;

//% set output = 4 if training else 3
@group(0) @binding(0) var<storage, read> w: array<Value>;
@group(0) @binding(1) var<storage, read> gammas: array<f32>;
@group(0) @binding(2) var<storage, read> running_variance: array<f32>;
//% if training
@group(0) @binding(3) var<storage, read> steps: array<u32>;
//% endif
@group(0) @binding(/*{ output }*/) var<storage, read_write> folded: array<Value>;
@group(0) @binding(/*{ output + 1 }*/) var<storage, read_write> factors: array<vec2<f32>>;
// length is in elements of w (four values each with `vectors`).
struct Params { channels: u32, length: u32, freeze: u32, epsilon: f32 }
@group(0) @binding(/*{ output + 2 }*/) var<uniform> params: Params;

@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32,
        @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let channel = group.y * groups.x + group.x;
  // Folding may add workgroups behind the last channel.
  if (channel >= params.channels) { return; }
  let gamma = gammas[channel];
  let deviation = sqrt(running_variance[channel] + params.epsilon);
  var ratio = Ratio(gamma / deviation, 1.0);
//% if training
  // Where the statistics stand still, nothing divides by the factor.
  if (!stands_still(steps[channel], params.freeze)) { ratio = training_ratio(gamma, deviation); }
//% endif
  let base = channel * params.length;
  for (var k = lane; k < params.length; k += lanes) { folded[base + k] = w[base + k] * ratio.factor; }
  if (lane == 0u) { factors[channel] = vec2(ratio.factor, ratio.follows / deviation); }
}
