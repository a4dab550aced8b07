//! Which pixel of a source meets which tap of a kernel: tiles of a convolution's output, and how the part of the
//! source under a tile is fetched.

use super::{Constants, ConvShape, constants, cost};

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// One axis of a tile: for each output position and kernel position the position inside the source tile, or -1.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) table: Vec<Vec<i64>>,
    /// Where the source tile of output tile 0 starts, and how far it moves per output tile.
    pub(super) first: i64,
    pub(super) step: i64,
    pub(super) count: u32,
    pub(super) tile: u32,
    pub(super) tiles: u32,
}

#[allow(clippy::too_many_arguments)]
pub(super) fn axis(
    direction: Direction,
    whole: bool,
    tile: u32,
    out: u32,
    source: u32,
    kernel: u32,
    stride: u32,
    dilation: u32,
    pad: u32,
) -> Axis {
    let (s, d, pad) = (stride as i64, dilation as i64, pad as i64);
    let none = i64::MIN;
    let at = |p: i64, k: i64| match direction {
        Direction::Forward => p * s + k * d - pad,
        Direction::Backward if (p + pad - k * d).rem_euclid(s) == 0 => (p + pad - k * d).div_euclid(s),
        Direction::Backward => none,
    };
    let mut table: Vec<Vec<i64>> =
        (0..tile as i64).map(|p| (0..kernel as i64).map(|k| at(p, k)).collect()).collect();
    let tiles = out.div_ceil(tile);
    if whole {
        for v in table.iter_mut().flatten() {
            *v = if (0..source as i64).contains(v) { *v } else { -1 };
        }
        return Axis { table, first: 0, step: 0, count: source, tile, tiles: 1 };
    }
    let used = || table.iter().flatten().copied().filter(|&v| v != none);
    let (first, last) = (used().min().unwrap_or(0), used().max().unwrap_or(0));
    for v in table.iter_mut().flatten() {
        *v = if *v == none { -1 } else { *v - first };
    }
    let step = match direction {
        Direction::Forward => tile as i64 * s,
        Direction::Backward => tile as i64 / s,
    };
    Axis { table, first, step, count: (last - first + 1) as u32, tile, tiles }
}

impl Axis {
    /// Positions inside the source tile that some tap meets.
    fn used(&self) -> Vec<i64> {
        let mut used: Vec<i64> = self.table.iter().flatten().copied().filter(|&v| v >= 0).collect();
        used.sort();
        used.dedup();
        used
    }
    pub(super) fn pairs(&self) -> u32 {
        self.table.iter().flatten().filter(|&&v| v >= 0).count() as u32
    }
    /// True when every tile's source lies inside `source`.
    pub(super) fn inside(&self, source: u32) -> bool {
        self.first >= 0
            && self.first + (self.tiles as i64 - 1) * self.step + self.count as i64 <= source as i64
    }
}

/// How a tile of the source is fetched by a subgroup: row by row, or, where it spans whole rows, as one flat run.
#[derive(Clone, Debug)]
pub(super) struct Fetch {
    pub(super) y: Axis,
    pub(super) x: Axis,
    pub(super) flat: bool,
    pub(super) width: u32,
    /// Values fetched before the first used one, so that fetches are aligned.
    pub(super) shift: u32,
    pub(super) pitch: u32,
    /// Loads per tile over all lanes.
    pub(super) fetched: u32,
    /// No tile reaches outside the source, so only the last fetch of a tile can.
    pub(super) sure: bool,
}

/// `x_whole`: the tile spans whole source rows.
pub(super) fn fetch(y: Axis, x: Axis, x_whole: bool, h: u32, w: u32) -> Fetch {
    let rows = y.count;
    let flat = x_whole && (h * w).is_multiple_of(4) && (y.tiles == 1 || y.step * w as i64 % 4 == 0);
    let (width, shift, pitch, fetched, sure);
    if flat {
        (width, pitch) = (4, w);
        shift = (y.first * w as i64).rem_euclid(4) as u32;
        fetched = (rows * w + shift).div_ceil(4);
        sure = y.inside(h)
            && y.first as u32 * w - shift + (y.tiles - 1) * y.step as u32 * w + fetched * 4 <= h * w;
    } else {
        let row = (x.first.rem_euclid(4) as u32 + x.count).next_multiple_of(4);
        let aligned = w.is_multiple_of(4) && (x.tiles == 1 || x.step % 4 == 0);
        if aligned && row as f64 * cost::LOAD_VEC4 <= x.count as f64 * cost::LOAD_SCALAR {
            (width, shift, pitch) = (4, x.first.rem_euclid(4) as u32, row);
        } else {
            (width, shift, pitch) = (1, 0, x.count);
        }
        fetched = rows * pitch / width;
        sure = y.inside(h)
            && x.inside(w)
            && x.first as u32 >= shift
            && x.first as u32 - shift + (x.tiles - 1) * x.step as u32 + pitch <= w;
    }
    Fetch { y, x, flat, width, shift, pitch, fetched, sure }
}

impl Fetch {
    pub(super) fn fmas(&self) -> u32 {
        self.y.pairs() * self.x.pairs()
    }
    pub(super) fn tiles(&self) -> u32 {
        self.y.tiles * self.x.tiles
    }
    pub(super) fn outputs(&self) -> u32 {
        self.y.tile * self.x.tile
    }
    /// Loads per lane where the tiles of `tiles` images or channels are fetched together.
    pub(super) fn chunks(&self, tiles: u32, lanes: u32) -> u32 {
        (self.fetched * tiles).div_ceil(lanes)
    }
    /// Cycles to fetch the tiles of `tiles` images or channels, and to hand them round.
    pub(super) fn load_cost(&self, tiles: u32, lanes: u32) -> f64 {
        // Lanes without a part of their own still take their turn.
        (self.chunks(tiles, lanes) * lanes * self.width) as f64 * cost::load(self.width)
            + (tiles * self.y.count * self.x.count) as f64 * cost::BROADCAST
    }
    /// Kernel positions that meet a source pixel under some output pixel, by number.
    pub(super) fn live(&self) -> Vec<i64> {
        let meets = |axis: &Axis, k: usize| axis.table.iter().any(|row| row[k] >= 0);
        let [kh, kw] = [&self.y, &self.x].map(|axis| axis.table[0].len());
        let taps = (0..kh * kw).filter(|t| meets(&self.y, t / kw) && meets(&self.x, t % kw));
        taps.map(|t| t as i64).collect()
    }
    pub(super) fn store_width(&self, out_h: u32, out_w: u32) -> u32 {
        let rows = out_w.is_multiple_of(4) && self.x.tile.is_multiple_of(4);
        let flat = self.x.tile == out_w
            && (out_h * out_w).is_multiple_of(4)
            && self.outputs().is_multiple_of(4)
            && out_h.is_multiple_of(self.y.tile);
        if rows || flat { 4 } else { 1 }
    }
    pub(super) fn exact_output(&self, out_h: u32, out_w: u32) -> bool {
        out_h.is_multiple_of(self.y.tile) && out_w.is_multiple_of(self.x.tile)
    }
    pub(super) fn constants(&self) -> Constants {
        constants! {
            row_of: self.y.table.clone(), col_of: self.x.table.clone(), rows: self.y.count, cols: self.x.count,
            first_y: self.y.first, first_x: self.x.first, step_y: self.y.step, step_x: self.x.step,
            tile_h: self.y.tile, tile_w: self.x.tile, tiles_x: self.x.tiles, tiles: self.tiles(),
            flat: self.flat, load_width: self.width, shift: self.shift, pitch: self.pitch, fetched: self.fetched, sure: self.sure,
            live: self.live(), used_rows: self.y.used(), used_cols: self.x.used(),
        }
    }
}

/// The shape of a convolution as its output sees it: forward, or backward with the roles of input and output exchanged.
pub(super) struct View {
    pub(super) direction: Direction,
    pub(super) source: [u32; 2],
    pub(super) out: [u32; 2],
    pub(super) source_channels: u32,
    pub(super) out_channels: u32,
    pub(super) reduced: u32,
    pub(super) out_per_group: u32,
}

pub(super) fn view(g: &ConvShape, direction: Direction) -> View {
    match direction {
        Direction::Forward => View {
            direction,
            source: [g.h, g.w],
            out: [g.out[0], g.out[1]],
            source_channels: g.c,
            out_channels: g.oc,
            reduced: g.in_per_group(),
            out_per_group: g.out_per_group(),
        },
        Direction::Backward => View {
            direction,
            source: [g.out[0], g.out[1]],
            out: [g.h, g.w],
            source_channels: g.oc,
            out_channels: g.c,
            reduced: g.out_per_group(),
            out_per_group: g.in_per_group(),
        },
    }
}

/// Tile extents worth trying along an axis of `out` values: whole, near-even parts, and multiples of the vec4 width.
pub(super) fn extents(out: u32, multiple: u32) -> Vec<u32> {
    let mut v: Vec<u32> = (1..=8)
        .map(|parts| out.div_ceil(parts))
        .chain([1, 2, 4, 8, 12, 16, 24, 28, 32])
        .filter(|&e| e <= out.max(multiple))
        .map(|e| e.next_multiple_of(multiple))
        .collect();
    v.sort();
    v.dedup();
    v
}

pub(super) fn fetches(g: &ConvShape, v: &View) -> Vec<Fetch> {
    let make = |whole: [bool; 2], ty: u32, tx: u32| {
        let y = axis(
            v.direction,
            whole[0],
            ty,
            v.out[0],
            v.source[0],
            g.kh,
            g.stride[0],
            g.dilation[0],
            g.pad[0],
        );
        let x = axis(
            v.direction,
            whole[1],
            tx,
            v.out[1],
            v.source[1],
            g.kw,
            g.stride[1],
            g.dilation[1],
            g.pad[1],
        );
        fetch(y, x, whole[1], v.source[0], v.source[1])
    };
    let mut all = vec![];
    let (my, mx) = if v.direction == Direction::Backward { (g.stride[0], g.stride[1]) } else { (1, 1) };
    for &ty in &extents(v.out[0], my) {
        for &tx in &extents(v.out[1], mx) {
            all.push(make([false, false], ty, tx));
        }
        all.push(make([false, true], ty, v.out[1]));
    }
    all.push(make([true, true], v.out[0], v.out[1]));
    // Values of a tile live in registers, spilled to the stack: more than this thrash it.
    all.retain(|f| f.outputs() <= 256 && f.fetched * f.width <= 512);
    all
}
