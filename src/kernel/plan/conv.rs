//! Plans for convolutions and their gradients.

use super::fetch::{Direction, Fetch, View, axis, fetches, view};
use super::{Constants, ConvShape, Epilogue, Machine, Plan, constants, cost, dispatch, with_reduction};
use crate::kernel::catalogue::Entry;
use crate::kernel::params::params;

params!(WeightGradSubgroupParams { batch: u32, images_per_share: u32 });
params!(WeightGradParams { batch: u32, pixels_per_share: u32 });

/// Multiply-adds in one unrolled loop body: more makes the driver's compiler slow, and gains little.
const BODY: u32 = 2500;
/// The weight gradient can do with short bodies: its sums are few.
const BODY_WEIGHT_GRAD: u32 = 1200;

pub(in crate::kernel) fn conv_forward(g: &ConvShape, epilogue: Epilogue, machine: Machine) -> Plan {
    conv(g, Direction::Forward, epilogue, machine)
}

pub(in crate::kernel) fn conv_input_grad(g: &ConvShape, machine: Machine) -> Plan {
    conv(g, Direction::Backward, Epilogue::default(), machine)
}

fn conv(g: &ConvShape, direction: Direction, epilogue: Epilogue, machine: Machine) -> Plan {
    let v = view(g, direction);
    match machine {
        // Fewer than four channels would leave most lanes idle.
        Machine::Vector { lanes, workers } if v.out_per_group >= 4 => {
            conv_subgroup(g, &v, epilogue, lanes, workers)
        }
        _ => conv_direct(g, &v, epilogue),
    }
}

fn conv_subgroup(g: &ConvShape, v: &View, epilogue: Epilogue, lanes: u32, workers: u32) -> Plan {
    let taps = g.taps();
    let mut best: Option<(f64, Fetch, u32, u32)> = None;
    for f in fetches(g, v, lanes) {
        for vectors in [1, 2] {
            for unroll in [1, 2, 4] {
                let wide = v.direction == Direction::Forward
                    && (taps * unroll).is_multiple_of(4)
                    && (v.reduced * taps).is_multiple_of(4);
                let body = f.fmas() * vectors * unroll;
                if !v.reduced.is_multiple_of(unroll)
                    || (unroll > 1 && !wide)
                    || (body > BODY && (f.outputs() > 1 || vectors > 1))
                    || f.outputs() * vectors > 208
                    || vectors > v.out_per_group.div_ceil(lanes)
                {
                    continue;
                }
                let weights = (lanes * vectors * taps) as f64 * cost::load(if wide { 4 } else { 1 });
                let one_pass = v.reduced == unroll;
                let weights = if one_pass { weights / f.tiles() as f64 } else { weights };
                let carry = if one_pass { 0.0 } else { cost::CARRY };
                let per_c = f.load_cost() * unroll as f64
                    + weights * unroll as f64
                    + body as f64 * cost::fma(body)
                    + (f.outputs() * vectors) as f64 * carry;
                let store =
                    (f.outputs() * lanes * vectors) as f64 * cost::store(f.store_width(v.out[0], v.out[1]));
                let one = per_c * (v.reduced / unroll) as f64 + store + cost::WORKGROUP;
                let count = f.tiles() * v.out_per_group.div_ceil(lanes * vectors) * g.groups * g.n;
                let total = one * count.div_ceil(workers) as f64;
                if best.as_ref().is_none_or(|b| total < b.0) {
                    best = Some((total, f.clone(), vectors, unroll));
                }
            }
        }
    }
    let Some((_, f, vectors, unroll)) = best else { return conv_direct(g, v, epilogue) };
    let wide = v.direction == Direction::Forward
        && (taps * unroll).is_multiple_of(4)
        && (v.reduced * taps).is_multiple_of(4);
    let blocks = v.out_per_group.div_ceil(lanes * vectors);
    let tiles_per_group = if v.reduced == unroll {
        (f.tiles() * blocks * g.groups * g.n / (8 * workers)).clamp(1, f.tiles())
    } else {
        1
    };
    let (lane_stride, reduced_stride) = match v.direction {
        Direction::Forward => (v.reduced * taps, taps),
        Direction::Backward => (taps, v.out_per_group * taps),
    };
    let mut constants = f.constants();
    constants.extend::<Constants>(constants! {
        lanes, vectors, unroll, tiles_per_group, strip_w: 14u32, kh: g.kh, kw: g.kw, blocks,
        source_h: v.source[0], source_w: v.source[1], source_channels: v.source_channels, reduced: v.reduced,
        out_h: v.out[0], out_w: v.out[1], out_channels: v.out_channels, out_per_group: v.out_per_group,
        weight_width: if wide { 4u32 } else { 1 }, weight_group_stride: v.reduced * v.out_per_group * taps,
        weight_lane_stride: lane_stride, weight_reduced_stride: reduced_stride,
        store_width: f.store_width(v.out[0], v.out[1]), exact_output: f.exact_output(v.out[0], v.out[1]),
        bias: epilogue.bias, relu: epilogue.relu,
    });
    dispatch(
        "conv/subgroup.wgsl",
        constants,
        [f.tiles().div_ceil(tiles_per_group), blocks * g.groups, g.n],
        (),
    )
    .into()
}

fn conv_direct(g: &ConvShape, v: &View, epilogue: Epilogue) -> Plan {
    let threads = 64;
    let multiple = if v.direction == Direction::Backward { g.stride[1] } else { 1 };
    // Strips that divide the row waste nothing; among those the longest that leaves few enough sums per thread.
    let tile_w = (1..=8u32)
        .map(|t| t * multiple)
        .filter(|&t| t <= 8.max(multiple))
        .min_by_key(|&t| (v.out[1].div_ceil(t) * t * (8 + 16 / t), 8 - t.min(8)))
        .unwrap_or(multiple);
    let tile_c = (1..=8u32)
        .min_by_key(|&t| (v.out_per_group.div_ceil(t) * (t + 3), 8 - t))
        .unwrap_or(1)
        .min(32u32.div_ceil(tile_w));
    let x =
        axis(v.direction, false, tile_w, v.out[1], v.source[1], g.kw, g.stride[1], g.dilation[1], g.pad[1]);
    let mut columns: Vec<i64> = x.table.iter().flatten().copied().filter(|&k| k >= 0).collect();
    columns.sort();
    columns.dedup();
    let blocks = v.out_per_group.div_ceil(tile_c);
    let strips = v.out[1].div_ceil(tile_w);
    let constants = constants! {
        threads, strips, tile_w, tile_c, blocks, columns, col_of: x.table.clone(), first_x: x.first, kh: g.kh, kw: g.kw,
        stride_y: g.stride[0], stride_x: g.stride[1], dilation_y: g.dilation[0], pad_top: g.pad[0],
        source_h: v.source[0], source_w: v.source[1], source_channels: v.source_channels, reduced: v.reduced,
        out_h: v.out[0], out_w: v.out[1], out_channels: v.out_channels, out_per_group: v.out_per_group,
        bias: epilogue.bias, relu: epilogue.relu,
    };
    let shader = if v.direction == Direction::Forward { "conv/forward.wgsl" } else { "conv/input_grad.wgsl" };
    dispatch(shader, constants, [(strips * v.out[0]).div_ceil(threads), blocks * g.groups, g.n], ()).into()
}

pub(in crate::kernel) fn conv_weight_grad(g: &ConvShape, machine: Machine) -> Plan {
    match machine {
        Machine::Vector { lanes, workers } => weight_grad_subgroup(g, lanes, workers),
        Machine::Gpu => weight_grad_tile(g),
    }
}

fn weight_grad_subgroup(g: &ConvShape, lanes: u32, workers: u32) -> Plan {
    let v = view(g, Direction::Forward);
    let taps = g.taps();
    let mut best: Option<(f64, Fetch, u32)> = None;
    for f in fetches(g, &v, lanes) {
        for tile_c in 1..=v.reduced.min(6) {
            let body = f.fmas() * tile_c;
            if (body > BODY_WEIGHT_GRAD && (f.outputs() > 1 || tile_c > 1))
                || (tile_c > 1 && tile_c * taps > 160)
            {
                continue;
            }
            let dy = (f.outputs() * lanes) as f64 * cost::load(f.store_width(v.out[0], v.out[1]));
            let one = dy
                + f.load_cost() * tile_c as f64
                + body as f64 * cost::fma(body)
                + (taps * tile_c) as f64 * cost::CARRY;
            let count = f.tiles() * v.reduced.div_ceil(tile_c);
            if best.as_ref().is_none_or(|b| one * (count as f64) < b.0) {
                best = Some((one * count as f64, f.clone(), tile_c));
            }
        }
    }
    // A wide kernel may leave no tile that fits the registers.
    let Some((_, f, tile_c)) = best else { return weight_grad_tile(g) };
    let blocks = v.out_per_group.div_ceil(lanes);
    let across = v.reduced.div_ceil(tile_c) * blocks * g.groups;
    let shares = (4 * workers).div_ceil(across).min(g.n);
    let images_per_share = g.n.div_ceil(shares);
    let shares = g.n.div_ceil(images_per_share);
    let mut constants = f.constants();
    constants.extend::<Constants>(constants! {
        lanes, tile_c, kh: g.kh, kw: g.kw, blocks,
        source_h: v.source[0], source_w: v.source[1], source_channels: v.source_channels, reduced: v.reduced,
        out_h: v.out[0], out_w: v.out[1], out_channels: v.out_channels, out_per_group: v.out_per_group,
        dy_width: f.store_width(v.out[0], v.out[1]), exact_output: f.exact_output(v.out[0], v.out[1]),
    });
    let params = WeightGradSubgroupParams { batch: g.n, images_per_share };
    let main = dispatch(
        "conv/weight_grad_subgroup.wgsl",
        constants,
        [v.reduced.div_ceil(tile_c), blocks * g.groups, shares],
        params,
    );
    with_reduction(main, g.weights(), shares, Epilogue::default(), 1)
}

fn weight_grad_tile(g: &ConvShape) -> Plan {
    let v = view(g, Direction::Forward);
    let (tile_m, tile_n, tile_k, per_m, per_n) = (32u32, 32u32, 16u32, 4u32, 4u32);
    let blocks = v.out_per_group.div_ceil(tile_m);
    let across = (v.reduced * g.taps()).div_ceil(tile_n) * blocks * g.groups;
    let pixels = g.n * v.out[0] * v.out[1];
    // Enough workgroups to fill a large GPU, but no share so short that its store outweighs its sum.
    let shares = 512u32.div_ceil(across).min(pixels.div_ceil(256)).max(1);
    let pixels_per_share = pixels.div_ceil(shares).next_multiple_of(tile_k);
    let shares = pixels.div_ceil(pixels_per_share);
    let constants = constants! {
        tile_m, tile_n, tile_k, per_m, per_n, blocks, kh: g.kh, kw: g.kw,
        stride_y: g.stride[0], stride_x: g.stride[1], dilation_y: g.dilation[0], dilation_x: g.dilation[1], pad_top: g.pad[0], pad_left: g.pad[1],
        source_h: v.source[0], source_w: v.source[1], source_channels: v.source_channels, reduced: v.reduced,
        out_h: v.out[0], out_w: v.out[1], out_channels: v.out_channels, out_per_group: v.out_per_group,
    };
    let params = WeightGradParams { batch: g.n, pixels_per_share };
    let workgroups = [(v.reduced * g.taps()).div_ceil(tile_n), blocks * g.groups, shares];
    with_reduction(
        dispatch("conv/weight_grad.wgsl", constants, workgroups, params),
        g.weights(),
        shares,
        Epilogue::default(),
        1,
    )
}

pub(in crate::kernel) fn conv_variants() -> Vec<Entry> {
    let base = ConvShape {
        n: 3,
        c: 6,
        h: 14,
        w: 14,
        oc: 16,
        kh: 5,
        kw: 5,
        out: [10, 10],
        stride: [1, 1],
        pad: [0, 0],
        dilation: [1, 1],
        groups: 1,
    };
    let shapes = [
        base,
        ConvShape { c: 1, h: 32, w: 32, oc: 6, out: [28, 28], ..base },
        ConvShape { kh: 3, kw: 3, out: [7, 7], stride: [2, 2], pad: [1, 1], ..base },
        ConvShape {
            c: 8,
            h: 9,
            w: 11,
            oc: 8,
            kh: 3,
            kw: 2,
            out: [5, 10],
            dilation: [2, 1],
            groups: 4,
            ..base
        },
        ConvShape { c: 5, h: 7, w: 7, oc: 5, kh: 3, kw: 3, out: [7, 7], pad: [1, 1], groups: 5, ..base },
        ConvShape { h: 32, w: 32, kh: 3, kw: 3, out: [8, 8], dilation: [12, 12], ..base },
        ConvShape { c: 64, h: 8, w: 8, oc: 32, kh: 1, kw: 1, out: [8, 8], ..base },
        ConvShape {
            c: 3,
            h: 32,
            w: 32,
            oc: 64,
            kh: 7,
            kw: 7,
            out: [16, 16],
            stride: [2, 2],
            pad: [3, 3],
            ..base
        },
    ];
    let each = |shape: &ConvShape| {
        let plans = [Machine::Vector { lanes: 8, workers: 2 }, Machine::Gpu].map(|machine| {
            let plain = Epilogue::default();
            let full = Epilogue { bias: true, relu: true };
            [
                conv_forward(shape, plain, machine),
                conv_forward(shape, full, machine),
                conv_input_grad(shape, machine),
                conv_weight_grad(shape, machine),
            ]
        });
        plans.into_iter().flatten().flat_map(Plan::entries).collect::<Vec<_>>()
    };
    shapes.iter().flat_map(each).collect()
}
