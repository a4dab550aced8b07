//! Convolutions on a vector machine: tiles, images, channels and unrolling by a model of their cost.

use super::fetch::{Direction, Fetch, View, fetches, view};
use super::{Constants, ConvShape, Epilogue, Plan, constants, cost, dispatch, with_reduction};
use crate::kernel::params::params;

params!(ConvSubgroupParams {
    batch: u32,
    source_channels: u32,
    out_channels: u32,
    reduced: u32,
    out_per_group: u32,
    blocks: u32,
    weight_group_stride: u32,
    weight_out_stride: u32,
    weight_reduced_stride: u32,
});
params!(WeightGradSubgroupParams {
    batch: u32,
    images_per_share: u32,
    source_channels: u32,
    out_channels: u32,
    reduced: u32,
    out_per_group: u32,
    blocks: u32,
});

/// Multiply-adds in one unrolled loop body: more makes the driver's compiler slow, and gains little.
const BODY: u32 = 2000;
/// The weight gradient can do with short bodies: its sums are few.
const BODY_WEIGHT_GRAD: u32 = 1200;
/// Sums of a lane, in registers or spilled to the stack: more of them thrash it.
const SUMS: u32 = 208;
const SUMS_WEIGHT_GRAD: u32 = 160;
/// Images whose planes one workgroup takes together.
const IMAGES: [u32; 9] = [1, 2, 3, 4, 6, 8, 12, 16, 32];

/// Along what a lane's weights are contiguous beside the taps, so that they are fetched as vectors.
#[derive(Clone, Copy, PartialEq)]
enum Run {
    None,
    Reduced,
    Outputs,
}

/// How a convolution is cut.
#[derive(Clone)]
struct Cut {
    fetch: Fetch,
    images: u32,
    vectors: u32,
    unroll: u32,
    run: Run,
}

fn run(g: &ConvShape, v: &View, vectors: u32, unroll: u32) -> Run {
    let taps = g.taps();
    let whole = |extent: u32, run: u32| (taps * run).is_multiple_of(4) && (extent * taps).is_multiple_of(4);
    match v.direction {
        Direction::Forward if whole(v.reduced, unroll) => Run::Reduced,
        Direction::Backward if whole(v.out_per_group, vectors) && v.out_per_group.is_multiple_of(vectors) => {
            Run::Outputs
        }
        _ => Run::None,
    }
}

/// `None` where no tile of a wide kernel fits the registers.
pub(super) fn conv(g: &ConvShape, v: &View, epilogue: Epilogue, lanes: u32, workers: u32) -> Option<Plan> {
    let Cut { fetch: f, images, vectors, unroll, run } = best_cut(g, v, lanes, workers)?;
    let blocks = v.out_per_group.div_ceil(lanes * vectors);
    let image_blocks = g.n.div_ceil(images);
    let one_pass = v.reduced == unroll;
    let tiles_per_group = if one_pass {
        (f.tiles() * blocks * g.groups * image_blocks / (8 * workers)).clamp(1, f.tiles())
    } else {
        1
    };
    let taps = g.taps();
    let (weight_out_stride, weight_reduced_stride) = match v.direction {
        Direction::Forward => (v.reduced * taps, taps),
        Direction::Backward => (taps, v.out_per_group * taps),
    };
    let mut constants = f.constants();
    constants.extend::<Constants>(constants! {
        lanes, images, vectors, unroll, one_pass, tiles_per_group, strip_w: 14u32, kh: g.kh, kw: g.kw,
        chunks: f.chunks(images, lanes), source_h: v.source[0], source_w: v.source[1], out_h: v.out[0], out_w: v.out[1],
        weight_run: match run { Run::None => "none", Run::Reduced => "reduced", Run::Outputs => "outputs" },
        store_width: f.store_width(v.out[0], v.out[1]), exact_output: f.exact_output(v.out[0], v.out[1]),
        bias: epilogue.bias, relu: epilogue.relu,
    });
    let params = ConvSubgroupParams {
        batch: g.n,
        source_channels: v.source_channels,
        out_channels: v.out_channels,
        reduced: v.reduced,
        out_per_group: v.out_per_group,
        blocks,
        weight_group_stride: v.reduced * v.out_per_group * taps,
        weight_out_stride,
        weight_reduced_stride,
    };
    let workgroups = [f.tiles().div_ceil(tiles_per_group), blocks * g.groups, image_blocks];
    Some(dispatch("conv/subgroup.wgsl", constants, workgroups, params).into())
}

fn best_cut(g: &ConvShape, v: &View, lanes: u32, workers: u32) -> Option<Cut> {
    let taps = g.taps();
    let mut best: Option<(f64, Cut)> = None;
    for f in fetches(g, v) {
        let (fmas, live) = (f.fmas(), f.live().len() as u32);
        let store_width = f.store_width(v.out[0], v.out[1]);
        for images in IMAGES.into_iter().filter(|&i| i == 1 || i <= g.n) {
            for vectors in [1, 2, 4, 8] {
                for unroll in [1, 2, 4] {
                    let run = run(g, v, vectors, unroll);
                    let body = fmas * images * vectors * unroll;
                    let sums = f.outputs() * images * vectors;
                    if !v.reduced.is_multiple_of(unroll)
                        || (body > BODY && (f.outputs() > 1 || vectors > 1 || images > 1))
                        || sums > SUMS
                        || (vectors > 1 && lanes * vectors > v.out_per_group.next_multiple_of(lanes))
                    {
                        continue;
                    }
                    let weights = (lanes * vectors * unroll) as f64
                        * if run == Run::None {
                            live as f64 * cost::load(1)
                        } else {
                            taps as f64 * cost::load(4)
                        };
                    let one_pass = v.reduced == unroll;
                    let weights = if one_pass { weights / f.tiles() as f64 } else { weights };
                    let carry = if one_pass { 0.0 } else { cost::CARRY };
                    let per_c = f.load_cost(images, lanes) * unroll as f64
                        + weights
                        + body as f64 * cost::fma(body)
                        + sums as f64 * carry;
                    let store = (sums * lanes) as f64 * cost::store(store_width);
                    let one = per_c * (v.reduced / unroll) as f64 + store + cost::WORKGROUP;
                    let blocks = v.out_per_group.div_ceil(lanes * vectors);
                    let count = f.tiles() * blocks * g.groups * g.n.div_ceil(images);
                    let fetches = f.chunks(images, lanes) * unroll
                        + vectors * unroll * if run == Run::None { live } else { taps.div_ceil(4) };
                    let total = one * count.div_ceil(workers) as f64 + cost::compile(body, fetches);
                    if best.as_ref().is_none_or(|b| total < b.0) {
                        best = Some((total, Cut { fetch: f.clone(), images, vectors, unroll, run }));
                    }
                }
            }
        }
    }
    best.map(|(_, cut)| cut)
}

/// `None` where no tile of a wide kernel fits the registers.
pub(super) fn weight_grad(g: &ConvShape, lanes: u32, workers: u32) -> Option<Plan> {
    let v = view(g, Direction::Forward);
    let mut best: Option<(f64, Fetch, [u32; 3])> = None;
    for f in fetches(g, &v) {
        let (fmas, live) = (f.fmas(), f.live().len() as u32);
        let grad_width = f.store_width(v.out[0], v.out[1]);
        for images in IMAGES.into_iter().filter(|&i| i == 1 || (i <= g.n && i <= 8)) {
            for vectors in [1, 2, 4, 8] {
                for tile_c in [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32] {
                    let body = fmas * images * vectors * tile_c;
                    let sums = live * vectors * tile_c;
                    if tile_c > v.reduced
                        || (body > BODY_WEIGHT_GRAD && (f.outputs() > 1 || tile_c > 1 || vectors > 1))
                        || (sums > SUMS_WEIGHT_GRAD && (tile_c > 1 || vectors > 1))
                        || (vectors > 1 && lanes * vectors > v.out_per_group.next_multiple_of(lanes))
                    {
                        continue;
                    }
                    let one = (images * vectors * f.outputs() * lanes) as f64 * cost::load(grad_width)
                        + f.load_cost(images * tile_c, lanes)
                        + body as f64 * cost::fma(body)
                        + sums as f64 * cost::CARRY;
                    let tasks = f.tiles() * g.n.div_ceil(images);
                    let store = (g.taps() * vectors * tile_c * lanes) as f64 * cost::store(1);
                    let across =
                        v.reduced.div_ceil(tile_c) * v.out_per_group.div_ceil(lanes * vectors) * g.groups;
                    let shares = (4 * workers).div_ceil(across).min(tasks);
                    let fetches =
                        f.chunks(images * tile_c, lanes) + images * vectors * f.outputs() / grad_width;
                    let run = one * tasks as f64 + (store + cost::WORKGROUP) * shares as f64;
                    let total = run * (across as f64 / workers as f64) + cost::compile(body, fetches);
                    if best.as_ref().is_none_or(|b| total < b.0) {
                        best = Some((total, f.clone(), [images, vectors, tile_c]));
                    }
                }
            }
        }
    }
    let (_, f, [images, vectors, tile_c]) = best?;
    let blocks = v.out_per_group.div_ceil(lanes * vectors);
    let across = v.reduced.div_ceil(tile_c) * blocks * g.groups;
    let shares = (4 * workers).div_ceil(across).min(g.n.div_ceil(images));
    let images_per_share = g.n.div_ceil(shares).next_multiple_of(images);
    let shares = g.n.div_ceil(images_per_share);
    let mut constants = f.constants();
    constants.extend::<Constants>(constants! {
        lanes, images, vectors, tile_c, kh: g.kh, kw: g.kw, chunks: f.chunks(images * tile_c, lanes),
        // Rows of a tile that are summed on their own before they join the total.
        chain: (8 / f.x.tile).max(1),
        source_h: v.source[0], source_w: v.source[1], out_h: v.out[0], out_w: v.out[1],
        grad_width: f.store_width(v.out[0], v.out[1]), exact_output: f.exact_output(v.out[0], v.out[1]),
    });
    let params = WeightGradSubgroupParams {
        batch: g.n,
        images_per_share,
        source_channels: v.source_channels,
        out_channels: v.out_channels,
        reduced: v.reduced,
        out_per_group: v.out_per_group,
        blocks,
    };
    let workgroups = [v.reduced.div_ceil(tile_c), blocks * g.groups, shares];
    let main = dispatch("conv/weight_grad_subgroup.wgsl", constants, workgroups, params);
    Some(with_reduction(main, g.weights(), shares, Epilogue::default(), [1, 1]))
}
