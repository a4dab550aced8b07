//! Plans for matrix products.

use super::{Epilogue, Machine, Plan, constants, cost, dispatch, with_reduction};
use crate::kernel::catalogue::Entry;
use crate::kernel::params::params;

params!(GemmParams { m: u32, n: u32, k: u32, k_per_share: u32 });

/// C[m, n] = op(A) op(B), row-major; `transpose_a`: A is stored [k, m]; `transpose_b`: B is stored [n, k].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GemmShape {
    pub m: u32,
    pub n: u32,
    pub k: u32,
    pub transpose_a: bool,
    pub transpose_b: bool,
}

pub(in crate::kernel) fn gemm(s: &GemmShape, epilogue: Epilogue, machine: Machine) -> Plan {
    match machine {
        Machine::Vector { lanes, workers } => gemm_subgroup(s, epilogue, lanes, workers),
        Machine::Gpu => gemm_tile(s, epilogue),
    }
}

fn width(contiguous: u32) -> u32 {
    if contiguous.is_multiple_of(4) { 4 } else { 1 }
}

/// A lane owns columns by fours where rows of C are aligned, so that it can store them together.
fn c_width(s: &GemmShape, vectors: u32) -> u32 {
    if s.n.is_multiple_of(4) && vectors.is_multiple_of(4) { 4 } else { 1 }
}

fn gemm_subgroup(s: &GemmShape, epilogue: Epilogue, lanes: u32, workers: u32) -> Plan {
    let a_width = width(if s.transpose_a { s.m } else { s.k });
    let b_width = width(if s.transpose_b { s.k } else { s.n });
    let mut best = (f64::MAX, 0, 0, 0);
    for tile_m in [8, 16, 24, 32] {
        for vectors in [1, 2, 4, 8] {
            if (!s.transpose_b && b_width == 4 && vectors % 4 != 0) || tile_m * vectors > 128 {
                continue;
            }
            let tiles = s.m.div_ceil(tile_m) * s.n.div_ceil(lanes * vectors);
            // Sharing K costs a second pass; worth it only when whole workers would idle.
            for shares in [1, workers.div_ceil(tiles)] {
                // Lanes without a row of their own fetch one all the same.
                let per_four = (4 * tile_m.next_multiple_of(lanes)) as f64 * cost::load(a_width)
                    + (4 * lanes * vectors) as f64 * cost::load(b_width)
                    + (4 * tile_m) as f64 * cost::BROADCAST
                    + (4 * tile_m * vectors) as f64 * cost::fma(4 * tile_m * vectors)
                    + (tile_m * vectors) as f64 * cost::CARRY;
                let c_width = c_width(s, vectors);
                let store = (tile_m * lanes * vectors) as f64 * cost::store(c_width);
                let one = per_four * (s.k.div_ceil(4).div_ceil(shares)) as f64 + store + cost::WORKGROUP;
                let reduce = if shares > 1 {
                    60_000.0 + (s.m * s.n * (shares + 1)) as f64 * cost::LOAD_SCALAR
                } else {
                    0.0
                };
                let total = one * (tiles * shares).div_ceil(workers) as f64 + reduce;
                if total < best.0 {
                    best = (total, tile_m, vectors, shares);
                }
            }
        }
    }
    let (_, tile_m, vectors, shares) = best;
    let tile_n = lanes * vectors;
    let k_per_share = s.k.div_ceil(shares).next_multiple_of(4);
    let shares = s.k.div_ceil(k_per_share);
    let own = if shares == 1 { epilogue } else { Epilogue::default() };
    let constants = constants! {
        lanes, tile_m, tile_n, transpose_a: s.transpose_a, transpose_b: s.transpose_b, a_width, b_width,
        c_width: c_width(s, vectors), k_tail: !s.k.is_multiple_of(4), bias: own.bias, relu: own.relu,
    };
    let params = GemmParams { m: s.m, n: s.n, k: s.k, k_per_share };
    let main = dispatch(
        "gemm/subgroup.wgsl",
        constants,
        [s.n.div_ceil(tile_n), s.m.div_ceil(tile_m), shares],
        params,
    );
    with_reduction(main, s.m * s.n, shares, epilogue, [s.n, 1])
}

fn gemm_tile(s: &GemmShape, epilogue: Epilogue) -> Plan {
    let small = s.m.div_ceil(64) * s.n.div_ceil(64) < 64;
    let (tile_m, tile_n, tile_k, per_m, per_n) =
        if small { (32u32, 32u32, 16u32, 2u32, 2u32) } else { (64, 64, 16, 4, 4) };
    let tiles = s.m.div_ceil(tile_m) * s.n.div_ceil(tile_n);
    let shares = 128u32.div_ceil(tiles).min(s.k.div_ceil(256)).max(1);
    let k_per_share = s.k.div_ceil(shares).next_multiple_of(tile_k);
    let shares = s.k.div_ceil(k_per_share);
    let own = if shares == 1 { epilogue } else { Epilogue::default() };
    let constants = constants! { tile_m, tile_n, tile_k, per_m, per_n, transpose_a: s.transpose_a, transpose_b: s.transpose_b, bias: own.bias, relu: own.relu };
    let params = GemmParams { m: s.m, n: s.n, k: s.k, k_per_share };
    let main =
        dispatch("gemm/tile.wgsl", constants, [s.n.div_ceil(tile_n), s.m.div_ceil(tile_m), shares], params);
    with_reduction(main, s.m * s.n, shares, epilogue, [s.n, 1])
}

pub(in crate::kernel) fn gemm_variants() -> Vec<Entry> {
    let sizes = [
        (32, 120, 400),
        (32, 10, 84),
        (33, 7, 5),
        (1, 1, 1),
        (512, 512, 512),
        (64, 64, 4096),
        (120, 400, 32),
    ];
    let mut all = Vec::new();
    for (m, n, k) in sizes {
        for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false)] {
            for machine in Machine::kinds() {
                for on in [false, true] {
                    let shape = GemmShape { m, n, k, transpose_a, transpose_b };
                    all.extend(gemm(&shape, Epilogue { bias: on, relu: on }, machine).entries());
                }
            }
        }
    }
    all
}
