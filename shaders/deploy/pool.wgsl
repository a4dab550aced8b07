// Pooling of codes, four channels in a word: the highest code of each window, or the mean. Padding is never the highest, and
// counts as zeros in a mean.
//% include "common/index.wgsl"
//% if op == "mean"
//% include "deploy/requantize.wgsl"
//% endif

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
struct Params {
  invocations: u32,
  in_height: u32,
  in_width: u32,
  out_height: u32,
  out_width: u32,
  pad_top: u32,
  pad_left: u32,
  from_zero_point: i32,
  mantissa: u32,
  shift: u32,
  zero_point: i32,
  low: i32,
  high: i32,
}
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, /*{ threads }*/u);
  if (i >= params.invocations) { return; }
  let line = i / params.out_width;
  let plane = line / params.out_height * params.in_height;
  let top = i32((line % params.out_height) * /*{ stride_y }*/u) - i32(params.pad_top);
  let left = i32((i % params.out_width) * /*{ stride_x }*/u) - i32(params.pad_left);
  var total = vec4<i32>(/*{ "-128" if op == "max" }*/);
  for (var ky = 0; ky < /*{ kernel_y }*/; ky++) {
    for (var kx = 0; kx < /*{ kernel_x }*/; kx++) {
      let row = top + ky;
      let column = left + kx;
//% if padded
      // A negative place is a large number without its sign.
      if ((u32(row) >= params.in_height) | (u32(column) >= params.in_width)) { continue; }
//% endif
      let codes = unpack4xI8(input[(plane + u32(row)) * params.in_width + u32(column)]);
//% if op == "max"
      total = max(total, codes);
//% else
      total += codes - params.from_zero_point;
//% endif
    }
  }
//% if op == "max"
  output[i] = pack4xI8(total);
//% else
  let value = rescale(total, vec4(params.mantissa), vec4(params.shift));
  output[i] = word_of(value, params.zero_point, params.low, params.high);
//% endif
}
