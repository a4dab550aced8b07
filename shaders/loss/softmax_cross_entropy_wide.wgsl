// As softmax_cross_entropy.wgsl for rows of many classes: a workgroup for each row, strided partial results, then trees.
// The order of summation is fixed.
//% include "loss/target.wgsl"

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> ranks: array<u32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;
struct Params { rows: u32, classes: u32, smoothing: f32 }
@group(0) @binding(5) var<uniform> params: Params;

const lanes = /*{ lanes }*/u;
var<workgroup> peaks: array<f32, lanes>;
// Sum of exponentials, and of the gaps to the largest logit.
var<workgroup> sums: array<vec2<f32>, lanes>;
var<workgroup> before: array<u32, lanes>;

@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32,
        @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = group.y * groups.x + group.x;
  // Folding may add workgroups behind the last row; they run along, so that barriers stay uniform.
  let row = min(i, params.rows - 1u);
  let base = row * params.classes;
  let label = min(labels[row], params.classes - 1u);
  let own = logits[base + label];
  // The launcher chooses this shader for classes >= lanes only, so every lane has a first value.
  var peak = logits[base + lane];
  for (var k = lane + lanes; k < params.classes; k += lanes) { peak = max(peak, logits[base + k]); }
  peaks[lane] = peak;
  for (var half = lanes / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { peaks[lane] = max(peaks[lane], peaks[lane + half]); }
  }
  workgroupBarrier();
  let largest = peaks[0];
  var sum = vec2(0.0, 0.0);
  var rank = 0u;
  for (var k = lane; k < params.classes; k += lanes) {
    let value = logits[base + k];
    sum += vec2(exp(value - largest), largest - value);
    rank += select(0u, 1u, comes_before(k, value, label, own));
  }
  sums[lane] = sum;
  before[lane] = rank;
  for (var half = lanes / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      sums[lane] += sums[lane + half];
      before[lane] += before[lane + half];
    }
  }
  workgroupBarrier();
  if (i != row) { return; }
  let total = sums[0].x;
  if (lane == 0u) {
    losses[row] = row_loss(total, largest - own, sums[0].y / f32(params.classes)) + unknown_class(labels[row]);
    ranks[row] = before[0];
  }
  let scale = 1.0 / f32(params.rows);
  for (var k = lane; k < params.classes; k += lanes) {
    let share = exp(logits[base + k] - largest) / total;
    gradient[base + k] = (share - target_share(k == label)) * scale;
  }
}
