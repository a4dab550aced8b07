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

@compute @workgroup_size(/*{ lanes }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let image = group.z;
    let tile_y = group.x / /*{ tiles_x }*/u;
    let tile_x = group.x % /*{ tiles_x }*/u;
    let channel_group = group.y / /*{ blocks }*/u;
    let block = (group.y % /*{ blocks }*/u) * /*{ lanes * vectors }*/u;

    // Where this lane's part of the source tile lies: the same in every channel, so found once.
//% for q in range(chunks)
    let v/*{ q }*/ = lane + /*{ q * lanes }*/u;
//%   if plane
    let at/*{ q }*/ = v/*{ q }*/;
    let inside/*{ q }*/ = v/*{ q }*/ < /*{ source_h * source_w // load_width }*/u;
//%   else
    let y/*{ q }*/ = i32(tile_y * /*{ step_y }*/u + v/*{ q }*/ / /*{ pitch // load_width }*/u) + /*{ first_y }*/;
    let x/*{ q }*/ = i32(tile_x * /*{ step_x }*/u + (v/*{ q }*/ % /*{ pitch // load_width }*/u) * /*{ load_width }*/u) + /*{ first_x - shift }*/;
    let at/*{ q }*/ = u32(y/*{ q }*/ * /*{ source_w }*/ + x/*{ q }*/) / /*{ load_width }*/u;
    let inside/*{ q }*/ = v/*{ q }*/ < /*{ rows * pitch // load_width }*/u && y/*{ q }*/ >= 0 && y/*{ q }*/ < /*{ source_h }*/ && x/*{ q }*/ >= 0 && x/*{ q }*/ < /*{ source_w }*/;
//%   endif
//% endfor

//% for j in range(vectors)
    let channel/*{ j }*/ = block + lane + /*{ j * lanes }*/u;
    // Lanes past the last channel repeat it and store nothing.
    let own/*{ j }*/ = channel_group * /*{ weight_group_stride }*/u + min(channel/*{ j }*/, /*{ out_per_group - 1 }*/u) * /*{ weight_lane_stride }*/u;
//%   for py in range(tile_h)
//%     for px in range(tile_w)
    var sum/*{ j }*/_/*{ py }*/_/*{ px }*/ = 0.0;
//%     endfor
//%   endfor
//% endfor

    for (var c = 0u; c < /*{ reduced }*/u; c += /*{ unroll }*/u) {
//% for u in range(unroll)
        let plane/*{ u }*/ = (image * /*{ source_channels }*/u + channel_group * /*{ reduced }*/u + c + /*{ u }*/u) * /*{ source_h * source_w // load_width }*/u;
//%   for q in range(chunks)
//%     if exact_source
        let s/*{ u }*/_/*{ q }*/ = source[plane/*{ u }*/ + at/*{ q }*/];
//%     else
        var s/*{ u }*/_/*{ q }*/ = /*{ "vec4<f32>()" if load_width == 4 else "0.0" }*/;
        if inside/*{ q }*/ { s/*{ u }*/_/*{ q }*/ = source[plane/*{ u }*/ + at/*{ q }*/]; }
//%     endif
//%   endfor
//% endfor
//% for j in range(vectors)
        let from/*{ j }*/ = own/*{ j }*/ + c * /*{ weight_reduced_stride }*/u;
//%   for i in range(taps * unroll // weight_width)
        let w/*{ j }*/_/*{ i }*/ = weight[from/*{ j }*/ / /*{ weight_width }*/u + /*{ i }*/u];
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
//%       for px in range(tile_w)
//%         for ky in range(kh)
//%           for kx in range(kw)
//%             if row_of[py][ky] >= 0 and col_of[px][kx] >= 0
        sum/*{ j }*/_/*{ py }*/_/*{ px }*/ = fma(b/*{ u }*/_/*{ row_of[py][ky] }*/_/*{ col_of[px][kx] }*/, /*{ weight_at(j, u * taps + ky * kw + kx) }*/, sum/*{ j }*/_/*{ py }*/_/*{ px }*/);
//%             endif
//%           endfor
//%         endfor
//%       endfor
//%     endfor
//%   endfor
//% endfor
    }

//% for j in range(vectors)
    if channel/*{ j }*/ < /*{ out_per_group }*/u {
        let out_channel = channel_group * /*{ out_per_group }*/u + channel/*{ j }*/;
//%   if bias
        let add = bias[out_channel];
//%   else
        let add = 0.0;
//%   endif
        let base = (image * /*{ out_channels }*/u + out_channel) * /*{ out_h * out_w }*/u;
//%   for i in range(tile_h * tile_w // store_width)
//%     set py = i * store_width // tile_w
//%     set px = i * store_width % tile_w
//%     set value
//%       if store_width == 4
vec4<f32>(
//%        for e in range(4)
//%           set f = i * 4 + e
sum/*{ j }*/_/*{ f // tile_w }*/_/*{ f % tile_w }*/,
//%        endfor
) + add
//%      else
sum/*{ j }*/_/*{ py }*/_/*{ px }*/ + add
//%      endif
//%     endset
//%     if not exact_output
        if tile_y * /*{ tile_h }*/u + /*{ py }*/u < /*{ out_h }*/u && tile_x * /*{ tile_w }*/u + /*{ px }*/u < /*{ out_w }*/u
//%     endif
        { output[(base + (tile_y * /*{ tile_h }*/u + /*{ py }*/u) * /*{ out_w }*/u + tile_x * /*{ tile_w }*/u + /*{ px }*/u) / /*{ store_width }*/u] = /*{ "max(" ~ value ~ ", " ~ ("vec4<f32>()" if store_width == 4 else "0.0") ~ ")" if relu else value }*/; }
//%   endfor
    }
//% endfor
}
