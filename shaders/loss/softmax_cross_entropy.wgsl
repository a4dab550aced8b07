// Softmax cross entropy of logits [N, K] with one label each: the loss of every row, whether its largest logit
// is the label's, and the gradient of the mean loss, (softmax - one_hot) / N. One invocation for each row.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> hits: array<u32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;
struct Params { rows: u32, classes: u32 }
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let row = linear_index(id, groups, 8u);
  if (row >= params.rows) { return; }
  let base = row * params.classes;
  // A label that is no class reads nothing beside the row, and its loss is infinite, so that it is noticed.
  let label = min(labels[row], params.classes - 1u);
  let noticed = select(0.0, 3.0e38, labels[row] >= params.classes);
  var best = 0u;
  var largest = logits[base];
  for (var k = 1u; k < params.classes; k++) {
    let value = logits[base + k];
    if (value > largest) { largest = value; best = k; }
  }
  // Subtracting the largest keeps every exponential at most 1.
  var total = 0.0;
  for (var k = 0u; k < params.classes; k++) { total += exp(logits[base + k] - largest); }
  // The difference first: beside a large logit, the small logarithm would be rounded away.
  losses[row] = log(total) + (largest - logits[base + label]) + noticed * 10.0;
  hits[row] = select(0u, 1u, best == label);
  let scale = 1.0 / f32(params.rows);
  for (var k = 0u; k < params.classes; k++) {
    let share = exp(logits[base + k] - largest) / total;
    gradient[base + k] = (share - select(0.0, 1.0, k == label)) * scale;
  }
}
