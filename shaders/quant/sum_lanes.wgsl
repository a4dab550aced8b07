// Adding up over the lanes of a workgroup, always in the same order.
const lanes = /*{ lanes }*/u;

//% if subgroup
// The workgroup is one subgroup, so its lanes can ask each other.
fn joined_sum(lane: u32, value: f32) -> f32 {
  return subgroupAdd(value);
}
//% else
var<workgroup> sums_of_lanes: array<f32, lanes>;

fn joined_sum(lane: u32, value: f32) -> f32 {
  sums_of_lanes[lane] = value;
  for (var half = lanes / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { sums_of_lanes[lane] += sums_of_lanes[lane + half]; }
  }
  workgroupBarrier();
  return sums_of_lanes[0];
}
//% endif
