//! Plans for convolutions and their gradients.

use super::fetch::{Direction, View, axis, view};
use super::{ConvShape, Epilogue, Machine, Plan, constants, conv_tile, conv_vector, dispatch};
use crate::kernel::catalogue::Entry;

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
            conv_vector::conv(g, &v, epilogue, lanes, workers)
        }
        Machine::Gpu => conv_tile::conv(g, &v, epilogue),
        Machine::Vector { .. } => None,
    }
    .unwrap_or_else(|| conv_direct(g, &v, epilogue))
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
        Machine::Vector { lanes, workers } => conv_vector::weight_grad(g, lanes, workers),
        Machine::Gpu => None,
    }
    // A wide kernel may leave no tile that fits the registers of a vector machine.
    .unwrap_or_else(|| conv_tile::weight_grad(g))
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
    let square = ConvShape { kh: 3, kw: 3, pad: [1, 1], ..base };
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
        // Many channels: every tile, whole sums and shares, phases; small planes of many images.
        ConvShape { n: 32, c: 128, oc: 128, h: 56, w: 56, kh: 1, kw: 1, out: [56, 56], ..base },
        ConvShape { n: 8, c: 64, oc: 64, h: 56, w: 56, out: [56, 56], ..square },
        ConvShape { n: 32, c: 64, oc: 64, h: 28, w: 28, out: [28, 28], ..square },
        ConvShape { n: 32, c: 128, oc: 128, h: 8, w: 8, out: [4, 4], stride: [2, 2], ..square },
        ConvShape { n: 32, c: 256, oc: 256, h: 2, w: 2, out: [2, 2], ..square },
        ConvShape { n: 32, c: 512, oc: 512, h: 1, w: 1, out: [1, 1], ..square },
        ConvShape { n: 32, c: 256, oc: 512, h: 2, w: 2, kh: 1, kw: 1, out: [1, 1], stride: [2, 2], ..base },
    ];
    let each = |shape: &ConvShape| {
        let plans = Machine::kinds().map(|machine| {
            let plain = Epilogue::default();
            let full = Epilogue { bias: true, relu: true };
            [
                conv_forward(shape, plain, machine),
                conv_forward(shape, full, machine),
                conv_input_grad(shape, machine),
                conv_weight_grad(shape, machine),
            ]
        });
        plans.flatten().flat_map(Plan::entries).collect::<Vec<_>>()
    };
    shapes.iter().flat_map(each).collect()
}
