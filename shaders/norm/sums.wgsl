// The sums of a gradient g over the lane's share of a part: of g, and of g times the distance of the value from the
// rule's center. With `relu`, of what passed.
fn sums_of(part: Part, channel: u32, lane: u32, rule: vec4<f32>) -> vec2<f32> {
  let start = start_of(part, lane);
//% if relu
  let beta = betas[channel];
//% endif
  var plain = Value(0.0);
  var weighted = Value(0.0);
  for (var row = start.x; row < part.rows.y; row += across) {
    let base = plane_of(row, channel);
    for (var column = start.y; column < part.columns.y; column += along) {
      let value = x[base + column];
//% if relu
      let g = passed(y_grad[base + column], value, rule.x, rule.y, beta);
//% else
      let g = y_grad[base + column];
//% endif
      plain += g;
      weighted = fma(g, value - rule.x, weighted);
    }
  }
  return vec2(summed(plain), summed(weighted));
}
