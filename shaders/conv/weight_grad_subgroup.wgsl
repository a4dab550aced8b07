// Convolution's weight gradient, for adapters that run one subgroup as one CPU vector (see subgroup.wgsl for why).
//
// A lane owns /*{ vectors }*/ output channels and reads their y_grad; the input tiles are fetched by all lanes together and broadcast. The sums for
// /*{ tile_c }*/ input channels and every tap that meets the image stay in registers over the whole share of the batch, so nothing is
// stored until the end. A turn of the loop takes the same tile of /*{ images }*/ images.
// One workgroup is one subgroup: x = block of input channels, y = block of output channels within a group, z = share of the
// batch. With more than one share, `sum_parts.wgsl` adds them up in a fixed order.
//% set xyzw = ["x", "y", "z", "w"]
//% set taps = kh * kw
//% set plane_of_source = source_h * source_w // load_width
//% macro input_at(u, i, r, c)
//%   set at = (u * images + i) * fetched * load_width + r * pitch + c + shift
//%   set v = at // load_width
subgroupBroadcast(s/*{ v // lanes }*//*{ "." ~ xyzw[at % 4] if load_width == 4 else "" }*/, /*{ v % lanes }*/u)
//% endmacro
struct Params {
    batch: u32,
    // A multiple of /*{ images }*/.
    images_per_share: u32,
    source_channels: u32,
    out_channels: u32,
    // Per group: input channels, and output channels.
    reduced: u32,
    out_per_group: u32,
    // Workgroups in y per group.
    blocks: u32,
}

@group(0) @binding(0) var<storage, read> input: array</*{ "vec4<f32>" if load_width == 4 else "f32" }*/>;
@group(0) @binding(1) var<storage, read> y_grad: array</*{ "vec4<f32>" if grad_width == 4 else "f32" }*/>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(/*{ lanes }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let channel_group = group.y / params.blocks;
    let first_c = group.x * /*{ tile_c }*/u;
    let last_c = params.reduced - 1u;
    let last_channel = params.out_per_group - 1u;
//% for j in range(vectors)
    let channel/*{ j }*/ = (group.y % params.blocks) * /*{ lanes * vectors }*/u + lane + /*{ j * lanes }*/u;
    // Lanes past the last channel repeat it and store nothing.
    let out_channel/*{ j }*/ = channel_group * params.out_per_group + min(channel/*{ j }*/, last_channel);
//%   for u in range(tile_c)
//%     for t in live
    var sum/*{ j }*/_/*{ u }*/_/*{ t }*/ = 0.0;
//%     endfor
//%   endfor
//% endfor
    // Which part of the input tiles a lane fetches: of which channel, which image, and where in the tile. Channels past the
    // last repeat it and are not stored.
//% for q in range(chunks)
    let v/*{ q }*/ = (lane + /*{ q * lanes }*/u) % /*{ fetched }*/u;
    let own_image/*{ q }*/ = (lane + /*{ q * lanes }*/u) / /*{ fetched }*/u % /*{ images }*/u;
    let c/*{ q }*/ = (channel_group * params.reduced + min(first_c + (lane + /*{ q * lanes }*/u) / /*{ fetched * images }*/u, last_c)) * /*{ plane_of_source }*/u;
//% endfor

    let first = group.z * params.images_per_share;
    let end = min(first + params.images_per_share, params.batch);
    let tasks = (end - first + /*{ images - 1 }*/u) / /*{ images }*/u * /*{ tiles }*/u;
    for (var task = 0u; task < tasks; task++) {
        let image = first + task / /*{ tiles }*/u * /*{ images }*/u;
        let tile_y = task % /*{ tiles }*/u / /*{ tiles_x }*/u;
        let tile_x = task % /*{ tiles_x }*/u;
//% for q in range(chunks)
        let from/*{ q }*/ = min(image + own_image/*{ q }*/, end - 1u) * params.source_channels * /*{ plane_of_source }*/u + c/*{ q }*/;
//%   if flat
        let flat/*{ q }*/ = i32(tile_y * /*{ step_y * source_w // load_width }*/u + v/*{ q }*/) + /*{ (first_y * source_w - shift) // load_width }*/;
        let at/*{ q }*/ = from/*{ q }*/ + u32(flat/*{ q }*/);
        // A negative place is a large number without its sign.
        let inside/*{ q }*/ = u32(flat/*{ q }*/) < /*{ plane_of_source }*/u;
//%   else
        let y/*{ q }*/ = i32(tile_y * /*{ step_y }*/u + v/*{ q }*/ / /*{ pitch // load_width }*/u) + /*{ first_y }*/;
        let x/*{ q }*/ = i32(tile_x * /*{ step_x }*/u + (v/*{ q }*/ % /*{ pitch // load_width }*/u) * /*{ load_width }*/u) + /*{ first_x - shift }*/;
        let at/*{ q }*/ = from/*{ q }*/ + u32(y/*{ q }*/ * /*{ source_w }*/ + x/*{ q }*/) / /*{ load_width }*/u;
        // A negative place is a large number without its sign.
        let inside/*{ q }*/ = (u32(y/*{ q }*/) < /*{ source_h }*/u) & (u32(x/*{ q }*/) < /*{ source_w }*/u);
//%   endif
//%   if sure
        let s/*{ q }*/ = input[at/*{ q }*/];
//%   else
        var s/*{ q }*/ = /*{ "vec4<f32>()" if load_width == 4 else "0.0" }*/;
        if inside/*{ q }*/ { s/*{ q }*/ = input[at/*{ q }*/]; }
//%   endif
//% endfor
        let tile_at = tile_y * /*{ tile_h * out_w }*/u + tile_x * /*{ tile_w }*/u;
//% for j in range(vectors)
//%   for i in range(images)
        let plane/*{ j }*/_/*{ i }*/ = (min(image + /*{ i }*/u, end - 1u) * params.out_channels + out_channel/*{ j }*/) * /*{ out_h * out_w }*/u + tile_at;
//%     for k in range(tile_h * tile_w // grad_width)
//%       set py = k * grad_width // tile_w
//%       set px = k * grad_width % tile_w
//%       if exact_output
//%         set value = "y_grad[(plane" ~ j ~ "_" ~ i ~ " + " ~ (py * out_w + px) ~ "u) / " ~ grad_width ~ "u]"
        // Images past the end of the share count for nothing.
        let d/*{ j }*/_/*{ i }*/_/*{ k }*/ = /*{ value if i == 0 else "select(" ~ ("vec4<f32>()" if grad_width == 4 else "0.0") ~ ", " ~ value ~ ", image + " ~ i ~ "u < end)" }*/;
//%       else
        var d/*{ j }*/_/*{ i }*/_/*{ k }*/ = /*{ "vec4<f32>()" if grad_width == 4 else "0.0" }*/;
        if (image + /*{ i }*/u < end) & (tile_y * /*{ tile_h }*/u + /*{ py }*/u < /*{ out_h }*/u) & (tile_x * /*{ tile_w }*/u + /*{ px }*/u < /*{ out_w }*/u) { d/*{ j }*/_/*{ i }*/_/*{ k }*/ = y_grad[(plane/*{ j }*/_/*{ i }*/ + /*{ py * out_w + px }*/u) / /*{ grad_width }*/u]; }
//%       endif
//%     endfor
//%   endfor
//% endfor
        // A few rows of y_grad are summed on their own before they join the total: the driver works off one variable after the
        // other, and a single long chain of additions per tap would leave the adders waiting for one another.
//% for u in range(tile_c)
//%   for i in range(images)
//%     for r in used_rows
//%       for k in used_cols
        let b/*{ u }*/_/*{ i }*/_/*{ r }*/_/*{ k }*/ = /*{ input_at(u, i, r, k) }*/;
//%       endfor
//%     endfor
//%   endfor
//%   for j in range(vectors)
//%     for first_row in range(0, images * tile_h, chain)
//%       set last_row = [first_row + chain, images * tile_h] | min
//%       for t in live
        var row/*{ j }*/_/*{ u }*/_/*{ first_row }*/_/*{ t }*/ = 0.0;
//%         for row in range(first_row, last_row)
//%           set i = row // tile_h
//%           set py = row % tile_h
//%           for px in range(tile_w)
//%             set k = py * tile_w + px
//%             if row_of[py][t // kw] >= 0 and col_of[px][t % kw] >= 0
        row/*{ j }*/_/*{ u }*/_/*{ first_row }*/_/*{ t }*/ = fma(b/*{ u }*/_/*{ i }*/_/*{ row_of[py][t // kw] }*/_/*{ col_of[px][t % kw] }*/, d/*{ j }*/_/*{ i }*/_/*{ k // grad_width }*//*{ "." ~ xyzw[k % 4] if grad_width == 4 else "" }*/, row/*{ j }*/_/*{ u }*/_/*{ first_row }*/_/*{ t }*/);
//%             endif
//%           endfor
//%         endfor
        sum/*{ j }*/_/*{ u }*/_/*{ t }*/ += row/*{ j }*/_/*{ u }*/_/*{ first_row }*/_/*{ t }*/;
//%       endfor
//%     endfor
//%   endfor
//% endfor
    }

    // One store in a loop, as in subgroup.wgsl. A tap that meets no pixel has no gradient.
    var results: array<f32, /*{ tile_c * taps }*/>;
    let stores = min(/*{ tile_c }*/u, params.reduced - first_c) * /*{ taps }*/u;
//% for j in range(vectors)
//%   for u in range(tile_c)
//%     for t in range(taps)
    results[/*{ u * taps + t }*/] = /*{ "sum" ~ j ~ "_" ~ u ~ "_" ~ t if t in live else "0.0" }*/;
//%     endfor
//%   endfor
    if channel/*{ j }*/ <= last_channel {
        let base = ((group.z * params.out_channels + out_channel/*{ j }*/) * params.reduced + first_c) * /*{ taps }*/u;
        for (var i = first; i < first + stores; i++) {
            parts[base + i - first] = results[i - first];
        }
    }
//% endfor
}
