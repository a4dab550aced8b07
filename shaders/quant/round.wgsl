// Rounding to a grid. Wants quant/grid.wgsl before it.
//% if vectors
alias Value = vec4<f32>;
//% else
alias Value = f32;
//% endif
//% include "quant/nearest.wgsl"

fn rounded(value: Value, grid: Grid) -> Value {
  let inside = clamp(value, Value(grid.lo), Value(grid.hi));
  let index = nearest(inside - grid.lo, grid.scale);
  // The product is never negative, so max changes nothing; it keeps compilers from fusing product and sum,
  // which would round once where the definition rounds twice.
  let place = max(index * grid.scale, Value(0.0)) + grid.lo;
  return select(select(place, Value(0.0), grid.action == vanishes), value, grid.action == passes);
}
