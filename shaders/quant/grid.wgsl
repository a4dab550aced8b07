// The quantization grid of a range, as in Jacob et al. 2018 (arXiv 1712.05877), section 3, in f32: the same bits on every
// adapter. A quotient that is off in its last bit would move the zero point by a whole code wherever it lies in the middle
// between two, as it does for the range that quantizers start with.
//% include "common/quotient.wgsl"
const passes = 0.0;    // quantization has not begun: y = x
const quantizes = 1.0;
const vanishes = 2.0;  // the range is a point: y = 0

// The ends of the grid, its step, and what is to be done.
struct Grid { lo: f32, hi: f32, scale: f32, action: f32 }

const qmin = f32(/*{ 1 if narrow_range else 0 }*/);
const qmax = f32(/*{ 2 ** bits - 1 }*/);

fn grid_of(low: f32, high: f32) -> Grid {
  let scale = quotient(high - low, qmax - qmin);
  // A point, or a range so short that its step is no normal number (a dead layer's moving average gets there):
  // dividing by it would give NaN.
  if (scale == 0.0) { return Grid(0.0, 0.0, 0.0, vanishes); }
  // The cut changes no value. Without it, FXC (DX12) moves the sign into the shifts of bits that follow, which its own bytecode
  // does not allow, and fails.
  let place = qmin + quotient(max(-low, 0.0), scale);
  // Half away from zero: place is never negative here, and WGSL's round() goes to even. The fraction is exact;
  // place + 0.5 is not, and lifts the number below one half to 1.
  let whole = floor(place);
  let zero_point = clamp(select(whole, whole + 1.0, place - whole >= 0.5), qmin, qmax);
  // The ends have these signs already. The cuts keep compilers from fusing the products with a sum that follows, which would
  // round once where the definition rounds twice.
  return Grid(min((qmin - zero_point) * scale, 0.0), max((qmax - zero_point) * scale, 0.0), scale, quantizes);
}
