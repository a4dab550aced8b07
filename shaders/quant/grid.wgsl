// The quantization grid of a range, as in Jacob et al. 2018 (arXiv 1712.05877), section 3, in f32.
const passes = 0.0;    // quantization has not begun: y = x
const quantizes = 1.0;
const vanishes = 2.0;  // the range is a point: y = 0

// The ends of the grid, its step, and what is to be done.
struct Grid { lo: f32, hi: f32, scale: f32, action: f32 }

const qmin = f32(/*{ 1 if narrow_range else 0 }*/);
const qmax = f32(/*{ 2 ** bits - 1 }*/);

fn grid_of(low: f32, high: f32) -> Grid {
  let scale = (high - low) / (qmax - qmin);
  // A point, or a range so short that its step is no normal number (a dead layer's moving average gets there):
  // dividing by it would give NaN.
  if (scale < 1.1754944e-38) { return Grid(0.0, 0.0, 0.0, vanishes); }
  let place = qmin - low / scale;
  // Half away from zero: place is never negative here, and WGSL's round() goes to even. The fraction is exact;
  // place + 0.5 is not, and lifts the number below one half to 1.
  let whole = floor(place);
  let zero_point = clamp(select(whole, whole + 1.0, place - whole >= 0.5), qmin, qmax);
  return Grid((qmin - zero_point) * scale, (qmax - zero_point) * scale, scale, quantizes);
}
