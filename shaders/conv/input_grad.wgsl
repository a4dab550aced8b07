// Convolution's gradient with respect to its input, direct and in gather form, for any stride, dilation and grouping.
//
// A thread owns /*{ tile_w }*/ neighbouring input pixels of one row (a multiple of the stride, so that which taps meet which pixel is known
// here and not at run time) and /*{ tile_c }*/ input channels. x_grad[iy, ix] = sum over o, ky, kx of y_grad[o, oy, ox] w[o, c, ky, kx] where
// oy * stride + ky * dilation - pad = iy, and the same in x.
// Workgroups: x = strips of one image, y = block of input channels within a group, z = image.
@group(0) @binding(0) var<storage, read> y_grad: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> x_grad: array<f32>;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let strip = group.x * /*{ threads }*/u + thread;
    let iy = strip / /*{ strips }*/u;
    let ix = strip % /*{ strips }*/u * /*{ tile_w }*/u;
    let channel_group = group.y / /*{ blocks }*/u;
    let block = group.y % /*{ blocks }*/u * /*{ tile_c }*/u;
//% for j in range(tile_c)
    // Channels past the last repeat it and are not stored.
    let weights/*{ j }*/ = min(block + /*{ j }*/u, /*{ out_per_group - 1 }*/u) * /*{ kh * kw }*/u;
//%   for px in range(tile_w)
    var sum/*{ j }*/_/*{ px }*/ = 0.0;
//%   endfor
//% endfor
    let left = i32(ix / /*{ stride_x }*/u) + /*{ first_x }*/;
    for (var o = channel_group * /*{ reduced }*/u; o < (channel_group + 1u) * /*{ reduced }*/u; o++) {
        let plane = (group.z * /*{ source_channels }*/u + o) * /*{ source_h * source_w }*/u;
        for (var ky = 0u; ky < /*{ kh }*/u; ky++) {
            let t = i32(iy) + /*{ pad_top }*/ - i32(ky * /*{ dilation_y }*/u);
            let row_inside = (t >= 0) & (t % /*{ stride_y }*/ == 0) & (t / /*{ stride_y }*/ < /*{ source_h }*/);
            // A column left of the first is a large number without its sign.
            let row = plane + u32(clamp(t / /*{ stride_y }*/, 0, /*{ source_h - 1 }*/)) * /*{ source_w }*/u;
//% for k in columns
            let g/*{ k }*/ = select(0.0, y_grad[row + u32(clamp(left + /*{ k }*/, 0, /*{ source_w - 1 }*/))], row_inside & (u32(left + /*{ k }*/) < /*{ source_w }*/u));
//% endfor
            let tap = o * /*{ out_per_group * kh * kw }*/u + ky * /*{ kw }*/u;
//% for j in range(tile_c)
//%   for kx in range(kw)
            let w/*{ j }*/_/*{ kx }*/ = weight[weights/*{ j }*/ + tap + /*{ kx }*/u];
//%   endfor
//%   for px in range(tile_w)
//%     for kx in range(kw)
//%       if col_of[px][kx] >= 0
            sum/*{ j }*/_/*{ px }*/ = fma(g/*{ col_of[px][kx] }*/, w/*{ j }*/_/*{ kx }*/, sum/*{ j }*/_/*{ px }*/);
//%       endif
//%     endfor
//%   endfor
//% endfor
        }
    }

    if iy < /*{ out_h }*/u {
//% for j in range(tile_c)
        if block + /*{ j }*/u < /*{ out_per_group }*/u {
            let base = ((group.z * /*{ out_channels }*/u + channel_group * /*{ out_per_group }*/u + block + /*{ j }*/u) * /*{ out_h }*/u + iy) * /*{ out_w }*/u + ix;
//%   for px in range(tile_w)
            if ix + /*{ px }*/u < /*{ out_w }*/u { x_grad[base + /*{ px }*/u] = sum/*{ j }*/_/*{ px }*/; }
//%   endfor
        }
//% endfor
    }
}
