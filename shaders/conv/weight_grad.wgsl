// Convolution's gradient with respect to its weights, for real GPUs: an implicit matrix product.
//
// w_grad[o, (c, ky, kx)] = sum over (n, oy, ox) of y_grad[n, o, oy, ox] * x[n, c, oy * stride + ky * dilation - pad, ..]. Few outputs and a very
// long sum, so the sum is cut into shares (workgroup z), each written to its own part; `sum_parts.wgsl` adds them up in a
// fixed order. Workgroups: x = /*{ tile_n }*/ (c, tap) pairs, y = /*{ tile_m }*/ output channels within a group, z = share. Extents are parameters, as
// in tile.wgsl: a thread always fetches the same pairs, and divides by them once.
//% set threads_m = tile_m // per_m
//% set threads_n = tile_n // per_n
//% set threads = threads_m * threads_n
//% set taps = kh * kw
//% set rows_at_once = threads // tile_k
struct Params {
    source_channels: u32,
    source_h: u32,
    source_w: u32,
    out_channels: u32,
    out_h: u32,
    out_w: u32,
    // Per group: input channels and output channels.
    reduced: u32,
    out_per_group: u32,
    // Workgroups in y per group.
    blocks: u32,
    // Output pixels over the batch, and per share; the latter a multiple of /*{ tile_k }*/.
    pixels: u32,
    pixels_per_share: u32,
    stride_y: u32,
    stride_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    pad_top: u32,
    pad_left: u32,
}

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> y_grad: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

var<workgroup> tile_grad: array<f32, /*{ tile_k * (tile_m + 1) }*/>;
var<workgroup> tile_x: array<f32, /*{ tile_k * (tile_n + 1) }*/>;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let channel_group = group.y / params.blocks;
    let first_m = group.y % params.blocks * /*{ tile_m }*/u;
    let first_n = group.x * /*{ tile_n }*/u;
    let own_m = thread / /*{ threads_n }*/u;
    let own_n = thread % /*{ threads_n }*/u;
    let out_area = params.out_h * params.out_w;
    let source_area = params.source_h * params.source_w;
    let pairs = params.reduced * /*{ taps }*/u;
    // What this thread fetches: one pixel of each tile, of these channels and pairs.
    let kk = thread % /*{ tile_k }*/u;
    let row = thread / /*{ tile_k }*/u;
//% for r in range(tile_m // rows_at_once)
    let grad_plane/*{ r }*/ = (channel_group * params.out_per_group + min(first_m + row + /*{ r * rows_at_once }*/u, params.out_per_group - 1u)) * out_area;
//% endfor
//% for r in range(tile_n // rows_at_once)
    let pair/*{ r }*/ = min(first_n + row + /*{ r * rows_at_once }*/u, pairs - 1u);
    let plane/*{ r }*/ = (channel_group * params.reduced + pair/*{ r }*/ / /*{ taps }*/u) * source_area;
    let tap_y/*{ r }*/ = i32(pair/*{ r }*/ % /*{ taps }*/u / /*{ kw }*/u * params.dilation_y) - i32(params.pad_top);
    let tap_x/*{ r }*/ = i32(pair/*{ r }*/ % /*{ kw }*/u * params.dilation_x) - i32(params.pad_left);
//% endfor
//% for i in range(per_m)
//%   for j in range(per_n)
    var sum/*{ i }*/_/*{ j }*/ = 0.0;
//%   endfor
//% endfor

    let first = group.z * params.pixels_per_share;
    let end = min(first + params.pixels_per_share, params.pixels);
    for (var k = first; k < end; k += /*{ tile_k }*/u) {
        let p = min(k + kk, end - 1u);
        let image = p / out_area;
        let at = p % out_area;
        let grad_at = image * params.out_channels * out_area + at;
        let image_at = image * params.source_channels * source_area;
        let from_y = i32(at / params.out_w * params.stride_y);
        let from_x = i32(at % params.out_w * params.stride_x);
//% for r in range(tile_m // rows_at_once)
        tile_grad[kk * /*{ tile_m + 1 }*/u + row + /*{ r * rows_at_once }*/u] = select(0.0, y_grad[grad_at + grad_plane/*{ r }*/], k + kk < end);
//% endfor
//% for r in range(tile_n // rows_at_once)
        {
            let y = from_y + tap_y/*{ r }*/;
            let x = from_x + tap_x/*{ r }*/;
            // A negative place is a large number without its sign.
            let inside = (k + kk < end) & (u32(y) < params.source_h) & (u32(x) < params.source_w);
            let at = image_at + plane/*{ r }*/ + u32(y) * params.source_w + u32(x);
            tile_x[kk * /*{ tile_n + 1 }*/u + row + /*{ r * rows_at_once }*/u] = select(0.0, input[select(0u, at, inside)], inside);
        }
//% endfor
        workgroupBarrier();
        for (var kk = 0u; kk < /*{ tile_k }*/u; kk++) {
//% for i in range(per_m)
            let a/*{ i }*/ = tile_grad[kk * /*{ tile_m + 1 }*/u + own_m + /*{ i * threads_m }*/u];
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
    if m/*{ i }*/ < params.out_per_group {
        let base = (group.z * params.out_channels + channel_group * params.out_per_group + m/*{ i }*/) * pairs;
//%   for j in range(per_n)
        let n/*{ j }*/ = first_n + own_n + /*{ j * threads_n }*/u;
        if n/*{ j }*/ < pairs { parts[base + n/*{ j }*/] = sum/*{ i }*/_/*{ j }*/; }
//%   endfor
    }
//% endfor
}
