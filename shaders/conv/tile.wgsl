// Convolution forward and its input gradient, for real GPUs: an implicit matrix product.
//
// Rows are output channels of a group, columns are output pixels over the whole batch, and the sum runs over (source
// channel, tap). /*{ tile_m }*/x/*{ tile_n }*/ results per workgroup of /*{ tile_m // per_m }*/x/*{ tile_n // per_n }*/ threads; operands are staged in workgroup memory as in gemm/tile.wgsl,
// the patches of the source being gathered on the way. Extents are parameters, so that all layers with the same kernel
// share a pipeline: a thread divides by them once, for the column whose source it fetches, and once for each result.
//
// Forward, tap j of output pixel q meets the source at q * stride + j * dilation - pad. The input gradient is the same
// sum with the roles exchanged. Its pixels with stride s fall into s phases along each axis that meet different taps: pixel
// q * s + phase meets tap first + j * s at (phase + pad) / s + q - j, first being (phase + pad) % s. A workgroup has pixels
// of one phase.
//% set threads_m = tile_m // per_m
//% set threads_n = tile_n // per_n
//% set threads = threads_m * threads_n
//% set taps = taps_y * taps_x
//% set rows_at_once = threads // tile_n
struct Params {
    source_channels: u32,
    source_h: u32,
    source_w: u32,
    out_channels: u32,
    out_h: u32,
    out_w: u32,
    // Output pixels of one phase: along y, along x, over the batch.
    phase_h: u32,
    phase_w: u32,
    pixels: u32,
    // Per group: source channels that are summed over, output channels.
    reduced: u32,
    out_per_group: u32,
    // Workgroups per group for its output channels, and over all groups.
    blocks: u32,
    all_blocks: u32,
    // How much of the sum one share adds up; a multiple of /*{ tile_k }*/.
    k_per_share: u32,
    // Results of one share.
    results: u32,
    stride_y: u32,
    stride_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    pad_top: u32,
    pad_left: u32,
}

@group(0) @binding(0) var<storage, read> source: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
//% if bias
@group(0) @binding(2) var<storage, read> bias: array<f32>;
//% endif
@group(0) @binding(/*{ 3 if bias else 2 }*/) var<storage, read_write> output: array<f32>;
@group(0) @binding(/*{ 4 if bias else 3 }*/) var<uniform> params: Params;

var<workgroup> tile_w: array<f32, /*{ tile_k * (tile_m + 1) }*/>;
var<workgroup> tile_s: array<f32, /*{ tile_k * tile_n }*/>;

@compute @workgroup_size(/*{ threads }*/)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    // More columns than one dimension of a dispatch holds go on in y.
    let first_n = (group.y / params.all_blocks * groups.x + group.x) * /*{ tile_n }*/u;
    let channel_group = group.y % params.all_blocks / params.blocks;
    let first_m = group.y % params.blocks * /*{ tile_m }*/u;
    let share = group.z / /*{ phases_y * phases_x }*/u;
    let phase_y = group.z % /*{ phases_y * phases_x }*/u / /*{ phases_x }*/u;
    let phase_x = group.z % /*{ phases_x }*/u;
    let own_m = thread / /*{ threads_n }*/u;
    let own_n = thread % /*{ threads_n }*/u;
    let phase_area = params.phase_h * params.phase_w;
    let source_area = params.source_h * params.source_w;

    // The column whose source this thread fetches.
    let pixel = min(first_n + thread % /*{ tile_n }*/u, params.pixels - 1u);
    let pixel_y = i32(pixel % phase_area / params.phase_w);
    let pixel_x = i32(pixel % params.phase_w);
//% if direction == "forward"
    let from_y = pixel_y * i32(params.stride_y) - i32(params.pad_top);
    let from_x = pixel_x * i32(params.stride_x) - i32(params.pad_left);
//% else
    let from_y = pixel_y + i32((phase_y + params.pad_top) / /*{ phases_y }*/u);
    let from_x = pixel_x + i32((phase_x + params.pad_left) / /*{ phases_x }*/u);
    let first_tap_y = (phase_y + params.pad_top) % /*{ phases_y }*/u;
    let first_tap_x = (phase_x + params.pad_left) % /*{ phases_x }*/u;
//% endif
    let planes = pixel / phase_area * params.source_channels + channel_group * params.reduced;
//% for i in range(per_m)
//%   for j in range(per_n)
    var c/*{ i }*/_/*{ j }*/ = 0.0;
//%   endfor
//% endfor

    let first_k = share * params.k_per_share;
    let end = min(first_k + params.k_per_share, params.reduced * /*{ taps }*/u);
    for (var k = first_k; k < end; k += /*{ tile_k }*/u) {
        // Indices past an edge are held inside and their values dropped: a select costs less than a branch.
//% for r in range(tile_k * tile_m // threads)
        {
//%   if direction == "forward"
            // Along the sum weights are contiguous.
            let kk = (thread + /*{ r * threads }*/u) % /*{ tile_k }*/u;
            let mm = (thread + /*{ r * threads }*/u) / /*{ tile_k }*/u;
            let at = (channel_group * params.out_per_group + min(first_m + mm, params.out_per_group - 1u)) * params.reduced * /*{ taps }*/u + min(k + kk, end - 1u);
            tile_w[kk * /*{ tile_m + 1 }*/u + mm] = select(0.0, weight[at], k + kk < end);
//%   else
            let kk = (thread + /*{ r * threads }*/u) / /*{ tile_m }*/u;
            let mm = (thread + /*{ r * threads }*/u) % /*{ tile_m }*/u;
            let term = min(k + kk, end - 1u);
            let tap_y = first_tap_y + term % /*{ taps }*/u / /*{ taps_x }*/u * /*{ phases_y }*/u;
            let tap_x = first_tap_x + term % /*{ taps_x }*/u * /*{ phases_x }*/u;
            let source_channel = channel_group * params.reduced + term / /*{ taps }*/u;
            let at = (source_channel * params.out_per_group + min(first_m + mm, params.out_per_group - 1u)) * /*{ kh * kw }*/u + tap_y * /*{ kw }*/u + tap_x;
            let real = (k + kk < end) & (tap_y < /*{ kh }*/u) & (tap_x < /*{ kw }*/u);
            tile_w[kk * /*{ tile_m + 1 }*/u + mm] = select(0.0, weight[select(0u, at, real)], real);
//%   endif
        }
//% endfor
//% for r in range(tile_k // rows_at_once)
        {
            let kk = thread / /*{ tile_n }*/u + /*{ r * rows_at_once }*/u;
            let term = min(k + kk, end - 1u);
//%   if direction == "forward"
            let y = from_y + i32(term % /*{ taps }*/u / /*{ taps_x }*/u) * i32(params.dilation_y);
            let x = from_x + i32(term % /*{ taps_x }*/u) * i32(params.dilation_x);
//%   else
            let y = from_y - i32(term % /*{ taps }*/u / /*{ taps_x }*/u) * i32(params.dilation_y);
            let x = from_x - i32(term % /*{ taps_x }*/u) * i32(params.dilation_x);
//%   endif
            // A negative place is a large number without its sign.
            let inside = (k + kk < end) & (u32(y) < params.source_h) & (u32(x) < params.source_w);
            let at = (planes + term / /*{ taps }*/u) * source_area + u32(y) * params.source_w + u32(x);
            tile_s[kk * /*{ tile_n }*/u + thread % /*{ tile_n }*/u] = select(0.0, source[select(0u, at, inside)], inside);
        }
//% endfor
        workgroupBarrier();
        for (var kk = 0u; kk < /*{ tile_k }*/u; kk++) {
            // Interleaved ownership (row own_m + i * /*{ threads_m }*/): neighbouring threads touch neighbouring words.
//% for i in range(per_m)
            let a/*{ i }*/ = tile_w[kk * /*{ tile_m + 1 }*/u + own_m + /*{ i * threads_m }*/u];
//% endfor
//% for j in range(per_n)
            let b/*{ j }*/ = tile_s[kk * /*{ tile_n }*/u + own_n + /*{ j * threads_n }*/u];
//% endfor
//% for i in range(per_m)
//%   for j in range(per_n)
            c/*{ i }*/_/*{ j }*/ = fma(a/*{ i }*/, b/*{ j }*/, c/*{ i }*/_/*{ j }*/);
//%   endfor
//% endfor
        }
        workgroupBarrier();
    }

    let out_area = params.out_h * params.out_w;
//% for i in range(per_m)
    let m/*{ i }*/ = first_m + own_m + /*{ i * threads_m }*/u;
//%   if bias
    let bias/*{ i }*/ = bias[channel_group * params.out_per_group + min(m/*{ i }*/, params.out_per_group - 1u)];
//%   endif
//% endfor
//% for j in range(per_n)
    {
        let n = first_n + own_n + /*{ j * threads_n }*/u;
        let y = n % phase_area / params.phase_w * /*{ phases_y }*/u + phase_y;
        let x = n % params.phase_w * /*{ phases_x }*/u + phase_x;
        if (n < params.pixels) & (y < params.out_h) & (x < params.out_w) {
            let to = share * params.results + (n / phase_area * params.out_channels + channel_group * params.out_per_group) * out_area + y * params.out_w + x;
//%   for i in range(per_m)
//%     set value = "c" ~ i ~ "_" ~ j ~ (" + bias" ~ i if bias else "")
            if m/*{ i }*/ < params.out_per_group { output[to + m/*{ i }*/ * out_area] = /*{ "max(" ~ value ~ ", 0.0)" if relu else value }*/; }
//%   endfor
        }
    }
//% endfor
}
