// The gradient of values, x_grad = factor * g, and what goes through the statistics, slope * (value - origin) + offset:
// for the same values with `own`, and with `second` for others, those of the unfolded convolution, into a tensor of
// its own. g is y_grad where the ReLU let pass.
//% include "common/index.wgsl"
//% include "norm/value.wgsl"
//% include "norm/share.wgsl"
//% include "norm/affine.wgsl"

//% set with_x = 1 if relu or own else 0
//% set first_inputs = 1 + with_x if first else 0
//% set inputs = first_inputs + (1 if second else 0)
//% if first
@group(0) @binding(0) var<storage, read> y_grad: array<Value>;
//% if with_x
@group(0) @binding(1) var<storage, read> x: array<Value>;
//% endif
//% endif
//% if second
@group(0) @binding(/*{ first_inputs }*/) var<storage, read> unfolded: array<Value>;
//% endif
@group(0) @binding(/*{ inputs }*/) var<storage, read> shares: array<Share>;
//% if first
@group(0) @binding(/*{ inputs + 1 }*/) var<storage, read_write> x_grad: array<Value>;
//% endif
//% if second
@group(0) @binding(/*{ inputs + (2 if first else 1) }*/) var<storage, read_write> unfolded_grad: array<Value>;
//% endif
// In elements of x (four values each with `vectors`); width is a row's, of all channels.
struct Params { rows: u32, width: u32, plane: u32 }
@group(0) @binding(/*{ inputs + 1 + (1 if first else 0) + (1 if second else 0) }*/) var<uniform> params: Params;

@compute @workgroup_size(/*{ size }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
//% include "norm/place.wgsl"
  let place = shares[channel].place;
//% if own or second
  let through = shares[channel].through;
//% endif
  for (var row = id.z * /*{ unroll }*/u; row < params.rows; row += groups.z * /*{ unroll }*/u) {
//% for u in range(unroll)
    if (row + /*{ u }*/u < params.rows) {
      let i = (row + /*{ u }*/u) * params.width + column;
//% if first
//% if with_x
      let value = x[i];
//% endif
//% if relu
      let g = passed(y_grad[i], value, place.x, place.y, place.z);
//% else
      let g = y_grad[i];
//% endif
//% if own
      x_grad[i] = place.y * g + fma(value - place.w, Value(through.x), Value(through.y));
//% else
      x_grad[i] = place.y * g;
//% endif
//% endif
//% if second
      unfolded_grad[i] = fma(unfolded[i] - place.w, Value(through.x), Value(through.y));
//% endif
    }
//% endfor
  }
}
