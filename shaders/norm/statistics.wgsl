// Moves the running statistics of each channel by the batch's, counts the step, and says what the statistics mean for
// values and gradients. A workgroup owns a channel and takes the batch's moments from its values, or joins their
// pieces; without either (evaluation) the running statistics rule, nothing changes, and an invocation owns a channel.
//
// gamma / s is what `fold_weight` multiplied the weights by, with the s of before this step.
//% include "common/counter.wgsl"
//% include "norm/rule.wgsl"
//% if source == "none"
//% include "common/index.wgsl"
//% endif
//% if source == "values"
//% include "norm/value.wgsl"
//% include "norm/part.wgsl"
//% endif
//% if source != "none"
//% include "norm/moments.wgsl"
//% endif
//% if form == "one_conv"
//% include "norm/ratio.wgsl"
//% endif

//% set first = 0 if source == "none" else 1
//% set state = first + 2 if bias else first + 1
//% if source == "values"
@group(0) @binding(0) var<storage, read> x: array<Value>;
//% elif source == "pieces"
@group(0) @binding(0) var<storage, read> pieces: array<vec4<f32>>;
//% endif
@group(0) @binding(/*{ first }*/) var<storage, read> gammas: array<f32>;
//% if bias
@group(0) @binding(/*{ first + 1 }*/) var<storage, read> biases: array<f32>;
//% endif
//% if source == "none"
@group(0) @binding(/*{ state }*/) var<storage, read> running_mean: array<f32>;
@group(0) @binding(/*{ state + 1 }*/) var<storage, read> running_variance: array<f32>;
@group(0) @binding(/*{ state + 2 }*/) var<storage, read_write> rules: array<StoredRule>;
//% else
@group(0) @binding(/*{ state }*/) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(/*{ state + 1 }*/) var<storage, read_write> running_variance: array<f32>;
@group(0) @binding(/*{ state + 2 }*/) var<storage, read_write> steps: array<u32>;
@group(0) @binding(/*{ state + 3 }*/) var<storage, read_write> rules: array<StoredRule>;
//% endif
// count is what the step adds to the counter, share is one value's of the batch, stay the running statistics' of a step, and unbias turns the variance of the
// values into an estimate of their source's.
struct Params {
  rows: u32,
  channels: u32,
  plane: u32,
  pieces: u32,
  freeze: u32,
  count: u32,
  epsilon: f32,
  share: f32,
  unbias: f32,
  stay: f32,
}
@group(0) @binding(/*{ state + (3 if source == "none" else 4) }*/) var<uniform> params: Params;

// The statistics are given numbers: gradients go through the values alone.
fn running_rule(gamma: f32, bias: f32, mean: f32, deviation: f32) -> Rule {
//% if form == "plain"
  return Rule(mean, gamma / deviation, 0.0, 0.0, 0.0, 1.0 / deviation, 0.0, 0.0);
//% else
  // gamma / s is in the weights already.
  let ratio = gamma / deviation;
  return Rule((mean - bias) * ratio, 1.0, 0.0, ratio, (bias - mean) / deviation, 0.0, 0.0, 0.0);
//% endif
}

//% if source == "none"
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let channel = linear_index(id, groups, 64u);
  if (channel >= params.channels) { return; }
  let deviation = sqrt(running_variance[channel] + params.epsilon);
  let bias = /*{ "biases[channel]" if bias else "0.0" }*/;
  rules[channel] = stored(running_rule(gammas[channel], bias, running_mean[channel], deviation));
}
//% else
@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32,
        @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let channel = group.y * groups.x + group.x;
  // Folding may add workgroups behind the last channel.
  if (channel >= params.channels) { return; }
  let step = steps[channel];
  let still = stands_still(step, params.freeze);
//% if source == "values"
  var part = whole_channel();
  part.rows.y = select(part.rows.y, 0u, still);
  let reference = reference_of(channel);
  let batch = joined(lane, moments_of(part, channel, lane, reference));
//% else
  let first = channel * params.pieces;
  let reference = pieces[first].w;
  let batch = joined(lane, moments_of(first, params.pieces, lane));
//% endif
  if (lane == 0u) {
    let gamma = gammas[channel];
    let bias = /*{ "biases[channel]" if bias else "0.0" }*/;
    let old_mean = running_mean[channel];
    let old_variance = running_variance[channel];
    // Of the running statistics before this step.
    let running = sqrt(old_variance + params.epsilon);
    steps[channel] = step + params.count;
    if (still) {
      rules[channel] = stored(running_rule(gamma, bias, old_mean, running));
    } else {
      var mean = reference + batch.mean;
      var variance = batch.squares * params.share;
//% if form == "one_conv"
      // The values are those of the unfolded convolution times the ratio.
      let ratio = training_ratio(gamma, running);
      let spread = sqrt(variance) / abs(ratio.factor);
      variance = spread * spread;
//% endif
      let squared = variance + params.epsilon;
      let deviation = sqrt(squared);
//% if form == "two_conv"
      let offset = -gamma / deviation * params.share;
      let rule = Rule(gamma * mean / running, running / deviation, mean, 0.0, -mean / deviation, 0.0,
                      -running / (squared * deviation) * params.share, offset);
//% else
//% if form == "one_conv"
      let inverse = 1.0 / (ratio.factor * deviation);
      // Through epsilon, the scale of the values does not cancel entirely.
      let by_t = inverse * (1.0 - ratio.follows * params.epsilon / squared);
//% else
      let inverse = 1.0 / deviation;
      let by_t = inverse;
//% endif
      let factor = gamma * inverse;
      let rule = Rule(mean, factor, mean, 0.0, 0.0, by_t, -factor * inverse * inverse * params.share, -factor * params.share);
//% if form == "one_conv"
      mean /= ratio.factor;
//% endif
//% endif
      rules[channel] = stored(rule);
      running_mean[channel] = params.stay * old_mean + (1.0 - params.stay) * (mean + bias);
      running_variance[channel] = params.stay * old_variance + (1.0 - params.stay) * (variance * params.unbias);
    }
  }
}
//% endif
