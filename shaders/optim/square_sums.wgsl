// Sums of squares of one gradient, a partial sum for each workgroup, from `place` on in the partial sums of all
// gradients. The order of summation is fixed.
const size = 64u;

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
struct Params { count: u32, groups: u32, place: u32 }
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> sums: array<f32, size>;

@compute @workgroup_size(size)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3<u32>) {
  // Behind the last value, a vector holds whatever was in the memory.
  let whole = params.count / 4u;
  var total = 0.0;
  for (var i = group.x * size + lane; i < whole; i += params.groups * size) {
    total += dot(gradient[i], gradient[i]);
  }
  if ((group.x == 0u) & (lane < params.count % 4u)) {
    let value = gradient[whole][lane];
    total += value * value;
  }
  sums[lane] = total;
  for (var half = size / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  if (lane == 0u) { partials[params.place + group.x] = sums[0]; }
}
