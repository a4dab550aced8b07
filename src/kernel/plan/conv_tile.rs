//! Convolutions on real GPUs: implicit matrix products in workgroup memory.

use super::fetch::{Direction, View, view};
use super::{Constants, ConvShape, Epilogue, Plan, constants, dispatch, with_reduction};
use crate::kernel::params::params;

params!(ConvTileParams {
    source_channels: u32,
    source_h: u32,
    source_w: u32,
    out_channels: u32,
    out_h: u32,
    out_w: u32,
    phase_h: u32,
    phase_w: u32,
    pixels: u32,
    reduced: u32,
    out_per_group: u32,
    blocks: u32,
    all_blocks: u32,
    k_per_share: u32,
    results: u32,
});
params!(WeightGradParams {
    source_channels: u32,
    source_h: u32,
    source_w: u32,
    out_channels: u32,
    out_h: u32,
    out_w: u32,
    reduced: u32,
    out_per_group: u32,
    blocks: u32,
    pixels: u32,
    pixels_per_share: u32,
});

/// Results of a workgroup of 256 threads: rows, columns, depth of a step, and rows and columns of a thread.
#[derive(Clone, Copy)]
struct Tile {
    m: u32,
    n: u32,
    k: u32,
    per_m: u32,
    per_n: u32,
}

/// From large to small. Operands of the largest take 8.1 of WebGPU's 16 KiB of workgroup memory.
const TILES: [Tile; 4] = [
    Tile { m: 128, n: 128, k: 8, per_m: 8, per_n: 8 },
    Tile { m: 64, n: 128, k: 8, per_m: 4, per_n: 8 },
    Tile { m: 64, n: 64, k: 16, per_m: 4, per_n: 4 },
    Tile { m: 32, n: 64, k: 16, per_m: 2, per_n: 4 },
];

/// Workgroups that keep a large GPU busy.
const ENOUGH: u32 = 256;
/// The most workgroups that every WebGPU device takes in one dimension.
const DIMENSION: u32 = 65_535;

impl Tile {
    /// The largest whose rows are mostly used, and which leaves enough workgroups; else the smallest.
    fn choose(m: u32, n: u32, groups: u32) -> Tile {
        let fits = |t: &&Tile| {
            m.next_multiple_of(t.m) * 3 <= m * 4 && m.div_ceil(t.m) * n.div_ceil(t.n) * groups >= ENOUGH
        };
        *TILES.iter().find(fits).unwrap_or(&TILES[3])
    }

    fn constants(self) -> Constants {
        constants! { tile_m: self.m, tile_n: self.n, tile_k: self.k, per_m: self.per_m, per_n: self.per_n }
    }
}

/// A sum of `k` terms in shares of at least 256, so that `tiles` workgroups become enough: their length and number.
fn shares(k: u32, tiles: u32, step: u32) -> (u32, u32) {
    let shares = ENOUGH.div_ceil(tiles).min(k.div_ceil(256)).max(1);
    let per_share = k.div_ceil(shares).next_multiple_of(step);
    (per_share, k.div_ceil(per_share))
}

/// `None` where so few channels are left that tiles would stay empty, and for gradients of strides with dilation, which
/// no network here has.
pub(super) fn conv(g: &ConvShape, v: &View, epilogue: Epilogue) -> Option<Plan> {
    let backward = v.direction == Direction::Backward;
    let mixed = (0..2).any(|axis| g.stride[axis] > 1 && g.dilation[axis] > 1);
    if v.out_per_group < 24 || v.reduced * g.taps() < 24 || (backward && mixed) {
        return None;
    }
    let phases = if backward { g.stride } else { [1, 1] };
    let taps = [g.kh.div_ceil(phases[0]), g.kw.div_ceil(phases[1])];
    let phase = [v.out[0].div_ceil(phases[0]), v.out[1].div_ceil(phases[1])];
    let pixels = g.n * phase[0] * phase[1];
    let parts = g.groups * phases[0] * phases[1];
    let tile = Tile::choose(v.out_per_group, pixels, parts);
    let blocks = v.out_per_group.div_ceil(tile.m);
    let columns = pixels.div_ceil(tile.n);
    let (k_per_share, shares) = shares(v.reduced * taps[0] * taps[1], blocks * columns * parts, tile.k);
    let results = g.n * v.out_channels * v.out[0] * v.out[1];
    let own = if shares == 1 { epilogue } else { Epilogue::default() };
    let mut constants = tile.constants();
    constants.extend::<Constants>(constants! {
        direction: if backward { "backward" } else { "forward" }, kh: g.kh, kw: g.kw, taps_y: taps[0], taps_x: taps[1],
        phases_y: phases[0], phases_x: phases[1], stride_y: g.stride[0], stride_x: g.stride[1],
        dilation_y: g.dilation[0], dilation_x: g.dilation[1], pad_top: g.pad[0], pad_left: g.pad[1],
        bias: own.bias, relu: own.relu,
    });
    let params = ConvTileParams {
        source_channels: v.source_channels,
        source_h: v.source[0],
        source_w: v.source[1],
        out_channels: v.out_channels,
        out_h: v.out[0],
        out_w: v.out[1],
        phase_h: phase[0],
        phase_w: phase[1],
        pixels,
        reduced: v.reduced,
        out_per_group: v.out_per_group,
        blocks,
        all_blocks: blocks * g.groups,
        k_per_share,
        results,
    };
    let folds = columns.div_ceil(DIMENSION);
    let workgroups = [columns.div_ceil(folds), blocks * g.groups * folds, shares * phases[0] * phases[1]];
    let main = dispatch("conv/tile.wgsl", constants, workgroups, params);
    Some(with_reduction(main, results, shares, epilogue, [v.out_channels, v.out[0] * v.out[1]]))
}

pub(super) fn weight_grad(g: &ConvShape) -> Plan {
    let v = view(g, Direction::Forward);
    let pairs = v.reduced * g.taps();
    // Columns here are weights, not pixels.
    let tile = if v.out_per_group >= 48 && pairs >= 48 {
        Tile { m: 64, n: 64, k: 16, per_m: 4, per_n: 4 }
    } else {
        Tile { m: 32, n: 32, k: 16, per_m: 2, per_n: 2 }
    };
    let blocks = v.out_per_group.div_ceil(tile.m);
    let across = pairs.div_ceil(tile.n) * blocks * g.groups;
    let pixels = g.n * v.out[0] * v.out[1];
    let (pixels_per_share, shares) = shares(pixels, across.div_ceil(2), tile.k);
    let mut constants = tile.constants();
    constants.extend::<Constants>(constants! {
        kh: g.kh, kw: g.kw, stride_y: g.stride[0], stride_x: g.stride[1],
        dilation_y: g.dilation[0], dilation_x: g.dilation[1], pad_top: g.pad[0], pad_left: g.pad[1],
    });
    let params = WeightGradParams {
        source_channels: v.source_channels,
        source_h: v.source[0],
        source_w: v.source[1],
        out_channels: v.out_channels,
        out_h: v.out[0],
        out_w: v.out[1],
        reduced: v.reduced,
        out_per_group: v.out_per_group,
        blocks,
        pixels,
        pixels_per_share,
    };
    let workgroups = [pairs.div_ceil(tile.n), blocks * g.groups, shares];
    let main = dispatch("conv/weight_grad.wgsl", constants, workgroups, params);
    with_reduction(main, g.weights(), shares, Epilogue::default(), [1, 1])
}
