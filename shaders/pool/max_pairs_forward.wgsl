// Max pooling over windows two wide that tile the plane exactly: an invocation takes /*{ windows }*/ neighbouring
// windows and reads their rows as whole vectors. Otherwise as max_forward.wgsl.
//% include "common/index.wgsl"
//% set row = "vec4<f32>" if windows == 2 else "vec2<f32>"

@group(0) @binding(0) var<storage, read> x: array</*{ row }*/>;
@group(0) @binding(1) var<storage, read_write> y: array</*{ "vec2<f32>" if windows == 2 else "f32" }*/>;
@group(0) @binding(2) var<storage, read_write> places: array</*{ "vec2<u32>" if windows == 2 else "u32" }*/>;
struct Params { planes: u32 }
@group(0) @binding(3) var<uniform> params: Params;

// Everything across a row counts in vectors.
const across = /*{ out_width // windows }*/u;
const area = /*{ out_height * out_width // windows }*/u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, 64u);
  if (i >= params.planes * area) { return; }
  let top = i % area / across * /*{ kernel_y }*/u;
  let column = i % across;
  let base = i / area * (area * /*{ kernel_y }*/u);
//% set value = "vec2<f32>" if windows == 2 else "f32"
  var best: /*{ value }*/;
  var place: /*{ "vec2<u32>" if windows == 2 else "u32" }*/;
//% for ky in range(kernel_y)
  {
    let at = (top + /*{ ky }*/u) * across + column;
    let row = x[base + at];
//% if windows == 2
    let left = row.xz;
    let right = row.yw;
    let first = vec2(at * 4u, at * 4u + 2u);
//% else
    let left = row.x;
    let right = row.y;
    let first = at * 2u;
//% endif
    // The first of equals wins: left before right, upper before lower.
    let larger = select(left, right, right > left);
    let where_larger = select(first, first + 1u, right > left);
//% if ky == 0
    best = larger;
    place = where_larger;
//% else
    place = select(place, where_larger, larger > best);
    best = select(best, larger, larger > best);
//% endif
  }
//% endfor
//% if relu
  best = max(best, /*{ value }*/(0.0));
//% endif
  y[i] = best;
  places[i] = place;
}
