// Codes of [N, C / 4, H, W] words as [N, C * H * W / 4]: four neighbours of a plane in a word instead of four channels.
//% include "common/index.wgsl"

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
struct Params {
  invocations: u32,
  in_words: u32,
  out_words: u32,
  // Codes of an image, and of a plane.
  features: u32,
  area: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, /*{ threads }*/u);
  if (i >= params.invocations) { return; }
  let image = i / params.out_words * params.in_words;
  // Features past the last repeat it; nobody looks at them.
  let feature = min(vec4(i % params.out_words * 4u) + vec4(0u, 1u, 2u, 3u), vec4(params.features - 1u));
  let channel = feature / params.area;
  let at = (image + channel / 4u) * params.area + feature % params.area;
  let words = vec4(input[at.x], input[at.y], input[at.z], input[at.w]);
  output[i] = pack4xU8(words >> ((channel & vec4(3u)) * 8u));
}
