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
// One workgroup is one subgroup: one output tile of one image, /*{ lanes * vectors }*/ output channels of one group.
//% set xyzw = ["x", "y", "z", "w"]
//% set taps = kh * kw
//% macro source_at(u, r, c)
//%   set i = r * pitch + c + shift
//%   set v = i // load_width
subgroupBroadcast(s/*{ u }*/_/*{ v // lanes }*//*{ "." ~ xyzw[i % 4] if load_width == 4 else "" }*/, /*{ v % lanes }*/u)
//% endmacro
//% macro weight_at(j, i)
w/*{ j }*/_/*{ i // weight_width }*//*{ "." ~ xyzw[i % 4] if weight_width == 4 else "" }*/
//% endmacro

@group(0) @binding(0) var<storage, read> source: array</*{ "vec4<f32>" if load_width == 4 else "f32" }*/>;
@group(0) @binding(1) var<storage, read> weight: array</*{ "vec4<f32>" if weight_width == 4 else "f32" }*/>;
//% if bias
@group(0) @binding(2) var<storage, read> bias: array<f32>;
//% endif
@group(0) @binding(/*{ 3 if bias else 2 }*/) var<storage, read_write> output: array</*{ "vec4<f32>" if store_width == 4 else "f32" }*/>;

//% macro load_weights()
//%   for j in range(vectors)
    let from/*{ j }*/ = own/*{ j }*/ + c * /*{ weight_reduced_stride }*/u;
//%     for i in range(taps * unroll // weight_width)
    let w/*{ j }*/_/*{ i }*/ = weight[from/*{ j }*/ / /*{ weight_width }*/u + /*{ i }*/u];
//%     endfor
//%   endfor
//% endmacro
//% set one_pass = reduced == unroll

@compute @workgroup_size(/*{ lanes }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let image = group.z;
    let channel_group = group.y / /*{ blocks }*/u;
    let block = (group.y % /*{ blocks }*/u) * /*{ lanes * vectors }*/u;
//% for j in range(vectors)
    let channel/*{ j }*/ = block + lane + /*{ j * lanes }*/u;
    // Lanes past the last channel repeat it and store nothing.
    let own/*{ j }*/ = channel_group * /*{ weight_group_stride }*/u + min(channel/*{ j }*/, /*{ out_per_group - 1 }*/u) * /*{ weight_lane_stride }*/u;
//% endfor
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

    // Where this lane's part of the source tile lies: the same in every channel, so found once.
//% for q in range(chunks)
    let v/*{ q }*/ = lane + /*{ q * lanes }*/u;
//%   if flat
    let flat/*{ q }*/ = i32(tile_y * /*{ step_y * source_w // load_width }*/u + v/*{ q }*/) + /*{ (first_y * source_w - shift) // load_width }*/;
    let at/*{ q }*/ = u32(flat/*{ q }*/);
    let inside/*{ q }*/ = v/*{ q }*/ < /*{ fetched }*/u && flat/*{ q }*/ >= 0 && flat/*{ q }*/ < /*{ source_h * source_w // load_width }*/;
//%   else
    let y/*{ q }*/ = i32(tile_y * /*{ step_y }*/u + v/*{ q }*/ / /*{ pitch // load_width }*/u) + /*{ first_y }*/;
    let x/*{ q }*/ = i32(tile_x * /*{ step_x }*/u + (v/*{ q }*/ % /*{ pitch // load_width }*/u) * /*{ load_width }*/u) + /*{ first_x - shift }*/;
    let at/*{ q }*/ = u32(y/*{ q }*/ * /*{ source_w }*/ + x/*{ q }*/) / /*{ load_width }*/u;
    let inside/*{ q }*/ = v/*{ q }*/ < /*{ fetched }*/u && y/*{ q }*/ >= 0 && y/*{ q }*/ < /*{ source_h }*/ && x/*{ q }*/ >= 0 && x/*{ q }*/ < /*{ source_w }*/;
//%   endif
//% endfor

//% for j in range(vectors)
//%   for py in range(tile_h)
//%     for px in range(tile_w)
    var sum/*{ j }*/_/*{ py }*/_/*{ px }*/ = 0.0;
//%     endfor
//%   endfor
//% endfor
//% if not one_pass
    for (var c = 0u; c < /*{ reduced }*/u; c += /*{ unroll }*/u) {
    /*{ load_weights() }*/
//% endif
//% for u in range(unroll)
    let plane/*{ u }*/ = (image * /*{ source_channels }*/u + channel_group * /*{ reduced }*/u + c + /*{ u }*/u) * /*{ source_h * source_w // load_width }*/u;
//%   for q in range(chunks)
//%     if sure and (q + 1) * lanes <= fetched
    let s/*{ u }*/_/*{ q }*/ = source[plane/*{ u }*/ + at/*{ q }*/];
//%     else
    var s/*{ u }*/_/*{ q }*/ = /*{ "vec4<f32>()" if load_width == 4 else "0.0" }*/;
    if inside/*{ q }*/ { s/*{ u }*/_/*{ q }*/ = source[plane/*{ u }*/ + at/*{ q }*/]; }
//%     endif
//%   endfor
//% endfor
//% for u in range(unroll)
//%   for r in range(rows)
//%     for k in range(cols)
        let b/*{ u }*/_/*{ r }*/_/*{ k }*/ = /*{ source_at(u, r, k) }*/;
//%     endfor
//%   endfor
//%   for j in range(vectors)
//%     for py in range(tile_h)
//%       for strip in range(0, tile_w, strip_w)
//%         for ky in range(kh)
//%           for kx in range(kw)
//%             for px in range(strip, [strip + strip_w, tile_w] | min)
//%               if row_of[py][ky] >= 0 and col_of[px][kx] >= 0
        sum/*{ j }*/_/*{ py }*/_/*{ px }*/ = fma(b/*{ u }*/_/*{ row_of[py][ky] }*/_/*{ col_of[px][kx] }*/, /*{ weight_at(j, u * taps + ky * kw + kx) }*/, sum/*{ j }*/_/*{ py }*/_/*{ px }*/);
//%               endif
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
    var results: array</*{ "vec4<f32>" if store_width == 4 else "f32" }*/, /*{ stores }*/>;
//% for j in range(vectors)
    let out_channel/*{ j }*/ = channel_group * /*{ out_per_group }*/u + min(channel/*{ j }*/, /*{ out_per_group - 1 }*/u);
    let base/*{ j }*/ = (image * /*{ out_channels }*/u + out_channel/*{ j }*/) * /*{ out_h * out_w }*/u + tile_y * /*{ tile_h * out_w }*/u + tile_x * /*{ tile_w }*/u;
//%   if bias
    let bias/*{ j }*/ = bias[out_channel/*{ j }*/];
//%   endif
//%   for i in range(stores)
//%     if store_width == 4
    results[/*{ i }*/] = vec4<f32>(
//%       for f in range(i * 4, i * 4 + 4)
        sum/*{ j }*/_/*{ f // tile_w }*/_/*{ f % tile_w }*/,
//%       endfor
    );
//%     else
    results[/*{ i }*/] = sum/*{ j }*/_/*{ i // tile_w }*/_/*{ i % tile_w }*/;
//%     endif
//%   endfor
    for (var i = image; i < image + /*{ stores }*/u; i++) {
        let at = (i - image) * /*{ store_width }*/u;
        let y = at / /*{ tile_w }*/u;
        let x = at % /*{ tile_w }*/u;
        if channel/*{ j }*/ < /*{ out_per_group }*/u
//%   if not exact_output
            && tile_y * /*{ tile_h }*/u + y < /*{ out_h }*/u && tile_x * /*{ tile_w }*/u + x < /*{ out_w }*/u
//%   endif
        {
            let value = results[i - image]/*{ " + bias" ~ j if bias }*/;
            output[(base/*{ j }*/ + y * /*{ out_w }*/u + x) / /*{ store_width }*/u] = /*{ ("max(value, vec4<f32>())" if store_width == 4 else "max(value, 0.0)") if relu else "value" }*/;
        }
    }
//% endfor
//% if one_pass
    }
//% endif
}
