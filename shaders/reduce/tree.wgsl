// [outer, length, inner] -> [outer, inner], one workgroup for each result: strided partial results, then a
// tree. The order of summation is fixed.
const size = 64u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
struct Params { outer: u32, length: u32, inner: u32, scale: f32 }
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> partial: array<f32, size>;

fn join(a: f32, b: f32) -> f32 {
//% if op == "max"
  return max(a, b);
//% else
  return a + b;
//% endif
}

@compute @workgroup_size(size)
fn main(@builtin(local_invocation_index) lane: u32,
        @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = group.y * groups.x + group.x;
  // Folding may add workgroups behind the last result; they run along, so that barriers stay uniform.
  let result = min(i, params.outer * params.inner - 1u);
  let first = (result / params.inner) * params.length * params.inner + result % params.inner;
  // The launcher chooses this shader for length >= size only, so every lane has a first value.
  var total = x[first + lane * params.inner];
  for (var k = lane + size; k < params.length; k += size) {
    total = join(total, x[first + k * params.inner]);
  }
  partial[lane] = total;
  for (var half = size / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[lane] = join(partial[lane], partial[lane + half]); }
  }
  if ((lane == 0u) & (i == result)) { y[i] = partial[0] * params.scale; }
}
