// Ranges as vec2(low, high): joining them over the lanes of a workgroup, and moving an observed one.
//% include "common/counter.wgsl"
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

// The range after a batch, of which it takes the share `rate`. It always holds zero, so that zero is a code.
fn followed(old: vec2<f32>, batch: vec2<f32>, counter: u32, rate: f32) -> vec2<f32> {
  // The first batch is taken whole: before it, the range is no data's. At a rate of 1, old + (batch - old) would
  // round.
  // By sign, because a product that max has cut is fused with no sum, which would round once instead of twice.
  let change = batch - old;
  let moved = (old + max(rate * max(change, vec2(0.0)), vec2(0.0))) - max(rate * max(-change, vec2(0.0)), vec2(0.0));
  let range = select(moved, batch, (count_of(counter) == 0u) | (rate == 1.0));
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
