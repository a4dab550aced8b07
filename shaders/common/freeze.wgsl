// Sets or clears the mark of frozen state.
//% include "common/counter.wgsl"

@group(0) @binding(0) var<storage, read_write> counters: array<u32>;
struct Params { count: u32, freeze: u32 }
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.count) { return; }
  counters[id.x] = count_of(counters[id.x]) | select(0u, frozen_mark, params.freeze != 0u);
}
