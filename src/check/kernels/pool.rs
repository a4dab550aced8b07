//! Max and average pooling, and their gradients.

use super::super::{Case, Trial};
use super::{values, whole};
use crate::Result;
use crate::kernel::pool::{Window, average_backward, average_forward, max_backward, max_forward};
use crate::shader_test::{Bound, Estimate};

const FAMILY: &str = "pooling";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "maxima, their places and their gradient", maxima),
    Case::new(FAMILY, "averages and their gradient", averages),
    Case::new(FAMILY, "averages over whole planes and their gradient", whole_planes).on_both(),
    Case::new(FAMILY, "negative planes keep their sign under padding", negative_planes),
];

const WINDOWS: [Window; 6] = [
    Window { kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Window { kernel: [3, 3], stride: [2, 2], padding: [1, 1] }, // ResNet's
    Window { kernel: [2, 3], stride: [1, 2], padding: [0, 1] },
    Window { kernel: [2, 2], stride: [3, 3], padding: [1, 1] }, // values between the windows
    Window { kernel: [5, 1], stride: [1, 1], padding: [2, 0] },
    Window { kernel: [1, 1], stride: [1, 1], padding: [0, 0] },
];
const SHAPES: [[usize; 4]; 5] = [[1, 1, 5, 5], [2, 3, 7, 6], [1, 1, 3, 3], [3, 5, 13, 9], [2, 3, 112, 112]];

/// A window on a shape: for each pooled place the pixels of the plane that it covers, in reading order.
struct Pooling {
    what: String,
    window: Window,
    shape: [usize; 4],
    taps: Vec<Vec<usize>>,
    output: [usize; 2],
}

fn poolings() -> impl Iterator<Item = Pooling> {
    WINDOWS.iter().flat_map(|&window| SHAPES.iter().filter_map(move |&shape| pooling(window, shape)))
}

/// `None` if the window does not fit.
fn pooling(window: Window, shape: [usize; 4]) -> Option<Pooling> {
    let [.., h, w] = shape;
    let output = window.output([h, w]).ok()?;
    let axis = |place: usize, k: usize, i: usize, extent: usize| {
        (place * window.stride[i] + k).checked_sub(window.padding[i]).filter(|&at| at < extent)
    };
    let mut taps = Vec::new();
    for wy in 0..output[0] {
        for wx in 0..output[1] {
            let rows = (0..window.kernel[0]).filter_map(|k| axis(wy, k, 0, h));
            let columns = || (0..window.kernel[1]).filter_map(|k| axis(wx, k, 1, w));
            taps.push(rows.flat_map(|y| columns().map(move |x| y * w + x)).collect());
        }
    }
    Some(Pooling { what: format!("{window:?} over {shape:?}"), window, shape, taps, output })
}

fn maxima(t: &mut Trial<'_>) -> Result<()> {
    for Pooling { what, window, shape, taps, output: [oh, ow] } in poolings() {
        let [n, c, h, w] = shape;
        // Whole numbers, so that ties are common: the first of equals is the one.
        let x = whole(t, n * c * h * w, 2);
        let dy = values(t, n * c * oh * ow, 4);
        for relu in [false, true] {
            let (mut expected, mut chosen, mut dx) = (Vec::new(), Vec::new(), vec![Vec::new(); x.len()]);
            for plane in 0..n * c {
                for (i, taps) in taps.iter().enumerate() {
                    let value = |at: usize| x[plane * h * w + at];
                    let place = taps.iter().copied().reduce(|a, b| if value(b) > value(a) { b } else { a });
                    let place = place.unwrap_or_else(|| unreachable!("every window covers a pixel"));
                    let best = value(place);
                    if !relu || best > 0.0 {
                        dx[plane * h * w + place].push(Estimate::from(dy[plane * oh * ow + i]));
                    }
                    expected.push(if relu { best.max(0.0) } else { best });
                    chosen.push(place as u32);
                }
            }
            let what = format!("{what}, relu {relu}");
            let (y, places) = max_forward(&t.tensor(shape, &x)?, &window, relu)?;
            t.same(&what, y.shape(), &[n, c, oh, ow])?;
            t.values(&what, &y, &expected, Bound::Equal)?;
            t.same(&what, &places.read_u32()?, &chosen)?;
            let back =
                max_backward(&t.tensor([n, c, oh, ow], &dy)?, &places, relu.then_some(&y), shape, &window)?;
            t.estimates(&what, &back, &dx.into_iter().map(Estimate::sum).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

fn averages(t: &mut Trial<'_>) -> Result<()> {
    for Pooling { what, window, shape, taps, output: [oh, ow] } in poolings() {
        let [n, c, h, w] = shape;
        let (x, dy) = (values(t, n * c * h * w, 2), values(t, n * c * oh * ow, 4));
        for count_padding in [false, true] {
            let what = format!("{what}, padding counts: {count_padding}");
            let (mut expected, mut dx) = (Vec::new(), vec![Vec::new(); x.len()]);
            for plane in 0..n * c {
                for (i, taps) in taps.iter().enumerate() {
                    let all = if count_padding { window.kernel.iter().product() } else { taps.len() };
                    // The shaders multiply by the inverse.
                    let share = Estimate::exact(1.0) / Estimate::exact(all as f64);
                    let sum = Estimate::sum(taps.iter().map(|at| x[plane * h * w + at].into()));
                    expected.push(sum * share);
                    let share = Estimate::from(dy[plane * oh * ow + i]) * share;
                    taps.iter().for_each(|at| dx[plane * h * w + at].push(share));
                }
            }
            let y = average_forward(&t.tensor(shape, &x)?, &window, count_padding)?;
            t.estimates(&what, &y, &expected)?;
            let back = average_backward(&t.tensor([n, c, oh, ow], &dy)?, shape, &window, count_padding)?;
            t.estimates(&what, &back, &dx.into_iter().map(Estimate::sum).collect::<Vec<_>>())?;
        }
    }
    Ok(())
}

/// The head of a ResNet: planes of one pixel, of some, and so many that a workgroup shares them.
fn whole_planes(t: &mut Trial<'_>) -> Result<()> {
    for shape in [[3, 70, 1, 1], [2, 33, 7, 7], [2, 5, 9, 13], [2, 3, 56, 56], [70, 64, 2, 2]] {
        let [n, c, h, w] = shape;
        let what = format!("{shape:?}");
        let window = Window { kernel: [h, w], stride: [h, w], padding: [0, 0] };
        // Sums of whole numbers are exact, so that a pixel that is left out is not small beside their rounding.
        let (x, dy) = (whole(t, n * c * h * w, 5), values(t, n * c, 6));
        let share = Estimate::exact(1.0) / Estimate::exact((h * w) as f64);
        let sum = |plane: &[f32]| Estimate::exact(plane.iter().map(|&v| f64::from(v)).sum());
        let expected: Vec<Estimate> = x.chunks(h * w).map(|plane| sum(plane) * share).collect();
        let y = average_forward(&t.tensor(shape, &x)?, &window, true)?;
        t.same(format!("shape of {what}"), y.shape(), &[n, c, 1, 1])?;
        t.estimates(&what, &y, &expected)?;
        let dx: Vec<Estimate> = dy.iter().flat_map(|&v| vec![Estimate::from(v) * share; h * w]).collect();
        let back = average_backward(&t.tensor([n, c, 1, 1], &dy)?, shape, &window, true)?;
        t.estimates(format!("gradient of {what}"), &back, &dx)?;
    }
    Ok(())
}

fn negative_planes(t: &mut Trial<'_>) -> Result<()> {
    // Padding is no zero that wins.
    let (y, _) = max_forward(&t.tensor([1, 1, 3, 3], &[-1.0; 9])?, &WINDOWS[1], false)?;
    t.values("-1 everywhere", &y, &[-1.0; 4], Bound::Equal)
}
