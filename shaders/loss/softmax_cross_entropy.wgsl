// Softmax cross entropy of logits [N, K] with one label each: the loss of every row, how many classes come before
// the label's, and the gradient of the mean loss, (softmax - target) / N. One invocation for each row.
//% include "common/index.wgsl"
//% include "loss/target.wgsl"

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> ranks: array<u32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;
struct Params { rows: u32, classes: u32, smoothing: f32 }
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let row = linear_index(id, groups, 8u);
  if (row >= params.rows) { return; }
  let base = row * params.classes;
  // A label that is no class reads nothing beside the row.
  let label = min(labels[row], params.classes - 1u);
  let own = logits[base + label];
  var largest = logits[base];
  for (var k = 1u; k < params.classes; k++) { largest = max(largest, logits[base + k]); }
  // Subtracting the largest keeps every exponential at most 1.
  var total = 0.0;
  var gap = 0.0;
  var rank = 0u;
  for (var k = 0u; k < params.classes; k++) {
    let value = logits[base + k];
    total += exp(value - largest);
    gap += largest - value;
    rank += select(0u, 1u, comes_before(k, value, label, own));
  }
  losses[row] = row_loss(total, largest - own, gap / f32(params.classes)) + unknown_class(labels[row]);
  ranks[row] = rank;
  let scale = 1.0 / f32(params.rows);
  for (var k = 0u; k < params.classes; k++) {
    let share = exp(logits[base + k] - largest) / total;
    gradient[base + k] = (share - target_share(k == label)) * scale;
  }
}
