// Sums over the lanes of a workgroup, in a fixed order; all lanes hear the result.
const lanes = /*{ lanes }*/u;

//% if subgroup
// The workgroup is one subgroup, so its lanes can ask each other.
fn total(lane: u32, value: vec2<f32>) -> vec2<f32> {
  return subgroupAdd(value);
}
//% else
var<workgroup> addends: array<vec2<f32>, lanes>;

fn total(lane: u32, value: vec2<f32>) -> vec2<f32> {
  // Somebody may still read the sum before this one.
  workgroupBarrier();
  addends[lane] = value;
  for (var half = lanes / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { addends[lane] += addends[lane + half]; }
  }
  workgroupBarrier();
  return addends[0];
}
//% endif
