// Sums of the gradient of each channel of [rows, channels, plane], in pieces: [channels, pieces, 2]. `slopes` joins
// them.
//% include "norm/value.wgsl"
//% include "norm/lanes.wgsl"
//% include "norm/part.wgsl"
//% include "norm/rule.wgsl"
//% include "norm/affine.wgsl"
//% include "norm/sums.wgsl"

//% set output = 4 if relu else 3
@group(0) @binding(0) var<storage, read> y_grad: array<Value>;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> rules: array<StoredRule>;
//% if relu
@group(0) @binding(3) var<storage, read> betas: array<f32>;
//% endif
@group(0) @binding(/*{ output }*/) var<storage, read_write> pieces: array<vec2<f32>>;
struct Params { rows: u32, channels: u32, plane: u32, piece_rows: u32, piece_columns: u32 }
@group(0) @binding(/*{ output + 1 }*/) var<uniform> params: Params;

// Workgroups: x = channel, y = piece of the plane, z = piece of the rows.
@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32,
        @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let row = group.z * params.piece_rows;
  let column = group.y * params.piece_columns;
  let part = Part(vec2(row, min(row + params.piece_rows, params.rows)),
                  vec2(column, min(column + params.piece_columns, params.plane)));
  let sums = total(lane, sums_of(part, group.x, lane, rules[group.x].forward));
  if (lane == 0u) {
    pieces[(group.x * groups.z + group.z) * groups.y + group.y] = sums;
  }
}
