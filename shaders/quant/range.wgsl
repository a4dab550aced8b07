// Ranges as vec2(low, high): joining them over the lanes of a workgroup, and moving an observed one.
//% include "quant/grid.wgsl"
const lanes = /*{ lanes }*/u;

//% if subgroup
// The workgroup is one subgroup, so its lanes can ask each other.
fn joined(lane: u32, range: vec2<f32>) -> vec2<f32> {
  return vec2(subgroupMin(range.x), subgroupMax(range.y));
}
//% else
var<workgroup> ranges: array<vec2<f32>, lanes>;

fn joined(lane: u32, range: vec2<f32>) -> vec2<f32> {
  ranges[lane] = range;
  for (var half = lanes / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      let other = ranges[lane + half];
      ranges[lane] = vec2(min(ranges[lane].x, other.x), max(ranges[lane].y, other.y));
    }
  }
  workgroupBarrier();
  return ranges[0];
}
//% endif

// The range after a batch. It always holds zero, so that zero is a code.
fn followed(old: vec2<f32>, batch: vec2<f32>, step: u32, rate: f32) -> vec2<f32> {
//% if observer == "moving_average"
  // The first batch is taken whole.
  let range = select(old + rate * (batch - old), batch, step == 0u);
//% else
  let range = batch;
//% endif
  return vec2(min(range.x, 0.0), max(range.y, 0.0));
}

// Widened to reach equally far to both sides, where the rule says so.
fn balanced(range: vec2<f32>) -> vec2<f32> {
//% if symmetric
  let reach = max(-range.x, range.y);
  return vec2(-reach, reach);
//% else
  return range;
//% endif
}
