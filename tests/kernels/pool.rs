use simqat::kernel::pool::{Window, average_backward, average_forward, max_backward, max_forward};
use simqat::tensor::Tensor;

use super::common::assert_close;
use super::{families, tensor, values, whole};

const WINDOWS: [Window; 6] = [
    Window { kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Window { kernel: [3, 3], stride: [2, 2], padding: [1, 1] }, // ResNet's
    Window { kernel: [2, 3], stride: [1, 2], padding: [0, 1] },
    Window { kernel: [2, 2], stride: [3, 3], padding: [1, 1] }, // values between the windows
    Window { kernel: [5, 1], stride: [1, 1], padding: [2, 0] },
    Window { kernel: [1, 1], stride: [1, 1], padding: [0, 0] },
];
const SHAPES: [[usize; 4]; 5] = [[1, 1, 5, 5], [2, 3, 7, 6], [1, 1, 3, 3], [3, 5, 13, 9], [2, 3, 112, 112]];

/// The pixels of each window that lie on the plane, as (pooled place, plane place), in reading order.
fn taps(window: &Window, shape: [usize; 4]) -> (Vec<Vec<usize>>, [usize; 2]) {
    let [.., h, w] = shape;
    let [oh, ow] = window.output([h, w]).unwrap();
    let axis = |place: usize, k: usize, i: usize, extent: usize| {
        (place * window.stride[i] + k).checked_sub(window.padding[i]).filter(|&at| at < extent)
    };
    let mut all = Vec::new();
    for wy in 0..oh {
        for wx in 0..ow {
            let rows = (0..window.kernel[0]).filter_map(|k| axis(wy, k, 0, h));
            let columns = || (0..window.kernel[1]).filter_map(|k| axis(wx, k, 1, w));
            all.push(rows.flat_map(|y| columns().map(move |x| y * w + x)).collect());
        }
    }
    (all, [oh, ow])
}

fn each_case(check: impl Fn(&Window, [usize; 4], Vec<Vec<usize>>, [usize; 2])) {
    for window in &WINDOWS {
        for shape in SHAPES.into_iter().filter(|s| window.output([s[2], s[3]]).is_ok()) {
            let (taps, out) = taps(window, shape);
            check(window, shape, taps, out);
        }
    }
}

#[test]
fn maxima_their_places_and_their_gradient() {
    each_case(|window, shape, taps, [oh, ow]| {
        let [n, c, h, w] = shape;
        let what = format!("{window:?} over {shape:?}");
        // Whole numbers, so that ties are common: the first of equals is the one.
        let x = whole(n * c * h * w, 2);
        let dy = values(n * c * oh * ow, 4);
        for relu in [false, true] {
            let (mut expected, mut chosen, mut dx) = (Vec::new(), Vec::new(), vec![0.0f32; x.len()]);
            for plane in 0..n * c {
                for (i, taps) in taps.iter().enumerate() {
                    let value = |at: usize| x[plane * h * w + at];
                    let place =
                        taps.iter().copied().reduce(|a, b| if value(b) > value(a) { b } else { a }).unwrap();
                    let best = value(place);
                    if !relu || best > 0.0 {
                        dx[plane * h * w + place] += dy[plane * oh * ow + i];
                    }
                    expected.push(if relu { best.max(0.0) } else { best });
                    chosen.push(place as u32);
                }
            }
            let (y, places) = max_forward(&tensor(shape, &x), window, relu).unwrap();
            assert_eq!(y.shape()[..], [n, c, oh, ow]);
            assert_eq!(y.read_f32().unwrap(), expected, "{what}, relu {relu}");
            assert_eq!(places.read_u32().unwrap(), chosen, "{what}, relu {relu}");
            let dy = tensor([n, c, oh, ow], &dy);
            let back = max_backward(&dy, &places, relu.then_some(&y), shape, window).unwrap();
            // The order of a few additions may differ.
            assert_close(&what, &back.read_f32().unwrap(), &dx, 1e-6, 1e-6);
        }
    });
}

#[test]
fn averages_and_their_gradient() {
    each_case(|window, shape, taps, [oh, ow]| {
        let [n, c, h, w] = shape;
        let (x, dy) = (values(n * c * h * w, 2), values(n * c * oh * ow, 4));
        for count_padding in [false, true] {
            let what = format!("{window:?} over {shape:?}, padding counts: {count_padding}");
            let (mut expected, mut dx) = (Vec::new(), vec![0.0f32; x.len()]);
            for plane in 0..n * c {
                for (i, taps) in taps.iter().enumerate() {
                    let all = if count_padding { window.kernel.iter().product() } else { taps.len() } as f32;
                    expected.push(taps.iter().map(|at| x[plane * h * w + at]).sum::<f32>() / all);
                    taps.iter().for_each(|at| dx[plane * h * w + at] += dy[plane * oh * ow + i] / all);
                }
            }
            let y = average_forward(&tensor(shape, &x), window, count_padding).unwrap();
            // Rounding of up to nine additions of values up to 3.
            assert_close(&what, &y.read_f32().unwrap(), &expected, 1e-6, 2e-6);
            let back = average_backward(&tensor([n, c, oh, ow], &dy), shape, window, count_padding).unwrap();
            assert_close(&what, &back.read_f32().unwrap(), &dx, 1e-6, 2e-6);
        }
    });
}

/// The head of a ResNet, in both families of kernels: planes of one pixel, some, and so many that a workgroup shares them.
#[test]
fn averages_over_whole_planes_and_their_gradient() {
    for gpu in families() {
        for shape in [[3, 70, 1, 1], [2, 33, 7, 7], [2, 5, 9, 13], [2, 3, 56, 56], [70, 64, 2, 2]] {
            let [n, c, h, w] = shape;
            let window = Window { kernel: [h, w], stride: [h, w], padding: [0, 0] };
            let (x, dy) = (values(n * c * h * w, 5), values(n * c, 6));
            let area = (h * w) as f32;
            let mean = |plane: &[f32]| plane.iter().map(|&v| f64::from(v)).sum::<f64>() as f32 / area;
            let expected: Vec<f32> = x.chunks(h * w).map(mean).collect();
            let y = average_forward(&Tensor::from_f32(&gpu, shape, &x).unwrap(), &window, true).unwrap();
            assert_eq!(y.shape()[..], [n, c, 1, 1]);
            // A sum of 3136 values up to 3 in any order is off by a few units of its last places, 2^-24 of 10 000
            // at worst, and is divided by their number.
            assert_close(&format!("{shape:?}"), &y.read_f32().unwrap(), &expected, 1e-6, 2e-6);
            let dx: Vec<f32> = dy.iter().flat_map(|v| vec![v / area; h * w]).collect();
            let dy = Tensor::from_f32(&gpu, [n, c, 1, 1], &dy).unwrap();
            let back = average_backward(&dy, shape, &window, true).unwrap();
            // A division and a product with the inverse differ by two roundings.
            assert_close(&format!("{shape:?}"), &back.read_f32().unwrap(), &dx, 5e-7, 0.0);
        }
    }
}

#[test]
fn negative_planes_keep_their_sign_under_padding() {
    // Padding is no zero that wins.
    let (y, _) = max_forward(&tensor([1, 1, 3, 3], &[-1.0; 9]), &WINDOWS[1], false).unwrap();
    assert_eq!(y.read_f32().unwrap(), [-1.0; 4]);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let x = tensor([1, 1, 2, 2], &[0.0; 4]);
    assert!(max_forward(&x, &Window::square(3), false).is_err());
    assert!(average_forward(&tensor([4], &[0.0; 4]), &Window::square(2), false).is_err());
    // A gradient that is not of the pooled shape would be read past its end.
    let dy = tensor([1, 1, 2, 2], &[0.0; 4]);
    let (_, places) = max_forward(&dy, &WINDOWS[5], false).unwrap();
    for shape in [[1, 1, 6, 6], [2, 1, 4, 4], [1, 3, 4, 4]] {
        assert!(max_backward(&dy, &places, None, shape, &WINDOWS[0]).is_err(), "{shape:?}");
        assert!(average_backward(&dy, shape, &WINDOWS[0], false).is_err(), "{shape:?}");
    }
    let y = tensor([1, 1, 1, 1], &[0.0]);
    assert!(max_backward(&dy, &places, Some(&y), [1, 1, 4, 4], &WINDOWS[0]).is_err());
}
