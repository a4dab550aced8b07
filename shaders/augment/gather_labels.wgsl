// The labels of this step's batch, in the order of the images.
@group(0) @binding(0) var<storage, read> all: array<u32>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> progress: array<u32>;
@group(0) @binding(3) var<storage, read_write> labels: array<u32>;
struct Params { rows: u32, batch: u32, count: u32 }
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.rows) { return; }
  let last = params.count - 1u;
  labels[id.x] = all[min(order[min(progress[0] * params.batch + id.x, last)], last)];
}
