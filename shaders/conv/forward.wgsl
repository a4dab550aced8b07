// Convolution, direct: for few channels per group, and wherever no better variant fits.
//
// A thread owns /*{ tile_w }*/ neighbouring outputs of one row and /*{ tile_c }*/ output channels. The row of inputs under a kernel row is fetched
// once and used by every tap and channel; weights have the same address in the whole workgroup, which GPUs fetch once.
// Workgroups: x = strips of one image, y = block of output channels within a group, z = image.
@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
//% if bias
@group(0) @binding(2) var<storage, read> bias: array<f32>;
//% endif
@group(0) @binding(/*{ 3 if bias else 2 }*/) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let strip = group.x * /*{ threads }*/u + thread;
    let oy = strip / /*{ strips }*/u;
    let ox = strip % /*{ strips }*/u * /*{ tile_w }*/u;
    let channel_group = group.y / /*{ blocks }*/u;
    let block = group.y % /*{ blocks }*/u * /*{ tile_c }*/u;
//% for j in range(tile_c)
    // Channels past the last repeat it and are not stored.
    let weights/*{ j }*/ = (channel_group * /*{ out_per_group }*/u + min(block + /*{ j }*/u, /*{ out_per_group - 1 }*/u)) * /*{ reduced * kh * kw }*/u;
//%   for px in range(tile_w)
    var sum/*{ j }*/_/*{ px }*/ = 0.0;
//%   endfor
//% endfor
    let left = i32(ox * /*{ stride_x }*/u) + /*{ first_x }*/;
    for (var c = 0u; c < /*{ reduced }*/u; c++) {
        let plane = (group.z * /*{ source_channels }*/u + channel_group * /*{ reduced }*/u + c) * /*{ source_h * source_w }*/u;
        for (var ky = 0u; ky < /*{ kh }*/u; ky++) {
            let y = i32(oy * /*{ stride_y }*/u + ky * /*{ dilation_y }*/u) - /*{ pad_top }*/;
            // A negative place is a large number without its sign.
            let row_inside = u32(y) < /*{ source_h }*/u;
            let row = plane + u32(clamp(y, 0, /*{ source_h - 1 }*/)) * /*{ source_w }*/u;
            // Held inside the row and dropped where the padding is: a select costs less than a branch.
//% for k in columns
            let x/*{ k }*/ = select(0.0, input[row + u32(clamp(left + /*{ k }*/, 0, /*{ source_w - 1 }*/))], row_inside & (u32(left + /*{ k }*/) < /*{ source_w }*/u));
//% endfor
            let tap = (c * /*{ kh }*/u + ky) * /*{ kw }*/u;
//% for j in range(tile_c)
//%   for kx in range(kw)
            let w/*{ j }*/_/*{ kx }*/ = weight[weights/*{ j }*/ + tap + /*{ kx }*/u];
//%   endfor
//%   for px in range(tile_w)
//%     for kx in range(kw)
            sum/*{ j }*/_/*{ px }*/ = fma(x/*{ col_of[px][kx] }*/, w/*{ j }*/_/*{ kx }*/, sum/*{ j }*/_/*{ px }*/);
//%     endfor
//%   endfor
//% endfor
        }
    }

    if oy < /*{ out_h }*/u {
//% for j in range(tile_c)
        if block + /*{ j }*/u < /*{ out_per_group }*/u {
            let out_channel = channel_group * /*{ out_per_group }*/u + block + /*{ j }*/u;
            let base = ((group.z * /*{ out_channels }*/u + out_channel) * /*{ out_h }*/u + oy) * /*{ out_w }*/u + ox;
//%   if bias
            let add = bias[out_channel];
//%   else
            let add = 0.0;
//%   endif
//%   for px in range(tile_w)
            if ox + /*{ px }*/u < /*{ out_w }*/u { output[base + /*{ px }*/u] = /*{ "max(" if relu }*/sum/*{ j }*/_/*{ px }*/ + add/*{ ", 0.0)" if relu }*/; }
//%   endfor
        }
//% endfor
    }
}
