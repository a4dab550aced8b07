use simqat::gpu::Gpu;
use simqat::kernel::conv::{Extents, Geometry, Padding, forward, input_grad, weight_grad};
use simqat::kernel::gemm::Epilogue;
use simqat::tensor::{DType, Shape, Tensor};

use super::common::{gpu, tiled_gpu};
use super::{values, whole};

/// A convolution: [N, C, H, W], [O, C / groups, kh, kw], geometry.
type Case = ([usize; 4], [usize; 4], Geometry);

fn cases() -> Vec<Case> {
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
    assert_eq!(c, per_group * g.groups);
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

fn setting(gpu: &Gpu, (input, weight, g): Case, draw: fn(usize, u64) -> Vec<f32>) -> Setting {
    let (input_shape, weight_shape) = (Shape::from(input), Shape::from(weight));
    let extents = g.extents(&input_shape, &weight_shape).unwrap();
    let output = Shape::from([input[0], weight[0], extents.output[0], extents.output[1]]);
    let (x, w, dy) = (draw(input_shape.count(), 1), draw(weight_shape.count(), 2), draw(output.count(), 3));
    Setting {
        what: format!("{input:?} with {weight:?}, {g:?}"),
        extents,
        sums: oracle(&extents, &g, &x, &w, &dy),
        x: Tensor::from_f32(gpu, input_shape, &x).unwrap(),
        w: Tensor::from_f32(gpu, weight_shape, &w).unwrap(),
        dy: Tensor::from_f32(gpu, output, &dy).unwrap(),
    }
}

/// Whole numbers so small that every partial sum is exact: no order of summation changes a bit.
fn exact_on(gpu: &Gpu) {
    for (number, case) in cases().into_iter().enumerate() {
        let g = case.2;
        let Setting { what, extents, x, w, dy, sums } = setting(gpu, case, whole);
        let exact = |sums: &[[f64; 3]]| sums.iter().map(|s| s[0] as f32).collect::<Vec<f32>>();
        let plane: usize = extents.output.iter().product();
        let outputs = extents.weight[0];
        // Each case with no epilogue or one of the others: with bias, with ReLU, with both.
        let (with_bias, relu) = [(false, false), (true, false), (false, true), (true, true)][number % 4];
        let bias = whole(outputs, 4);
        let expected: Vec<f32> = exact(&sums.y)
            .into_iter()
            .enumerate()
            .map(|(at, v)| if with_bias { v + bias[at / plane % outputs] } else { v })
            .map(|v| if relu { v.max(0.0) } else { v })
            .collect();
        let bias = Tensor::from_f32(gpu, [outputs], &bias).unwrap();
        let y = forward(&x, &w, &g, Epilogue { bias: with_bias.then_some(&bias), relu }).unwrap();
        assert_eq!(y.shape(), dy.shape(), "{what}");
        assert!(y.read_f32().unwrap() == expected, "forward, bias {with_bias}, relu {relu}: {what}");
        let dx = input_grad(&dy, &w, x.shape(), &g).unwrap();
        assert_eq!(dx.shape(), x.shape(), "{what}");
        assert!(dx.read_f32().unwrap() == exact(&sums.dx), "gradient of the input: {what}");
        let dw = weight_grad(&x, &dy, w.shape(), &g).unwrap();
        assert_eq!(dw.shape(), w.shape(), "{what}");
        assert!(dw.read_f32().unwrap() == exact(&sums.dw), "gradient of the weights: {what}");
    }
}

#[test]
fn convolutions_of_whole_numbers_are_exact() {
    exact_on(&gpu());
}

#[test]
fn convolutions_of_whole_numbers_are_exact_in_tiles() {
    exact_on(&tiled_gpu());
}

#[track_caller]
fn assert_rounded(what: &str, found: &Tensor, sums: &[[f64; 3]]) {
    for (at, (found, [sum, size, terms])) in found.read_f32().unwrap().into_iter().zip(sums).enumerate() {
        // Higham's bound for a sum of products in any order: as many units of 2^-24 of the magnitudes as there
        // are terms.
        let allowed = terms * size / f64::from(1 << 24);
        let off = (f64::from(found) - sum).abs();
        assert!(off <= allowed, "{what}: value {at} is {found}, expected {sum}");
    }
}

#[test]
fn convolutions_of_fractions_are_within_the_rounding_of_their_sum() {
    // Shapes of the exact test, so that nothing is compiled twice.
    for gpu in [gpu(), tiled_gpu()] {
        for case in cases().into_iter().skip(2).step_by(6) {
            let g = case.2;
            let Setting { what, x, w, dy, sums, .. } = setting(&gpu, case, values);
            assert_rounded(&what, &forward(&x, &w, &g, Epilogue::NONE).unwrap(), &sums.y);
            assert_rounded(&what, &input_grad(&dy, &w, x.shape(), &g).unwrap(), &sums.dx);
            assert_rounded(&what, &weight_grad(&x, &dy, w.shape(), &g).unwrap(), &sums.dw);
        }
    }
}

#[test]
fn an_output_beyond_the_adapters_limit_is_refused_with_the_numbers() {
    for gpu in [gpu(), tiled_gpu()] {
        // 16 MiB of output for each image; limits are whole multiples of that.
        let fits = (gpu.caps().max_binding_bytes >> 24) as usize;
        let x = Tensor::zeros(&gpu, [fits + 1, 1, 64, 64], DType::F32).unwrap();
        let w = Tensor::zeros(&gpu, [1024, 1, 1, 1], DType::F32).unwrap();
        let error = forward(&x, &w, &Geometry::default(), Epilogue::NONE).unwrap_err().to_string();
        for part in [
            format!("[{}, 1024, 64, 64]", fits + 1),
            format!("{}.0 MiB", (fits + 1) * 16),
            format!("at most {}.0 MiB", fits * 16),
        ] {
            assert!(error.contains(&part), "no \"{part}\" in: {error}");
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let gpu = gpu();
    let zeros = |shape: [usize; 4]| Tensor::zeros(&gpu, shape, DType::F32).unwrap();
    let g = Geometry::default();
    let (x, w, dy) = (zeros([1, 2, 4, 4]), zeros([3, 2, 3, 3]), zeros([1, 3, 2, 2]));
    let error = forward(&x, &zeros([3, 1, 3, 3]), &g, Epilogue::NONE).unwrap_err().to_string();
    assert!(error.contains("[1, 2, 4, 4]") && error.contains("[3, 1, 3, 3]"), "{error}");
    assert!(forward(&x, &zeros([3, 2, 5, 3]), &g, Epilogue::NONE).is_err());
    let bias = Tensor::zeros(&gpu, [2], DType::F32).unwrap();
    assert!(forward(&x, &w, &g, Epilogue { bias: Some(&bias), relu: false }).is_err());
    // A gradient that is not of the output's shape would be read past its end.
    assert!(input_grad(&zeros([1, 3, 1, 2]), &w, x.shape(), &g).is_err());
    assert!(input_grad(&dy, &w, &[1, 2, 5, 4].into(), &g).is_err());
    assert!(weight_grad(&x, &zeros([2, 3, 2, 2]), w.shape(), &g).is_err());
    assert!(weight_grad(&x, &dy, &[3, 2, 2, 3].into(), &g).is_err());
    let words = Tensor::zeros(&gpu, [1, 2, 4, 4], DType::U32).unwrap();
    assert!(forward(&words, &w, &g, Epilogue::NONE).is_err());
}
