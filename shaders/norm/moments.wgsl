// Mean and spread of values, and joining those of several parts (Chan, Golub and LeVeque 1983). All is told from a
// reference, a value of the channel, and never from zero: a mean of 1000 leaves a variance of 0.001 its digits.
//% include "norm/lanes.wgsl"

// How many values, their mean from the reference, and the sum of their squared distances from the mean.
struct Moments { count: f32, mean: f32, squares: f32 }

// Of all lanes.
fn joined(lane: u32, own: Moments) -> Moments {
  let sums = total(lane, vec2(own.count, own.count * own.mean));
  let mean = sums.y / sums.x;
  let away = own.mean - mean;
  let squares = total(lane, vec2(own.squares + own.count * away * away, 0.0)).x;
  return Moments(sums.x, mean, squares);
}

//% if source == "values"
// The reference of a channel.
fn reference_of(channel: u32) -> f32 {
  let first = x[plane_of(0u, channel)];
  return /*{ "first.x" if vectors else "first" }*/;
}

// Of the lane's share of a part. A lane without a share counts nothing. Distances are summed from the share's own
// first value, so that one value that lies far out spoils no other lane's.
fn moments_of(part: Part, channel: u32, lane: u32, reference: f32) -> Moments {
  let start = start_of(part, lane);
  let first = x[plane_of(min(start.x, params.rows - 1u), channel) + min(start.y, params.plane - 1u)];
  var sum = Value(0.0);
  var squares = Value(0.0);
  var seen = 0u;
  for (var row = start.x; row < part.rows.y; row += across) {
    let base = plane_of(row, channel);
    for (var column = start.y; column < part.columns.y; column += along) {
      let away = x[base + column] - first;
      sum += away;
      squares = fma(away, away, squares);
      seen++;
    }
  }
  let count = f32(seen);
  let shift = sum / max(count, 1.0);
  let means = (first - reference) + shift;
  let spread = max(squares - sum * shift, Value(0.0));
//% if vectors
  let mean = means.x + dot(means - means.x, vec4(0.25));
  let away = means - mean;
  return Moments(4.0 * count, mean, summed(spread) + count * summed(away * away));
//% else
  return Moments(count, means, spread);
//% endif
}
//% elif source == "pieces"
// Of the pieces that fall to the lane.
fn moments_of(first: u32, count: u32, lane: u32) -> Moments {
  var joint = Moments(0.0, 0.0, 0.0);
  for (var k = lane; k < count; k += lanes) {
    let piece = pieces[first + k];
    let sum = joint.count + piece.x;
    let away = piece.y - joint.mean;
    joint.squares += piece.z + away * away * (joint.count * piece.x / sum);
    joint.mean += away * (piece.x / sum);
    joint.count = sum;
  }
  return joint;
}
//% endif
