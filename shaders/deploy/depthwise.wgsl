// Convolution of codes where each channel is a group: four channels in a word go side by side. Weights lie [C / 4, kh, kw].
//% include "common/index.wgsl"
//% include "deploy/requantize.wgsl"
//% include "deploy/outputs.wgsl"

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
@group(0) @binding(2) var<storage, read> outputs: array<Outputs>;
@group(0) @binding(3) var<storage, read_write> output: array<u32>;
//% include "deploy/grouped_params.wgsl"

@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, /*{ threads }*/u);
  if (i >= params.invocations) { return; }
  let line = i / params.out_width;
  let plane = line / params.out_height;
  let word = plane % params.out_words;
  let top = i32((line % params.out_height) * params.stride_y) - i32(params.pad_top);
  let left = i32((i % params.out_width) * params.stride_x) - i32(params.pad_left);
  var sum = vec4<i32>();
  var at = word * params.kernel_height * params.kernel_width;
  for (var ky = 0u; ky < params.kernel_height; ky++) {
    let row = top + i32(ky * params.dilation_y);
    // A negative place is a large number without its sign.
    let row_inside = u32(row) < params.in_height;
    let start = (plane * params.in_height + u32(clamp(row, 0, i32(params.in_height) - 1))) * params.in_width;
    for (var kx = 0u; kx < params.kernel_width; kx++) {
      let column = left + i32(kx * params.dilation_x);
      let inside = row_inside & (u32(column) < params.in_width);
      let x = select(params.padding, input[start + u32(clamp(column, 0, i32(params.in_width) - 1))], inside);
      sum += unpack4xI8(x) * unpack4xI8(weight[at]);
      at += 1u;
    }
  }
  let own = outputs[word];
  let value = rescale(sum + own.bias, own.mantissa, own.shift);
  output[i] = word_of(value, params.zero_point, params.low, params.high);
}
