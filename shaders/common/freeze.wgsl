// Sets or clears the mark of frozen state.
//% include "common/counter.wgsl"
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read_write> counters: array<u32>;
struct Params { count: u32, freeze: u32 }
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.count) { return; }
  counters[i] = count_of(counters[i]) | select(0u, frozen_mark, params.freeze != 0u);
}
