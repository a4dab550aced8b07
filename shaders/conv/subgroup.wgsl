// Convolution forward and its input gradient, for adapters that run one subgroup as one CPU vector.
//
// There a load costs about as much as thirty multiply-adds (every lane is fetched and bounds-checked on its own), so each
// value is fetched once per subgroup: a lane owns output channels and holds their weights; the source tile is fetched by
// all lanes together, a part each, and handed round by broadcast, which is nearly free.
//
// The input gradient is the same sum read backwards, so both directions share this file. What differs, which source pixel
// meets which tap for a given output pixel, comes in as two tables: `row_of[output row][kernel row]` and
// `col_of[output column][kernel column]` hold the row and column inside the source tile, or -1 for "no such pixel".
//
// One workgroup is one subgroup: the same output tile of /*{ images }*/ images, /*{ lanes * vectors }*/ output channels of one group. Small planes
// need several images, or weights would be fetched for a handful of multiply-adds. Channel counts are parameters: layers
// that differ only in them share a kernel.
//% set xyzw = ["x", "y", "z", "w"]
//% set taps = kh * kw
//% set plane_of_source = source_h * source_w // load_width
//% macro source_at(u, i, r, c)
//%   set at = i * fetched * load_width + r * pitch + c + shift
//%   set v = at // load_width
subgroupBroadcast(s/*{ u }*/_/*{ v // lanes }*//*{ "." ~ xyzw[at % 4] if load_width == 4 else "" }*/, /*{ v % lanes }*/u)
//% endmacro
// Weights lie [output][reduced][tap] forward and [reduced][output][tap] backward: what is contiguous beside the taps is
// fetched with them where it makes whole vectors.
//% macro weight_at(j, u, t)
//%   if weight_run == "reduced"
w/*{ j }*/_/*{ (u * taps + t) // 4 }*/./*{ xyzw[(u * taps + t) % 4] }*/
//%   elif weight_run == "outputs"
w/*{ u }*/_/*{ (j * taps + t) // 4 }*/./*{ xyzw[(j * taps + t) % 4] }*/
//%   else
w/*{ j }*/_/*{ u }*/_/*{ t }*/
//%   endif
//% endmacro
struct Params {
    batch: u32,
    source_channels: u32,
    out_channels: u32,
    // Per group: source channels that are summed over, and output channels.
    reduced: u32,
    out_per_group: u32,
    // Workgroups in y per group.
    blocks: u32,
    // Distances in the weights from one group, output channel, source channel to the next.
    weight_group_stride: u32,
    weight_out_stride: u32,
    weight_reduced_stride: u32,
}

@group(0) @binding(0) var<storage, read> source: array</*{ "vec4<f32>" if load_width == 4 else "f32" }*/>;
@group(0) @binding(1) var<storage, read> weight: array</*{ "f32" if weight_run == "none" else "vec4<f32>" }*/>;
//% if bias
@group(0) @binding(2) var<storage, read> bias: array<f32>;
//% endif
@group(0) @binding(/*{ 3 if bias else 2 }*/) var<storage, read_write> output: array</*{ "vec4<f32>" if store_width == 4 else "f32" }*/>;
@group(0) @binding(/*{ 4 if bias else 3 }*/) var<uniform> params: Params;

//% macro load_weights()
//%   if weight_run == "reduced"
//%     for j in range(vectors)
    let from/*{ j }*/ = (own/*{ j }*/ + c * params.weight_reduced_stride) / 4u;
//%       for i in range(taps * unroll // 4)
    let w/*{ j }*/_/*{ i }*/ = weight[from/*{ j }*/ + /*{ i }*/u];
//%       endfor
//%     endfor
//%   elif weight_run == "outputs"
//%     for u in range(unroll)
    let from/*{ u }*/ = (own0 + (c + /*{ u }*/u) * params.weight_reduced_stride) / 4u;
//%       for i in range(taps * vectors // 4)
    let w/*{ u }*/_/*{ i }*/ = weight[from/*{ u }*/ + /*{ i }*/u];
//%       endfor
//%     endfor
//%   else
//%     for u in range(unroll)
//%       for j in range(vectors)
    let from/*{ j }*/_/*{ u }*/ = own/*{ j }*/ + (c + /*{ u }*/u) * params.weight_reduced_stride;
//%         for t in live
    let w/*{ j }*/_/*{ u }*/_/*{ t }*/ = weight[from/*{ j }*/_/*{ u }*/ + /*{ t }*/u];
//%         endfor
//%       endfor
//%     endfor
//%   endif
//% endmacro

@compute @workgroup_size(/*{ lanes }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let image = group.z * /*{ images }*/u;
    let channel_group = group.y / params.blocks;
    let block = (group.y % params.blocks) * /*{ lanes * vectors }*/u;
    let last_channel = params.out_per_group - 1u;
//% for j in range(vectors)
    let channel/*{ j }*/ = block + /*{ "lane * " ~ vectors ~ "u + " ~ j ~ "u" if weight_run == "outputs" else "lane + " ~ j * lanes ~ "u" }*/;
//% endfor
    // Lanes past the last channel repeat it and store nothing.
//% if weight_run == "outputs"
    let own0 = channel_group * params.weight_group_stride + min(channel0, params.out_per_group - /*{ vectors }*/u) * params.weight_out_stride;
//% else
//%   for j in range(vectors)
    let own/*{ j }*/ = channel_group * params.weight_group_stride + min(channel/*{ j }*/, last_channel) * params.weight_out_stride;
//%   endfor
//% endif
//% if one_pass
    // So few source channels that their weights fit in registers: fetched once for all tiles of this workgroup.
    let c = 0u;
    /*{ load_weights() }*/
    let end = min((group.x + 1u) * /*{ tiles_per_group }*/u, /*{ tiles }*/u);
    for (var tile = group.x * /*{ tiles_per_group }*/u; tile < end; tile++) {
//% else
    let tile = group.x;
//% endif
    let tile_y = tile / /*{ tiles_x }*/u;
    let tile_x = tile % /*{ tiles_x }*/u;

    // Where this lane's part of the source tiles lies: the same in every channel, so found once. Images past the last
    // repeat it.
//% for q in range(chunks)
//%   if images == 1
    let v/*{ q }*/ = lane + /*{ q * lanes }*/u;
    let image/*{ q }*/ = image;
//%   else
    let v/*{ q }*/ = (lane + /*{ q * lanes }*/u) % /*{ fetched }*/u;
    let image/*{ q }*/ = min(image + (lane + /*{ q * lanes }*/u) / /*{ fetched }*/u, params.batch - 1u);
//%   endif
    let from_image/*{ q }*/ = image/*{ q }*/ * params.source_channels * /*{ plane_of_source }*/u;
//%   if flat
    let flat/*{ q }*/ = i32(tile_y * /*{ step_y * source_w // load_width }*/u + v/*{ q }*/) + /*{ (first_y * source_w - shift) // load_width }*/;
    let at/*{ q }*/ = from_image/*{ q }*/ + u32(flat/*{ q }*/);
    // A negative place is a large number without its sign.
    let inside/*{ q }*/ = (v/*{ q }*/ < /*{ fetched }*/u) & (u32(flat/*{ q }*/) < /*{ plane_of_source }*/u);
//%   else
    let y/*{ q }*/ = i32(tile_y * /*{ step_y }*/u + v/*{ q }*/ / /*{ pitch // load_width }*/u) + /*{ first_y }*/;
    let x/*{ q }*/ = i32(tile_x * /*{ step_x }*/u + (v/*{ q }*/ % /*{ pitch // load_width }*/u) * /*{ load_width }*/u) + /*{ first_x - shift }*/;
    let at/*{ q }*/ = from_image/*{ q }*/ + u32(y/*{ q }*/ * /*{ source_w }*/ + x/*{ q }*/) / /*{ load_width }*/u;
    // A negative place is a large number without its sign.
    let inside/*{ q }*/ = (v/*{ q }*/ < /*{ fetched }*/u) & (u32(y/*{ q }*/) < /*{ source_h }*/u) & (u32(x/*{ q }*/) < /*{ source_w }*/u);
//%   endif
//% endfor

//% for j in range(vectors)
//%   for i in range(images)
//%     for py in range(tile_h)
//%       for px in range(tile_w)
    var sum/*{ j }*/_/*{ i }*/_/*{ py }*/_/*{ px }*/ = 0.0;
//%       endfor
//%     endfor
//%   endfor
//% endfor
//% if not one_pass
    for (var c = 0u; c < params.reduced; c += /*{ unroll }*/u) {
    /*{ load_weights() }*/
//% endif
//% for u in range(unroll)
    let plane/*{ u }*/ = (channel_group * params.reduced + c + /*{ u }*/u) * /*{ plane_of_source }*/u;
//%   for q in range(chunks)
//%     if sure and (images > 1 or (q + 1) * lanes <= fetched)
    let s/*{ u }*/_/*{ q }*/ = source[plane/*{ u }*/ + at/*{ q }*/];
//%     else
    var s/*{ u }*/_/*{ q }*/ = /*{ "vec4<f32>()" if load_width == 4 else "0.0" }*/;
    if inside/*{ q }*/ { s/*{ u }*/_/*{ q }*/ = source[plane/*{ u }*/ + at/*{ q }*/]; }
//%     endif
//%   endfor
//% endfor
//% for u in range(unroll)
//%   for i in range(images)
//%     for r in used_rows
//%       for k in used_cols
        let b/*{ u }*/_/*{ i }*/_/*{ r }*/_/*{ k }*/ = /*{ source_at(u, i, r, k) }*/;
//%       endfor
//%     endfor
//%     for j in range(vectors)
//%       for py in range(tile_h)
//%         for strip in range(0, tile_w, strip_w)
//%           for ky in range(kh)
//%             for kx in range(kw)
//%               for px in range(strip, [strip + strip_w, tile_w] | min)
//%                 if row_of[py][ky] >= 0 and col_of[px][kx] >= 0
        sum/*{ j }*/_/*{ i }*/_/*{ py }*/_/*{ px }*/ = fma(b/*{ u }*/_/*{ i }*/_/*{ row_of[py][ky] }*/_/*{ col_of[px][kx] }*/, /*{ weight_at(j, u, ky * kw + kx) }*/, sum/*{ j }*/_/*{ i }*/_/*{ py }*/_/*{ px }*/);
//%                 endif
//%               endfor
//%             endfor
//%           endfor
//%         endfor
//%       endfor
//%     endfor
//%   endfor
//% endfor
//% if not one_pass
    }
//% endif

    // The sums go through an array so that one store can be written in a loop: the driver expands a store once per lane, and
    // a hundred of them take it seconds to compile. The loop starts at a number it cannot know, or it would unroll it again.
//% set stores = tile_h * tile_w // store_width
    var results: array</*{ "vec4<f32>" if store_width == 4 else "f32" }*/, /*{ images * stores }*/>;
    let last_store = /*{ stores }*/u * min(/*{ images }*/u, params.batch - image);
//% for j in range(vectors)
    let out_channel/*{ j }*/ = channel_group * params.out_per_group + min(channel/*{ j }*/, last_channel);
    let base/*{ j }*/ = (image * params.out_channels + out_channel/*{ j }*/) * /*{ out_h * out_w }*/u + tile_y * /*{ tile_h * out_w }*/u + tile_x * /*{ tile_w }*/u;
//%   if bias
    let bias/*{ j }*/ = bias[out_channel/*{ j }*/];
//%   endif
//%   for i in range(images)
//%     for k in range(stores)
//%       if store_width == 4
    results[/*{ i * stores + k }*/] = vec4<f32>(
//%         for f in range(k * 4, k * 4 + 4)
        sum/*{ j }*/_/*{ i }*/_/*{ f // tile_w }*/_/*{ f % tile_w }*/,
//%         endfor
    );
//%       else
    results[/*{ i * stores + k }*/] = sum/*{ j }*/_/*{ i }*/_/*{ k // tile_w }*/_/*{ k % tile_w }*/;
//%       endif
//%     endfor
//%   endfor
    for (var i = image; i < image + last_store; i++) {
        let at = (i - image) % /*{ stores }*/u * /*{ store_width }*/u;
        let from_image = (i - image) / /*{ stores }*/u * params.out_channels * /*{ out_h * out_w }*/u;
        let y = at / /*{ tile_w }*/u;
        let x = at % /*{ tile_w }*/u;
        if (channel/*{ j }*/ <= last_channel)
//%   if not exact_output
            & (tile_y * /*{ tile_h }*/u + y < /*{ out_h }*/u) & (tile_x * /*{ tile_w }*/u + x < /*{ out_w }*/u)
//%   endif
        {
            let value = results[i - image]/*{ " + bias" ~ j if bias }*/;
            output[(base/*{ j }*/ + from_image + y * /*{ out_w }*/u + x) / /*{ store_width }*/u] = /*{ ("max(value, vec4<f32>())" if store_width == 4 else "max(value, 0.0)") if relu else "value" }*/;
        }
    }
//% endfor
//% if one_pass
    }
//% endif
}
