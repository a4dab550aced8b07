// Gradients of `fold_weight`: w_grad = folded_grad * factor with `weight`, and gamma_grad = sum of folded_grad * w over the channel times the
// factor's slope with `gamma`. A workgroup owns a channel of [channels, length].
//% include "norm/value.wgsl"
//% include "norm/lanes.wgsl"

//% set factors = 2 if gamma else 1
@group(0) @binding(0) var<storage, read> folded_grad: array<Value>;
//% if gamma
@group(0) @binding(1) var<storage, read> w: array<Value>;
//% endif
@group(0) @binding(/*{ factors }*/) var<storage, read> factors: array<vec2<f32>>;
//% if weight
@group(0) @binding(/*{ factors + 1 }*/) var<storage, read_write> w_grad: array<Value>;
//% endif
//% if gamma
@group(0) @binding(/*{ factors + (2 if weight else 1) }*/) var<storage, read_write> gamma_grad: array<f32>;
//% endif
// length is in elements of w (four values each with `vectors`).
struct Params { channels: u32, length: u32 }
@group(0) @binding(/*{ factors + 1 + (1 if weight else 0) + (1 if gamma else 0) }*/) var<uniform> params: Params;

@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32,
        @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let channel = group.y * groups.x + group.x;
  // Folding may add workgroups behind the last channel.
  if (channel >= params.channels) { return; }
  let factor = factors[channel];
  let base = channel * params.length;
//% if gamma
  var sum = Value(0.0);
//% endif
  for (var k = lane; k < params.length; k += lanes) {
    let gradient = folded_grad[base + k];
//% if weight
    w_grad[base + k] = gradient * factor.x;
//% endif
//% if gamma
    sum = fma(gradient, w[base + k], sum);
//% endif
  }
//% if gamma
  let whole = total(lane, vec2(summed(sum), 0.0)).x;
  if (lane == 0u) { gamma_grad[channel] = whole * factor.y; }
//% endif
}
