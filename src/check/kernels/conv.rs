//! Convolutions and their gradients.

use super::super::{Case, Trial};
use super::{values, whole};
use crate::Result;
use crate::kernel::conv::{Extents, Geometry, Padding, forward, input_grad, weight_grad};
use crate::kernel::gemm::Epilogue;
use crate::shader_test::{Bound, Estimate};
use crate::tensor::{Shape, Tensor};

const FAMILY: &str = "convolutions";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "whole numbers are exact", exact).on_both(),
    Case::new(FAMILY, "fractions are within the rounding of their sum", fractions).on_both(),
];

/// A convolution: [N, C, H, W], [O, C / groups, kh, kw], geometry.
type Shapes = ([usize; 4], [usize; 4], Geometry);

fn shapes() -> Vec<Shapes> {
    let plain = Geometry::default();
    let same = Geometry { padding: Padding::Same, ..plain };
    let padded = |size, stride| Geometry { padding: Padding::all(size), stride: [stride; 2], ..plain };
    let uneven = Padding::Explicit { top: 0, bottom: 3, left: 2, right: 1 };
    vec![
        ([1, 1, 1, 1], [1, 1, 1, 1], plain),
        // LeNet5's two, on smaller images.
        ([3, 1, 12, 12], [6, 1, 5, 5], plain),
        ([2, 6, 8, 8], [16, 6, 5, 5], plain),
        // ResNet's: the stem, 3x3 with and without stride, 1x1 with and without.
        ([1, 3, 13, 13], [4, 3, 7, 7], padded(3, 2)),
        ([2, 8, 7, 7], [4, 8, 3, 3], padded(1, 1)),
        ([2, 8, 8, 8], [4, 8, 3, 3], padded(1, 2)),
        ([2, 16, 7, 7], [8, 16, 1, 1], plain),
        ([1, 8, 8, 8], [12, 8, 1, 1], Geometry { stride: [2, 2], ..plain }),
        // Everything odd, and each axis its own.
        ([3, 5, 9, 11], [7, 5, 3, 2], Geometry { stride: [2, 1], ..same }),
        ([1, 2, 10, 7], [3, 2, 2, 4], Geometry { padding: uneven, stride: [1, 2], ..plain }),
        ([2, 3, 9, 8], [4, 3, 3, 3], Geometry { dilation: [2, 3], ..same }),
        // Steps wider than the kernel: pixels that no window sees have no gradient.
        ([1, 2, 8, 9], [3, 2, 2, 2], Geometry { stride: [3, 4], ..plain }),
        // Groups, and one channel for each group.
        ([2, 6, 5, 5], [4, 3, 3, 3], Geometry { groups: 2, ..same }),
        ([2, 5, 9, 9], [5, 1, 3, 3], Geometry { groups: 5, ..same }),
        ([1, 3, 8, 8], [6, 1, 3, 3], Geometry { groups: 3, stride: [2, 2], ..same }),
        // Larger than a tile: the plane, the kernel, the channels.
        ([1, 1, 41, 70], [3, 1, 3, 3], same),
        ([1, 1, 12, 14], [2, 1, 11, 12], plain),
        ([1, 70, 4, 4], [66, 70, 3, 3], same),
        // Planes of a few pixels under a kernel that reaches past them, in more images than a workgroup takes.
        ([37, 24, 4, 4], [28, 24, 3, 3], padded(1, 1)),
        ([35, 24, 2, 2], [25, 24, 3, 3], padded(1, 1)),
        ([33, 24, 1, 1], [40, 24, 3, 3], padded(1, 1)),
        ([19, 24, 4, 4], [32, 24, 3, 3], padded(1, 2)),
        ([18, 33, 2, 2], [36, 33, 3, 3], padded(1, 2)),
        ([5, 33, 7, 7], [34, 33, 3, 3], padded(1, 2)),
        ([33, 64, 1, 1], [72, 64, 1, 1], plain),
        ([2, 2048, 3, 3], [40, 2048, 1, 1], plain),
        ([9, 40, 4, 4], [50, 40, 1, 1], Geometry { stride: [2, 2], ..plain }),
        // ResNet's stem with all its channels, and groups of many.
        ([2, 3, 18, 17], [64, 3, 7, 7], padded(3, 2)),
        ([3, 96, 5, 6], [64, 48, 3, 3], Geometry { groups: 2, ..same }),
        // Steps and padding of each axis in tiles of many channels, phases that no tap meets among them.
        ([2, 40, 9, 8], [48, 40, 3, 2], Geometry { padding: uneven, stride: [2, 3], ..plain }),
        ([2, 40, 9, 8], [48, 40, 1, 2], Geometry { stride: [3, 2], ..plain }),
        ([1, 32, 9, 8], [32, 32, 3, 3], Geometry { dilation: [2, 1], stride: [1, 2], ..same }),
        ([1, 32, 9, 8], [32, 32, 3, 3], Geometry { dilation: [2, 2], stride: [2, 2], ..same }),
        // The kernel is the whole image.
        ([9, 4, 5, 5], [10, 4, 5, 5], plain),
    ]
}

/// Sums in f64, each with the sum of its magnitudes and the number of its terms.
struct Sums {
    y: Vec<[f64; 3]>,
    dx: Vec<[f64; 3]>,
    dw: Vec<[f64; 3]>,
}

fn oracle(e: &Extents, g: &Geometry, x: &[f32], w: &[f32], dy: &[f32]) -> Sums {
    let [n, c, h, width] = e.input;
    let [o, per_group, kh, kw] = e.weight;
    let [oh, ow] = e.output;
    let out_per_group = o / g.groups;
    let zeros = |count: usize| vec![[0.0; 3]; count];
    let mut sums = Sums { y: zeros(n * o * oh * ow), dx: zeros(x.len()), dw: zeros(w.len()) };
    fn add(sum: &mut [f64; 3], a: f32, b: f32) {
        let product = f64::from(a) * f64::from(b);
        *sum = [sum[0] + product, sum[1] + product.abs(), sum[2] + 1.0];
    }
    // The source of a tap, where it lies on the image.
    let source = |axis: usize, out: usize, tap: usize, extent: usize| {
        (out * g.stride[axis] + tap * g.dilation[axis]).checked_sub(e.pad[axis]).filter(|&at| at < extent)
    };
    for image in 0..n {
        for out in 0..o {
            for (i, k) in (0..per_group).flat_map(|i| (0..kh * kw).map(move |k| (i, k))) {
                let channel = out / out_per_group * per_group + i;
                let weight_at = (out * per_group + i) * kh * kw + k;
                for place in 0..oh * ow {
                    let row = source(0, place / ow, k / kw, h);
                    let column = source(1, place % ow, k % kw, width);
                    let (Some(row), Some(column)) = (row, column) else { continue };
                    let x_at = ((image * c + channel) * h + row) * width + column;
                    let y_at = (image * o + out) * oh * ow + place;
                    add(&mut sums.y[y_at], x[x_at], w[weight_at]);
                    add(&mut sums.dx[x_at], dy[y_at], w[weight_at]);
                    add(&mut sums.dw[weight_at], dy[y_at], x[x_at]);
                }
            }
        }
    }
    sums
}

struct Setting {
    what: String,
    extents: Extents,
    x: Tensor,
    w: Tensor,
    dy: Tensor,
    sums: Sums,
}

/// How values are drawn: whole numbers, or fractions.
type Values = fn(&Trial<'_>, usize, u64) -> Vec<f32>;

fn setting(t: &Trial<'_>, (input, weight, g): Shapes, draw: Values) -> Result<Setting> {
    let (input_shape, weight_shape) = (Shape::from(input), Shape::from(weight));
    let extents = g.extents(&input_shape, &weight_shape)?;
    let output = Shape::from([input[0], weight[0], extents.output[0], extents.output[1]]);
    let x = draw(t, input_shape.count(), 1);
    let w = draw(t, weight_shape.count(), 2);
    let dy = draw(t, output.count(), 3);
    Ok(Setting {
        what: format!("{input:?} with {weight:?}, {g:?}"),
        extents,
        sums: oracle(&extents, &g, &x, &w, &dy),
        x: t.tensor(input_shape, &x)?,
        w: t.tensor(weight_shape, &w)?,
        dy: t.tensor(output, &dy)?,
    })
}

/// Whole numbers so small that every partial sum is exact: no order of summation changes a bit.
fn exact(t: &mut Trial<'_>) -> Result<()> {
    for (number, shapes) in shapes().into_iter().enumerate() {
        let g = shapes.2;
        let Setting { what, extents, x, w, dy, sums } = setting(t, shapes, whole)?;
        let exact = |sums: &[[f64; 3]]| sums.iter().map(|s| s[0] as f32).collect::<Vec<f32>>();
        let plane: usize = extents.output.iter().product();
        let outputs = extents.weight[0];
        // Each case with no epilogue or one of the others: with bias, with ReLU, with both.
        let (with_bias, relu) = [(false, false), (true, false), (false, true), (true, true)][number % 4];
        let bias = whole(t, outputs, 4);
        let expected: Vec<f32> = exact(&sums.y)
            .into_iter()
            .enumerate()
            .map(|(at, v)| if with_bias { v + bias[at / plane % outputs] } else { v })
            .map(|v| if relu { v.max(0.0) } else { v })
            .collect();
        let bias = t.tensor([outputs], &bias)?;
        let y = forward(&x, &w, &g, Epilogue { bias: with_bias.then_some(&bias), relu })?;
        t.same(format!("shape of {what}"), y.shape(), dy.shape())?;
        let forward = format!("forward, bias {with_bias}, relu {relu}: {what}");
        t.values(forward, &y, &expected, Bound::Equal)?;
        let dx = input_grad(&dy, &w, x.shape(), &g)?;
        t.same(format!("shape of the input's gradient: {what}"), dx.shape(), x.shape())?;
        t.values(format!("gradient of the input: {what}"), &dx, &exact(&sums.dx), Bound::Equal)?;
        let dw = weight_grad(&x, &dy, w.shape(), &g)?;
        t.same(format!("shape of the weights' gradient: {what}"), dw.shape(), w.shape())?;
        t.values(format!("gradient of the weights: {what}"), &dw, &exact(&sums.dw), Bound::Equal)?;
    }
    Ok(())
}

fn fractions(t: &mut Trial<'_>) -> Result<()> {
    // Shapes of the exact case, so that nothing is compiled twice.
    for shapes in shapes().into_iter().skip(2).step_by(6) {
        let g = shapes.2;
        let Setting { what, x, w, dy, sums, .. } = setting(t, shapes, values)?;
        let estimates = |sums: &[[f64; 3]]| -> Vec<Estimate> {
            sums.iter().map(|&[sum, size, terms]| Estimate::dot(sum, size, terms as usize)).collect()
        };
        t.estimates(format!("forward: {what}"), &forward(&x, &w, &g, Epilogue::NONE)?, &estimates(&sums.y))?;
        let dx = input_grad(&dy, &w, x.shape(), &g)?;
        t.estimates(format!("gradient of the input: {what}"), &dx, &estimates(&sums.dx))?;
        let dw = weight_grad(&x, &dy, w.shape(), &g)?;
        t.estimates(format!("gradient of the weights: {what}"), &dw, &estimates(&sums.dw))?;
    }
    Ok(())
}
