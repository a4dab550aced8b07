//! Element-wise functions over all of f32: zeros, numbers near the ends, infinities. Backends define built-ins over less than
//! that, and differ in what they do beyond.

use simqat::kernel::elementwise::{Binary, Unary, binary, unary};

use super::tensor;

/// Magnitudes from denormal to infinite; the densest where exp and tanh run into their ends.
const MAGNITUDES: [f32; 26] = [
    0.0,
    1e-45,
    1e-39,
    f32::MIN_POSITIVE,
    1e-30,
    1e-10,
    1e-3,
    0.5,
    1.0,
    3.0,
    6.0,
    9.0,
    9.9,
    10.1,
    20.0,
    43.0,
    87.0,
    88.5,
    88.9,
    104.0,
    1e4,
    1e10,
    1e20,
    1e38,
    f32::MAX,
    f32::INFINITY,
];

fn all() -> Vec<f32> {
    MAGNITUDES.iter().flat_map(|&m| [m, -m]).collect()
}

/// A value of the device for one of the host, which is exact: NaN for NaN, an infinity for itself, and else within
/// `relative` or `absolute`. WGSL lets a device take a denormal number for zero, coming in or going out.
fn agrees(found: f32, exact: f64, [relative, absolute]: [f64; 2]) -> bool {
    let wanted = exact as f32;
    if wanted.is_nan() {
        return found.is_nan();
    }
    let least = f64::from(f32::MIN_POSITIVE);
    let off = (f64::from(found) - exact).abs();
    // Near the largest number, rounding and error may reach infinity from within.
    let ends = exact.abs() * (1.0 + relative) > f64::from(f32::MAX) && found.abs() >= 3e38;
    found == wanted
        || off <= relative * exact.abs() + absolute
        || (exact.abs() < least && off < least)
        || (ends && f64::from(found) * exact > 0.0)
}

#[track_caller]
fn check(what: &str, found: &[f32], expected: impl Iterator<Item = (String, [f64; 2], [f64; 2])>) {
    let mut wrong = Vec::new();
    for (&found, (input, exact, bounds)) in found.iter().zip(expected) {
        if !exact.iter().any(|&exact| agrees(found, exact, bounds)) {
            wrong.push(format!("{input} gave {found:e}, expected {:e}", exact[0] as f32));
        }
    }
    assert!(wrong.is_empty(), "{what}: {}", wrong.join("; "));
}

/// As a device that takes denormal numbers for zeros sees it.
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0.0 } else { x }
}

#[test]
fn unary_functions_over_all_of_f32() {
    use Unary::*;
    let function = |op: Unary, x: f64| match op {
        Relu => x.max(0.0),
        Relu6 => x.clamp(0.0, 6.0),
        LeakyRelu => {
            if x > 0.0 {
                x
            } else {
                0.25 * x
            }
        }
        Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Tanh => x.tanh(),
        HSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        HSwish => x * ((x + 3.0).clamp(0.0, 6.0) / 6.0),
        Exp => x.exp(),
        Log => x.ln(),
        Sqrt => x.sqrt(),
        Neg => -x,
        Affine => 0.25 * x - 1.5,
    };
    for op in [Relu, Relu6, LeakyRelu, Sigmoid, Tanh, HSigmoid, HSwish, Exp, Log, Sqrt, Neg, Affine] {
        // What is defined nowhere below zero.
        let x: Vec<f32> = all().into_iter().filter(|x| op != Log || *x >= 0.0).collect();
        let y = unary(op, &tensor([x.len()], &x), 0.25, -1.5).unwrap().read_f32().unwrap();
        // In units of the last place, and of 1. Vulkan lets exp be off by 3 + 2 |x| units, and what is made of it likewise; tanh
        // is a difference of two.
        let units = |x: f32| match op {
            Exp | Sigmoid => [8.0 + 2.0 * f64::from(x.abs()).min(104.0), 0.0],
            Tanh | Log => [8.0, 8.0],
            _ => [8.0, 0.0],
        };
        let expected = x.iter().map(|&x| {
            let exact = [x, flushed(x)].map(|x| function(op, x.into()));
            (format!("{x:e}"), exact, units(x).map(|units| units * f64::from(f32::EPSILON)))
        });
        check(&format!("{op:?}"), &y, expected);
    }
}

#[test]
fn what_is_no_number_stays_none() {
    use Unary::*;
    for op in [LeakyRelu, Sigmoid, Tanh, HSwish, Exp, Log, Sqrt, Neg, Affine] {
        let y = unary(op, &tensor([2], &[f32::NAN, 1.0]), 0.25, -1.5).unwrap().read_f32().unwrap();
        assert!(y[0].is_nan() && y[1].is_finite(), "{op:?}: {y:?}");
    }
    for op in [Log, Sqrt] {
        let y = unary(op, &tensor([1], &[-1.0]), 0.0, 0.0).unwrap().read_f32().unwrap();
        assert!(y[0].is_nan(), "{op:?}: {y:?}");
    }
}

#[test]
fn pairs_over_all_of_f32() {
    use Binary::*;
    let function = |op: Binary, a: f32, b: f32| {
        let (wa, wb) = (f64::from(a), f64::from(b));
        match op {
            Add => wa + wb,
            Sub => wa - wb,
            Mul => wa * wb,
            Div => wa / wb,
            Max => wa.max(wb),
            _ => wa.min(wb),
        }
    };
    let (a, b): (Vec<f32>, Vec<f32>) =
        all().into_iter().flat_map(|a| all().into_iter().map(move |b| (a, b))).unzip();
    for op in [Add, Sub, Mul, Div, Max, Min] {
        let y = binary(op, &tensor([a.len()], &a), &tensor([b.len()], &b), 0.0).unwrap().read_f32().unwrap();
        let expected = a.iter().zip(&b).map(|(&a, &b)| {
            let exact = [function(op, a, b), function(op, flushed(a), flushed(b))];
            (format!("{a:e} and {b:e}"), exact, [8.0 * f64::from(f32::EPSILON), 0.0])
        });
        check(&format!("{op:?}"), &y, expected);
    }
}
