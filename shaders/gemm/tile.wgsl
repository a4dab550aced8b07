// C[m, n] = op(A) op(B) for real GPUs: /*{ tile_m }*/x/*{ tile_n }*/ of C per workgroup of /*{ tile_m // per_m }*/x/*{ tile_n // per_n }*/ threads, operands staged in workgroup memory.
//
// Both tiles are stored K-major with a padded stride, so that the inner loop reads without bank conflicts whatever the
// operands' layout, and neighbouring threads fetch neighbouring addresses along the contiguous axis of each operand.
//% set threads_m = tile_m // per_m
//% set threads_n = tile_n // per_n
//% set threads = threads_m * threads_n
struct Params {
    m: u32,
    n: u32,
    k: u32,
    // How much of K one share (workgroup z) adds up; a multiple of /*{ tile_k }*/.
    k_per_share: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
//% if bias
@group(0) @binding(2) var<storage, read> bias: array<f32>;
//% endif
@group(0) @binding(/*{ 3 if bias else 2 }*/) var<storage, read_write> c: array<f32>;
@group(0) @binding(/*{ 4 if bias else 3 }*/) var<uniform> params: Params;

var<workgroup> tile_a: array<f32, /*{ tile_k * (tile_m + 1) }*/>;
var<workgroup> tile_b: array<f32, /*{ tile_k * (tile_n + 1) }*/>;

@compute @workgroup_size(/*{ threads }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first_m = group.y * /*{ tile_m }*/u;
    let first_n = group.x * /*{ tile_n }*/u;
    let own_m = thread / /*{ threads_n }*/u;
    let own_n = thread % /*{ threads_n }*/u;
//% for i in range(per_m)
//%   for j in range(per_n)
    var c/*{ i }*/_/*{ j }*/ = 0.0;
//%   endfor
//% endfor

    let first_k = group.z * params.k_per_share;
    let end = min(first_k + params.k_per_share, params.k);
    for (var k = first_k; k < end; k += /*{ tile_k }*/u) {
        // Indices past an edge are held inside the matrix and their values dropped: a select costs less than a branch.
        for (var i = thread; i < /*{ tile_k * tile_m }*/u; i += /*{ threads }*/u) {
//% if transpose_a
            let kk = i / /*{ tile_m }*/u;
            let mm = i % /*{ tile_m }*/u;
            let value = a[min(k + kk, params.k - 1u) * params.m + min(first_m + mm, params.m - 1u)];
//% else
            let mm = i / /*{ tile_k }*/u;
            let kk = i % /*{ tile_k }*/u;
            let value = a[min(first_m + mm, params.m - 1u) * params.k + min(k + kk, params.k - 1u)];
//% endif
            tile_a[kk * /*{ tile_m + 1 }*/u + mm] = select(0.0, value, k + kk < end);
        }
        for (var i = thread; i < /*{ tile_k * tile_n }*/u; i += /*{ threads }*/u) {
//% if transpose_b
            let nn = i / /*{ tile_k }*/u;
            let kk = i % /*{ tile_k }*/u;
            let value = b[min(first_n + nn, params.n - 1u) * params.k + min(k + kk, params.k - 1u)];
//% else
            let kk = i / /*{ tile_n }*/u;
            let nn = i % /*{ tile_n }*/u;
            let value = b[min(k + kk, params.k - 1u) * params.n + min(first_n + nn, params.n - 1u)];
//% endif
            tile_b[kk * /*{ tile_n + 1 }*/u + nn] = select(0.0, value, k + kk < end);
        }
        workgroupBarrier();
        for (var kk = 0u; kk < /*{ tile_k }*/u; kk++) {
            // Interleaved ownership (row own_m + i * /*{ threads_m }*/): neighbouring threads touch neighbouring words.
//% for i in range(per_m)
            let a/*{ i }*/ = tile_a[kk * /*{ tile_m + 1 }*/u + own_m + /*{ i * threads_m }*/u];
//% endfor
//% for j in range(per_n)
            let b/*{ j }*/ = tile_b[kk * /*{ tile_n + 1 }*/u + own_n + /*{ j * threads_n }*/u];
//% endfor
//% for i in range(per_m)
//%   for j in range(per_n)
            c/*{ i }*/_/*{ j }*/ = fma(a/*{ i }*/, b/*{ j }*/, c/*{ i }*/_/*{ j }*/);
//%   endfor
//% endfor
        }
        workgroupBarrier();
    }

    let base = group.z * params.m * params.n;
//% for j in range(per_n)
    let n/*{ j }*/ = first_n + own_n + /*{ j * threads_n }*/u;
    if n/*{ j }*/ < params.n {
//%   if bias
        let add = bias[n/*{ j }*/];
//%   else
        let add = 0.0;
//%   endif
//%   for i in range(per_m)
        let m/*{ i }*/ = first_m + own_m + /*{ i * threads_m }*/u;
        if m/*{ i }*/ < params.m { c[base + m/*{ i }*/ * params.n + n/*{ j }*/] = /*{ "max(" if relu }*/c/*{ i }*/_/*{ j }*/ + add/*{ ", 0.0)" if relu }*/; }
//%   endfor
    }
//% endfor
}
