// The gradients of each channel's gamma, beta and bias, and the slope and offset of its values' gradient. A workgroup
// owns a channel and sums its gradient, or joins the pieces of the sums; without either (nobody wants the parameters'
// gradients, and the statistics are given numbers) an invocation owns a channel.
//% include "norm/rule.wgsl"
//% include "norm/share.wgsl"
//% if source == "none"
//% include "common/index.wgsl"
//% endif
//% if source != "none"
//% include "norm/lanes.wgsl"
//% endif
//% if source == "values"
//% include "norm/value.wgsl"
//% include "norm/part.wgsl"
//% include "norm/affine.wgsl"
//% include "norm/sums.wgsl"
//% endif

//% set first = {"values": 2, "pieces": 1, "none": 0}[source]
//% set output = first + (2 if relu else 1)
//% set shares = output + {"values": 2, "pieces": 2, "none": 0}[source] + (1 if bias else 0)
//% if source == "values"
@group(0) @binding(0) var<storage, read> y_grad: array<Value>;
@group(0) @binding(1) var<storage, read> x: array<Value>;
//% elif source == "pieces"
@group(0) @binding(0) var<storage, read> pieces: array<vec2<f32>>;
//% endif
@group(0) @binding(/*{ first }*/) var<storage, read> rules: array<StoredRule>;
//% if relu
@group(0) @binding(/*{ first + 1 }*/) var<storage, read> betas: array<f32>;
//% endif
//% if source != "none"
@group(0) @binding(/*{ output }*/) var<storage, read_write> gamma_grad: array<f32>;
@group(0) @binding(/*{ output + 1 }*/) var<storage, read_write> beta_grad: array<f32>;
//% endif
//% if bias
@group(0) @binding(/*{ output + 2 }*/) var<storage, read_write> bias_grad: array<f32>;
//% endif
@group(0) @binding(/*{ shares }*/) var<storage, read_write> shares: array<Share>;
struct Params { rows: u32, channels: u32, plane: u32, pieces: u32 }
@group(0) @binding(/*{ shares + 1 }*/) var<uniform> params: Params;

//% if source == "none"
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let channel = linear_index(id, groups, 64u);
  if (channel >= params.channels) { return; }
  let rule = rules[channel];
  let beta = /*{ "betas[channel]" if relu else "0.0" }*/;
  shares[channel] = share_of(rule.forward, beta, vec2(0.0));
}
//% else
@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32,
        @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let channel = group.y * groups.x + group.x;
  // Folding may add workgroups behind the last channel.
  if (channel >= params.channels) { return; }
  let rule = rules[channel];
//% if source == "values"
  let own = sums_of(whole_channel(), channel, lane, rule.forward);
//% else
  var own = vec2(0.0);
  for (var k = lane; k < params.pieces; k += lanes) { own += pieces[channel * params.pieces + k]; }
//% endif
  let sums = total(lane, own);
  if (lane == 0u) {
    let by = rule.backward;
    gamma_grad[channel] = by.x * sums.x + by.y * sums.y;
    beta_grad[channel] = sums.x;
//% if bias
    bias_grad[channel] = rule.forward.w * sums.x;
//% endif
    let beta = /*{ "betas[channel]" if relu else "0.0" }*/;
    shares[channel] = share_of(rule.forward, beta, vec2(by.z * sums.y, by.w * sums.x));
  }
}
//% endif
