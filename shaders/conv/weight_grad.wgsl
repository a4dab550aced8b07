// Convolution's gradient with respect to its weights, for real GPUs: an implicit matrix product.
//
// dW[o, (c, ky, kx)] = sum over (n, oy, ox) of dy[n, o, oy, ox] * x[n, c, oy * stride + ky * dilation - pad, ..]. Few outputs and a very
// long sum, so the sum is cut into shares (workgroup z), each written to its own part; `sum_parts.wgsl` adds them up in a
// fixed order. Workgroups: x = /*{ tile_n }*/ (c, tap) pairs, y = /*{ tile_m }*/ output channels within a group, z = share.
//% set threads_m = tile_m // per_m
//% set threads_n = tile_n // per_n
//% set threads = threads_m * threads_n
//% set taps = kh * kw
//% set pairs = reduced * taps
struct Params {
    batch: u32,
    // Output pixels (over the batch) per share; a multiple of /*{ tile_k }*/.
    pixels_per_share: u32,
}

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> tile_dy: array<f32, /*{ tile_k * (tile_m + 1) }*/>;
var<workgroup> tile_x: array<f32, /*{ tile_k * (tile_n + 1) }*/>;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let channel_group = group.y / /*{ blocks }*/u;
    let first_m = group.y % /*{ blocks }*/u * /*{ tile_m }*/u;
    let first_n = group.x * /*{ tile_n }*/u;
    let own_m = thread / /*{ threads_n }*/u;
    let own_n = thread % /*{ threads_n }*/u;
//% for i in range(per_m)
//%   for j in range(per_n)
    var sum/*{ i }*/_/*{ j }*/ = 0.0;
//%   endfor
//% endfor

    let pixels = params.batch * /*{ out_h * out_w }*/u;
    let first = group.z * params.pixels_per_share;
    let end = min(first + params.pixels_per_share, pixels);
    for (var k = first; k < end; k += /*{ tile_k }*/u) {
        for (var i = thread; i < /*{ tile_k * tile_m }*/u; i += /*{ threads }*/u) {
            let kk = i % /*{ tile_k }*/u;
            let mm = i / /*{ tile_k }*/u;
            let p = min(k + kk, pixels - 1u);
            let o = channel_group * /*{ out_per_group }*/u + min(first_m + mm, /*{ out_per_group - 1 }*/u);
            let value = dy[(p / /*{ out_h * out_w }*/u * /*{ out_channels }*/u + o) * /*{ out_h * out_w }*/u + p % /*{ out_h * out_w }*/u];
            tile_dy[kk * /*{ tile_m + 1 }*/u + mm] = select(0.0, value, k + kk < end);
        }
        for (var i = thread; i < /*{ tile_k * tile_n }*/u; i += /*{ threads }*/u) {
            let kk = i % /*{ tile_k }*/u;
            let pair = min(first_n + i / /*{ tile_k }*/u, /*{ pairs - 1 }*/u);
            let p = min(k + kk, pixels - 1u);
            let oy = p % /*{ out_h * out_w }*/u / /*{ out_w }*/u;
            let ox = p % /*{ out_w }*/u;
            let c = channel_group * /*{ reduced }*/u + pair / /*{ taps }*/u;
            let y = i32(oy * /*{ stride_y }*/u + pair % /*{ taps }*/u / /*{ kw }*/u * /*{ dilation_y }*/u) - /*{ pad_top }*/;
            let x = i32(ox * /*{ stride_x }*/u + pair % /*{ kw }*/u * /*{ dilation_x }*/u) - /*{ pad_left }*/;
            let inside = y >= 0 && y < /*{ source_h }*/ && x >= 0 && x < /*{ source_w }*/;
            let row = ((p / /*{ out_h * out_w }*/u * /*{ source_channels }*/u + c) * /*{ source_h }*/u + u32(clamp(y, 0, /*{ source_h - 1 }*/))) * /*{ source_w }*/u;
            tile_x[kk * /*{ tile_n + 1 }*/u + i / /*{ tile_k }*/u] = select(0.0, input[row + u32(clamp(x, 0, /*{ source_w - 1 }*/))], inside);
        }
        workgroupBarrier();
        for (var kk = 0u; kk < /*{ tile_k }*/u; kk++) {
//% for i in range(per_m)
            let a/*{ i }*/ = tile_dy[kk * /*{ tile_m + 1 }*/u + own_m + /*{ i * threads_m }*/u];
//% endfor
//% for j in range(per_n)
            let b/*{ j }*/ = tile_x[kk * /*{ tile_n + 1 }*/u + own_n + /*{ j * threads_n }*/u];
//% endfor
//% for i in range(per_m)
//%   for j in range(per_n)
            sum/*{ i }*/_/*{ j }*/ = fma(a/*{ i }*/, b/*{ j }*/, sum/*{ i }*/_/*{ j }*/);
//%   endfor
//% endfor
        }
        workgroupBarrier();
    }

//% for i in range(per_m)
    let m/*{ i }*/ = first_m + own_m + /*{ i * threads_m }*/u;
    if m/*{ i }*/ < /*{ out_per_group }*/u {
        let base = (group.z * /*{ out_channels }*/u + channel_group * /*{ out_per_group }*/u + m/*{ i }*/) * /*{ pairs }*/u;
//%   for j in range(per_n)
        let n/*{ j }*/ = first_n + own_n + /*{ j * threads_n }*/u;
        if n/*{ j }*/ < /*{ pairs }*/u { parts[base + n/*{ j }*/] = sum/*{ i }*/_/*{ j }*/; }
//%   endfor
    }
//% endfor
}
