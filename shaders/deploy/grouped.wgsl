// Convolution of codes in groups that do not fill words: channel by channel. Weights lie [O / 4, C / groups, kh, kw], those of
// four output channels in a word, which may belong to different groups.
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
  let image = plane / params.out_words;
  // Channels past the last repeat it; their weights are zeros.
  let channels = min(vec4(word * 4u) + vec4(0u, 1u, 2u, 3u), vec4(params.out_channels - 1u));
  let first = channels / params.out_group * params.in_group;
  let top = i32((line % params.out_height) * params.stride_y) - i32(params.pad_top);
  let left = i32((i % params.out_width) * params.stride_x) - i32(params.pad_left);
  let area = params.in_height * params.in_width;
  var sum = vec4<i32>();
  var at = word * params.in_group * params.kernel_height * params.kernel_width;
  for (var c = 0u; c < params.in_group; c++) {
    let source = first + c;
    let bits = (source & vec4(3u)) * 8u;
    let planes = (image * params.in_words + source / 4u) * area;
    for (var ky = 0u; ky < params.kernel_height; ky++) {
      let row = top + i32(ky * params.dilation_y);
      // A negative place is a large number without its sign.
      let row_inside = u32(row) < params.in_height;
      let start = u32(clamp(row, 0, i32(params.in_height) - 1)) * params.in_width;
      for (var kx = 0u; kx < params.kernel_width; kx++) {
        let column = left + i32(kx * params.dilation_x);
        let inside = row_inside & (u32(column) < params.in_width);
        let place = planes + start + u32(clamp(column, 0, i32(params.in_width) - 1));
        let words = vec4(input[place.x], input[place.y], input[place.z], input[place.w]);
        // Up to the top of the word, and back with the sign.
        let x = bitcast<vec4<i32>>(select(vec4(params.padding), words, inside) << (24u - bits)) >> vec4(24u);
        sum += x * unpack4xI8(weight[at]);
        at += 1u;
      }
    }
  }
  let own = outputs[word];
  let value = rescale(sum + own.bias, own.mantissa, own.shift);
  output[i] = word_of(value, params.zero_point, params.low, params.high);
}
