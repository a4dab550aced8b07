// Convolution of codes [N, C / 4, H, W], four channels to a word: an invocation makes /*{ tile }*/ words of output channels for /*{ pixels }*/
// neighbours of a row. A word of inputs is fetched once for all of them. Weights lie [C / 4, kh, kw, O / 4], 4 x 4 codes in a
// vector, so neighbours in the output channels read neighbours in memory; they are met in just this order.
//
// A kernel row is /*{ taps }*/ taps at a time. The input's zero point is in the bias, and padding is a word of zero points.
//% if pool_y * pool_x > 1
//
// Of /*{ pool_y }*/ x /*{ pool_x }*/ results the highest is kept: the order of sums is that of their codes, so it is found before they become codes.
//% endif
//% if float
//
// Here products are f32: where shaders run on a CPU's vector unit, four products of bytes take it twenty instructions. They are
// exact: a product has at most 14 bits, and 1024 of them add up to at most 2^24, which f32 holds; then they go into integers.
//% endif
//% include "common/index.wgsl"
//% include "deploy/requantize.wgsl"
//% include "deploy/outputs.wgsl"
//% if not float
//% include "deploy/byte_dot.wgsl"
//% endif
//% set xyzw = ["x", "y", "z", "w"]
//% set wide = pixels * pool_x
//% set places = range(pool_y * wide)
//% set sums = "vec4<f32>" if float else "vec4<i32>"

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> outputs: array<Outputs>;
@group(0) @binding(3) var<storage, read_write> output: array<u32>;
struct Params {
  invocations: u32,
  // Words of channels, and of those in a group.
  in_words: u32,
  in_group: u32,
  out_words: u32,
  out_group: u32,
  in_height: u32,
  in_width: u32,
  out_height: u32,
  out_width: u32,
  // Invocations in a row, and along the words of a group's output channels.
  strips: u32,
  blocks: u32,
  groups: u32,
  kernel_height: u32,
  // How many times /*{ taps }*/ taps a kernel row is.
  runs: u32,
  // Words of channels whose products f32 holds.
  exact_words: u32,
  stride_y: u32,
  dilation_y: u32,
  pad_top: u32,
  pad_left: u32,
  padding: u32,
  zero_point: i32,
  low: i32,
  high: i32,
}
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = linear_index(id, groups, /*{ threads }*/u);
  if (i >= params.invocations) { return; }
  let line = i / params.strips;
  let column = (i % params.strips) * /*{ pixels }*/u;
  let y = line % params.out_height;
  let share = line / params.out_height;
  let block = share % params.blocks;
  let group = (share / params.blocks) % params.groups;
  let image = share / params.blocks / params.groups;
  let last = (group + 1u) * params.out_group - 1u;
//% for j in range(tile)
  // Words past the group's last repeat it and are not stored.
  let word/*{ j }*/ = group * params.out_group + block * /*{ tile }*/u + /*{ j }*/u;
  let held/*{ j }*/ = min(word/*{ j }*/, last);
//%   for q in places
  var sum/*{ j }*/_/*{ q }*/ = /*{ sums }*/();
//%     if chunked
  var whole/*{ j }*/_/*{ q }*/ = vec4<i32>();
//%     endif
//%   endfor
//% endfor
  let top = i32(y * /*{ pool_y }*/u * params.stride_y) - i32(params.pad_top);
  let left = i32(column * /*{ pool_x * stride_x }*/u) - i32(params.pad_left);
  var at = 0u;
//% if chunked
  for (var first = 0u; first < params.in_group; first += params.exact_words) {
  for (var c = first; c < min(first + params.exact_words, params.in_group); c++) {
//% else
  for (var c = 0u; c < params.in_group; c++) {
//% endif
    let plane = (image * params.in_words + group * params.in_group + c) * params.in_height;
    for (var ky = 0u; ky < params.kernel_height; ky++) {
//% for r in range(pool_y)
      let row/*{ r }*/ = top + i32(ky * params.dilation_y/*{ " + " ~ r ~ "u * params.stride_y" if r > 0 }*/);
//%   if edges
      // A negative place is a large number without its sign.
      let row_inside/*{ r }*/ = u32(row/*{ r }*/) < params.in_height;
      let start/*{ r }*/ = (plane + u32(clamp(row/*{ r }*/, 0, i32(params.in_height) - 1))) * params.in_width;
//%   else
      let start/*{ r }*/ = (plane + u32(row/*{ r }*/)) * params.in_width;
//%   endif
//% endfor
//% if looped
      for (var run = 0u; run < params.runs; run++) {
      let begin = left + i32(run * /*{ taps * dilation_x }*/u);
//% else
      let begin = left;
//% endif
//% for k in columns
//%   if edges
      let column/*{ k }*/ = begin + /*{ k }*/;
      let column_inside/*{ k }*/ = u32(column/*{ k }*/) < params.in_width;
      let held_column/*{ k }*/ = u32(clamp(column/*{ k }*/, 0, i32(params.in_width) - 1));
//%   endif
//%   for r in range(pool_y)
//%     set at = r ~ "_" ~ k
//%     if edges
      let fetched/*{ at }*/ = input[start/*{ r }*/ + held_column/*{ k }*/];
      let x/*{ at }*/ = select(params.padding, fetched/*{ at }*/, row_inside/*{ r }*/ & column_inside/*{ k }*/);
//%     else
      let x/*{ at }*/ = input[start/*{ r }*/ + u32(begin + /*{ k }*/)];
//%     endif
//%     if float
      let f/*{ at }*/ = vec4<f32>(unpack4xI8(x/*{ at }*/));
//%     endif
//%   endfor
//% endfor
//% for t in range(taps)
//%   for j in range(tile)
      {
        let w = weight[at + held/*{ j }*/];
//%     if float
//%       for b in range(bytes)
        let w/*{ b }*/ = vec4<f32>(unpack4xI8(w./*{ xyzw[b] }*/));
//%       endfor
//%       for q in places
//%         set x = "f" ~ (q // wide) ~ "_" ~ (q % wide * stride_x + t * dilation_x)
//%         for b in range(bytes)
        sum/*{ j }*/_/*{ q }*/ = fma(vec4(/*{ x }*/./*{ xyzw[b] }*/), w/*{ b }*/, sum/*{ j }*/_/*{ q }*/);
//%         endfor
//%       endfor
//%     else
//%       for q in places
//%         set x = "x" ~ (q // wide) ~ "_" ~ (q % wide * stride_x + t * dilation_x)
        sum/*{ j }*/_/*{ q }*/ += vec4(byte_dot(/*{ x }*/, w.x), byte_dot(/*{ x }*/, w.y), byte_dot(/*{ x }*/, w.z), byte_dot(/*{ x }*/, w.w));
//%       endfor
//%     endif
      }
//%   endfor
      at += params.out_words;
//% endfor
//% if looped
      }
//% endif
    }
  }
//% if chunked
//%   for j in range(tile)
//%     for q in places
  whole/*{ j }*/_/*{ q }*/ += vec4<i32>(sum/*{ j }*/_/*{ q }*/);
  sum/*{ j }*/_/*{ q }*/ = vec4<f32>();
//%     endfor
//%   endfor
  }
//% endif

//% for j in range(tile)
  if (word/*{ j }*/ <= last) {
    let own = outputs[word/*{ j }*/];
    let base = ((image * params.out_words + word/*{ j }*/) * params.out_height + y) * params.out_width + column;
//%   for p in range(pixels)
//%     set sum = ("whole" if chunked else "sum") ~ j ~ "_"
    if (column + /*{ p }*/u < params.out_width) {
      var total = vec4<i32>(/*{ sum ~ p * pool_x }*/);
//%     for q in range(1, pool_y * pool_x)
      total = max(total, vec4<i32>(/*{ sum ~ (q // pool_x * wide + p * pool_x + q % pool_x) }*/));
//%     endfor
      let value = rescale(total + own.bias, own.mantissa, own.shift);
      output[base + /*{ p }*/u] = word_of(value, params.zero_point, params.low, params.high);
    }
//%   endfor
  }
//% endfor
}
