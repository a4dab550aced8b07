// C[m, n] = op(A) op(B), for adapters that run one subgroup as one CPU vector (see conv/subgroup.wgsl for why).
//
// One workgroup is one subgroup and owns /*{ tile_m }*/ rows and /*{ tile_n }*/ columns of C in registers. A lane owns columns and fetches their B
// itself; the strip of A is fetched by all lanes together and broadcast row by row. K advances by four so that both
// operands can be read as vec4 along whichever axis is contiguous.
//% set xyzw = ["x", "y", "z", "w"]
//% set col_step = tile_n // lanes
//% set row_step = (tile_m + lanes - 1) // lanes
//% macro a_at(m, k)
//%   if transpose_a
//%     set v = k * (tile_m // 4) + m // 4
subgroupBroadcast(a/*{ v // lanes }*/./*{ xyzw[m % 4] }*/, /*{ v % lanes }*/u)
//%   else
subgroupBroadcast(a/*{ m // lanes }*/./*{ xyzw[k] }*/, /*{ m % lanes }*/u)
//%   endif
//% endmacro
//% macro b_at(j, k)
//%   if transpose_b
b/*{ j }*/./*{ xyzw[k] }*/
//%   elif b_width == 4
b/*{ k }*/_/*{ j // 4 }*/./*{ xyzw[j % 4] }*/
//%   else
b/*{ k }*/_/*{ j }*/
//%   endif
//% endmacro
//% macro column(j)
//%   if c_width == 4
lane * 4u + /*{ j // 4 * 4 * lanes + j % 4 }*/u
//%   else
lane + /*{ j * lanes }*/u
//%   endif
//% endmacro
struct Params {
    m: u32,
    n: u32,
    k: u32,
    // How much of K one share (workgroup z) adds up; a multiple of 4.
    k_per_share: u32,
}

@group(0) @binding(0) var<storage, read> a: array</*{ "vec4<f32>" if a_width == 4 else "f32" }*/>;
@group(0) @binding(1) var<storage, read> b: array</*{ "vec4<f32>" if b_width == 4 else "f32" }*/>;
//% if bias
@group(0) @binding(2) var<storage, read> bias: array<f32>;
//% endif
@group(0) @binding(/*{ 3 if bias else 2 }*/) var<storage, read_write> c: array</*{ "vec4<f32>" if c_width == 4 else "f32" }*/>;
@group(0) @binding(/*{ 4 if bias else 3 }*/) var<uniform> params: Params;

//% for name, width in [("a", a_width), ("b", b_width)]
// Four values in a row, of which `valid` lie in the matrix; the others read as zero.
fn load_/*{ name }*/(at: u32, valid: u32) -> vec4<f32> {
//%   if width == 4
    return /*{ name }*/[at / 4u];
//%   else
    let last = at + min(valid, 4u) - 1u;
    let four = vec4<f32>(/*{ name }*/[at], /*{ name }*/[min(at + 1u, last)], /*{ name }*/[min(at + 2u, last)], /*{ name }*/[min(at + 3u, last)]);
    return select(vec4<f32>(), four, vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(valid));
//%   endif
}
//% endfor

@compute @workgroup_size(/*{ lanes }*/)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_m = group.y * /*{ tile_m }*/u;
    let first_n = group.x * /*{ tile_n }*/u;
    let last_m = params.m - 1u;
    let last_n = params.n - 1u;

    // Rows and columns past the edge repeat the last one and are not stored.
//% for q in range(row_step)
//%   if transpose_a
    let v/*{ q }*/ = lane + /*{ q * lanes }*/u;
    let a_k/*{ q }*/ = v/*{ q }*/ / /*{ tile_m // 4 }*/u;
//%     if a_width == 4
    let a_m/*{ q }*/ = min(first_m + v/*{ q }*/ % /*{ tile_m // 4 }*/u * 4u, params.m - 4u);
//%     else
    let a_m/*{ q }*/ = min(first_m + v/*{ q }*/ % /*{ tile_m // 4 }*/u * 4u, last_m);
//%     endif
//%   else
    let a_row/*{ q }*/ = min(first_m + lane + /*{ q * lanes }*/u, last_m) * params.k;
//%   endif
//% endfor
//% if transpose_b
//%   for j in range(col_step)
    let b_row/*{ j }*/ = min(first_n + /*{ column(j) }*/, last_n) * params.k;
//%   endfor
//% elif b_width == 4
//%   for j in range(col_step // 4)
    let b_n/*{ j }*/ = min(first_n + lane * 4u + /*{ j * 4 * lanes }*/u, params.n - 4u);
//%   endfor
//% else
//%   for j in range(col_step)
    let b_n/*{ j }*/ = min(first_n + lane + /*{ j * lanes }*/u, last_n);
//%   endfor
//% endif
//% for m in range(tile_m)
//%   for j in range(col_step)
    var c/*{ m }*/_/*{ j }*/ = 0.0;
//%   endfor
//% endfor

    let end = min((group.z + 1u) * params.k_per_share, params.k);
    for (var k = group.z * params.k_per_share; k < end; k += 4u) {
        let left = end - k;
//% for q in range(row_step)
//%   if transpose_a
        // `left` is the same in all lanes; a lane whose k lies past the end contributes zeros.
        var a/*{ q }*/ = load_a(min(k + a_k/*{ q }*/, end - 1u) * params.m + a_m/*{ q }*/, params.m - a_m/*{ q }*/);
//%     if k_tail
        a/*{ q }*/ = select(vec4<f32>(), a/*{ q }*/, a_k/*{ q }*/ < left);
//%     endif
//%   else
        let a/*{ q }*/ = load_a(a_row/*{ q }*/ + k, left);
//%   endif
//% endfor
//% if transpose_b
//%   for j in range(col_step)
        let b/*{ j }*/ = load_b(b_row/*{ j }*/ + k, left);
//%   endfor
//% else
//%   for kk in range(4)
//%     if k_tail
        let k/*{ kk }*/ = min(k + /*{ kk }*/u, end - 1u) * params.n;
//%     else
        let k/*{ kk }*/ = (k + /*{ kk }*/u) * params.n;
//%     endif
//%     for j in range(col_step // b_width)
        let b/*{ kk }*/_/*{ j }*/ = /*{ ("select(vec4<f32>(), " if b_width == 4 else "select(0.0, ") if k_tail }*/b[(k/*{ kk }*/ + b_n/*{ j }*/) / /*{ b_width }*/u]/*{ ", " ~ kk ~ "u < left)" if k_tail }*/;
//%     endfor
//%   endfor
//% endif
//% for m in range(tile_m)
//%   for kk in range(4)
        let m/*{ m }*/_/*{ kk }*/ = /*{ a_at(m, kk) }*/;
//%   endfor
//%   for kk in range(4)
//%     for j in range(col_step)
        c/*{ m }*/_/*{ j }*/ = fma(m/*{ m }*/_/*{ kk }*/, /*{ b_at(j, kk) }*/, c/*{ m }*/_/*{ j }*/);
//%     endfor
//%   endfor
//% endfor
    }

//% if bias
//%   for j in range(col_step)
    let bias/*{ j }*/ = bias[min(first_n + /*{ column(j) }*/, last_n)];
//%   endfor
//% endif
    // The sums go through an array so that a row's stores can be written in a loop: the driver expands a store once per lane,
    // and a hundred of them take it seconds to compile. (It cannot unroll the loop again: its start is not known to it.)
    var results: array</*{ "vec4<f32>" if c_width == 4 else "f32" }*/, /*{ tile_m * col_step // c_width }*/>;
//% for m in range(tile_m)
//%   for j in range(0, col_step, c_width)
//%     if c_width == 4
    results[/*{ (m * col_step + j) // 4 }*/] = vec4<f32>(c/*{ m }*/_/*{ j }*/, c/*{ m }*/_/*{ j + 1 }*/, c/*{ m }*/_/*{ j + 2 }*/, c/*{ m }*/_/*{ j + 3 }*/);
//%     else
    results[/*{ m * col_step + j }*/] = c/*{ m }*/_/*{ j }*/;
//%     endif
//%   endfor
//% endfor
    let base = group.z * params.m * params.n + first_n;
    for (var m = first_m; m < min(first_m + /*{ tile_m }*/u, params.m); m++) {
//% for j in range(0, col_step, c_width)
        if first_n + /*{ column(j) }*/ <= last_n {
            let value = results[(m - first_m) * /*{ col_step // c_width }*/u + /*{ j // c_width }*/u]
//%   if bias and c_width == 4
                + vec4<f32>(bias/*{ j }*/, bias/*{ j + 1 }*/, bias/*{ j + 2 }*/, bias/*{ j + 3 }*/)
//%   elif bias
                + bias/*{ j }*/
//%   endif
            ;
            c[(base + m * params.n + /*{ column(j) }*/) / /*{ c_width }*/u] = /*{ ("max(value, vec4<f32>())" if c_width == 4 else "max(value, 0.0)") if relu else "value" }*/;
        }
//% endfor
    }
}
