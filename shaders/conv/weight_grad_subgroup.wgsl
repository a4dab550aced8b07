// Convolution's weight gradient, for adapters that run one subgroup as one CPU vector (see subgroup.wgsl for why).
//
// A lane owns output channels and reads their dy; the input tile is fetched by all lanes together and broadcast. The sums
// for /*{ tile_c }*/ input channels and every tap stay in registers over the whole share of the batch, so nothing is stored until the end.
// One workgroup is one subgroup: x = block of input channels, y = block of output channels within a group, z = share of the
// batch. With more than one share, `sum_parts.wgsl` adds them up in a fixed order.
//% set xyzw = ["x", "y", "z", "w"]
//% set taps = kh * kw
//% macro input_at(u, r, c)
//%   set i = r * pitch + c + shift
//%   set v = i // load_width
subgroupBroadcast(s/*{ u }*/_/*{ v // lanes }*//*{ "." ~ xyzw[i % 4] if load_width == 4 else "" }*/, /*{ v % lanes }*/u)
//% endmacro
struct Params {
    batch: u32,
    images_per_share: u32,
}

@group(0) @binding(0) var<storage, read> input: array</*{ "vec4<f32>" if load_width == 4 else "f32" }*/>;
@group(0) @binding(1) var<storage, read> dy: array</*{ "vec4<f32>" if dy_width == 4 else "f32" }*/>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(/*{ lanes }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let channel_group = group.y / /*{ blocks }*/u;
    let first_c = group.x * /*{ tile_c }*/u;
    let channel = (group.y % /*{ blocks }*/u) * /*{ lanes }*/u + lane;
    let out_channel = channel_group * /*{ out_per_group }*/u + min(channel, /*{ out_per_group - 1 }*/u);
//% for u in range(tile_c)
    // Channels past the last repeat it and are not stored.
    let c/*{ u }*/ = channel_group * /*{ reduced }*/u + min(first_c + /*{ u }*/u, /*{ reduced - 1 }*/u);
//%   for t in range(taps)
    var sum/*{ u }*/_/*{ t }*/ = 0.0;
//%   endfor
//% endfor

    let first = group.z * params.images_per_share;
    let last = min(first + params.images_per_share, params.batch);
    for (var task = first * /*{ tiles }*/u; task < last * /*{ tiles }*/u; task++) {
        let image = task / /*{ tiles }*/u;
        let tile_y = task % /*{ tiles }*/u / /*{ tiles_x }*/u;
        let tile_x = task % /*{ tiles_x }*/u;
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
//%   for u in range(tile_c)
//%     if sure and (q + 1) * lanes <= fetched
        let s/*{ u }*/_/*{ q }*/ = input[(image * /*{ source_channels }*/u + c/*{ u }*/) * /*{ source_h * source_w // load_width }*/u + at/*{ q }*/];
//%     else
        var s/*{ u }*/_/*{ q }*/ = /*{ "vec4<f32>()" if load_width == 4 else "0.0" }*/;
        if inside/*{ q }*/ { s/*{ u }*/_/*{ q }*/ = input[(image * /*{ source_channels }*/u + c/*{ u }*/) * /*{ source_h * source_w // load_width }*/u + at/*{ q }*/]; }
//%     endif
//%   endfor
//% endfor
        let dy_at = (image * /*{ out_channels }*/u + out_channel) * /*{ out_h * out_w }*/u + tile_y * /*{ tile_h * out_w }*/u + tile_x * /*{ tile_w }*/u;
//% for i in range(tile_h * tile_w // dy_width)
//%   set py = i * dy_width // tile_w
//%   set px = i * dy_width % tile_w
//%   if exact_output
        let d/*{ i }*/ = dy[(dy_at + /*{ py * out_w + px }*/u) / /*{ dy_width }*/u];
//%   else
        var d/*{ i }*/ = /*{ "vec4<f32>()" if dy_width == 4 else "0.0" }*/;
        if tile_y * /*{ tile_h }*/u + /*{ py }*/u < /*{ out_h }*/u && tile_x * /*{ tile_w }*/u + /*{ px }*/u < /*{ out_w }*/u { d/*{ i }*/ = dy[(dy_at + /*{ py * out_w + px }*/u) / /*{ dy_width }*/u]; }
//%   endif
//% endfor
        // Each row of dy is summed on its own before it joins the total: the driver works off one variable after the other, and
        // a single long chain of additions per tap would leave the adders waiting for one another.
//% for u in range(tile_c)
//%   for r in range(rows)
//%     for k in range(cols)
        let b/*{ u }*/_/*{ r }*/_/*{ k }*/ = /*{ input_at(u, r, k) }*/;
//%     endfor
//%   endfor
//%   for py in range(tile_h)
//%     for ky in range(kh)
//%       for kx in range(kw)
//%         if row_of[py][ky] >= 0
        var row/*{ u }*/_/*{ py }*/_/*{ ky * kw + kx }*/ = 0.0;
//%           for px in range(tile_w)
//%             set i = py * tile_w + px
//%             if col_of[px][kx] >= 0
        row/*{ u }*/_/*{ py }*/_/*{ ky * kw + kx }*/ = fma(b/*{ u }*/_/*{ row_of[py][ky] }*/_/*{ col_of[px][kx] }*/, d/*{ i // dy_width }*//*{ "." ~ xyzw[i % 4] if dy_width == 4 else "" }*/, row/*{ u }*/_/*{ py }*/_/*{ ky * kw + kx }*/);
//%             endif
//%           endfor
        sum/*{ u }*/_/*{ ky * kw + kx }*/ += row/*{ u }*/_/*{ py }*/_/*{ ky * kw + kx }*/;
//%         endif
//%       endfor
//%     endfor
//%   endfor
//% endfor
    }

    if channel < /*{ out_per_group }*/u {
        let base = (group.z * /*{ out_channels }*/u + out_channel) * /*{ reduced * taps }*/u + first_c * /*{ taps }*/u;
//% for u in range(tile_c)
        if first_c + /*{ u }*/u < /*{ reduced }*/u {
//%   for t in range(taps)
            parts[base + /*{ u * taps + t }*/u] = sum/*{ u }*/_/*{ t }*/;
//%   endfor
        }
//% endfor
    }
}
