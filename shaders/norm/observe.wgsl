// Moments of each channel of [rows, channels, plane], in pieces: [channels, pieces, 4] of count, mean and squares, and
// the reference that the mean is told from. `statistics` joins the pieces. Channels that stand still are passed over.
//% include "common/counter.wgsl"
//% include "norm/value.wgsl"
//% include "norm/part.wgsl"
//% include "norm/moments.wgsl"

@group(0) @binding(0) var<storage, read> x: array<Value>;
@group(0) @binding(1) var<storage, read> steps: array<u32>;
@group(0) @binding(2) var<storage, read_write> pieces: array<vec4<f32>>;
struct Params { rows: u32, channels: u32, plane: u32, piece_rows: u32, piece_columns: u32, freeze: u32 }
@group(0) @binding(3) var<uniform> params: Params;

// Workgroups: x = channel, y = piece of the plane, z = piece of the rows.
@compute @workgroup_size(lanes)
fn main(@builtin(local_invocation_index) lane: u32,
        @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let row = group.z * params.piece_rows;
  let column = group.y * params.piece_columns;
  let still = stands_still(steps[group.x], params.freeze);
  let end = select(min(row + params.piece_rows, params.rows), row, still);
  let part = Part(vec2(row, end), vec2(column, min(column + params.piece_columns, params.plane)));
  let reference = reference_of(group.x);
  let whole = joined(lane, moments_of(part, group.x, lane, reference));
  if (lane == 0u) {
    let piece = (group.x * groups.z + group.z) * groups.y + group.y;
    pieces[piece] = vec4(whole.count, whole.mean, whole.squares, reference);
  }
}
