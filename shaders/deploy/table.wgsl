// A code for each code, looked up: entry code + 128 of the table.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<i32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;
struct Params { invocations: u32 }
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, /*{ threads }*/u);
  if (i >= params.invocations) { return; }
  let entry = unpack4xI8(input[i]) + 128;
  output[i] = pack4xI8(vec4(table[entry.x], table[entry.y], table[entry.z], table[entry.w]));
}
