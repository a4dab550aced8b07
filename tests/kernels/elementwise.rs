use proptest::prelude::*;
use simqat::kernel::elementwise::{Binary, Unary, add_same, binary, unary};
use simqat::tensor::{DType, Shape, Tensor};

use super::common::{assert_close, gpu};
use super::{few, tensor, values};

/// The last length takes the variant that repeats its body, and ends in the middle of a workgroup.
const LENGTHS: [usize; 7] = [1, 3, 4, 63, 257, 1000, 33_001];

/// Functions of the device may be off by a few units in the last place: Vulkan allows 3 + 2|x| for exp, and
/// an absolute 2^-21 for the logarithm around 1.
const RELATIVE: f32 = 4e-6;
const ABSOLUTE: f32 = 1e-6;

fn unary_oracle(op: Unary, x: f32, a: f32, b: f32) -> f32 {
    let wide = f64::from(x);
    match op {
        Unary::Relu => x.max(0.0),
        Unary::Relu6 => x.clamp(0.0, 6.0),
        Unary::LeakyRelu => {
            if x > 0.0 {
                x
            } else {
                a * x
            }
        }
        Unary::Sigmoid => (1.0 / (1.0 + (-wide).exp())) as f32,
        Unary::Tanh => wide.tanh() as f32,
        Unary::HSigmoid => ((wide + 3.0).clamp(0.0, 6.0) / 6.0) as f32,
        Unary::HSwish => (wide * (wide + 3.0).clamp(0.0, 6.0) / 6.0) as f32,
        Unary::Exp => wide.exp() as f32,
        Unary::Log => wide.ln() as f32,
        Unary::Sqrt => x.sqrt(),
        Unary::Neg => -x,
        Unary::Affine => a * x + b,
    }
}

#[test]
fn unary_functions_are_those_of_the_host() {
    use Unary::*;
    for op in [Relu, Relu6, LeakyRelu, Sigmoid, Tanh, HSigmoid, HSwish, Exp, Log, Sqrt, Neg, Affine] {
        for length in LENGTHS {
            let positive = matches!(op, Log | Sqrt);
            let x: Vec<f32> = values(length, length as u64)
                .iter()
                .map(|v| if positive { v.abs() + 1e-3 } else { v * 3.0 })
                .collect();
            let y = unary(op, &tensor([length], &x), 0.25, -1.5).unwrap().read_f32().unwrap();
            let expected: Vec<f32> = x.iter().map(|&v| unary_oracle(op, v, 0.25, -1.5)).collect();
            assert_close(&format!("{op:?} of {length}"), &y, &expected, RELATIVE, ABSOLUTE);
        }
    }
}

#[test]
fn saturating_functions_stay_finite_far_out() {
    let x = [-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4];
    let sigmoid = unary(Unary::Sigmoid, &tensor([7], &x), 0.0, 0.0).unwrap().read_f32().unwrap();
    assert_close("sigmoid", &sigmoid, &[0.0, 0.0, 2.0611537e-9, 0.5, 1.0, 1.0, 1.0], 1e-5, 1e-30);
    let tanh = unary(Unary::Tanh, &tensor([7], &x), 0.0, 0.0).unwrap().read_f32().unwrap();
    assert_close("tanh", &tanh, &[-1.0, -1.0, -1.0, 0.0, 1.0, 1.0, 1.0], 1e-6, 0.0);
}

const BINARY: [Binary; 16] = [
    Binary::Add,
    Binary::AddRelu,
    Binary::Sub,
    Binary::Mul,
    Binary::Div,
    Binary::Max,
    Binary::Min,
    Binary::ReluGrad,
    Binary::Relu6Grad,
    Binary::LeakyReluGrad,
    Binary::SigmoidGrad,
    Binary::TanhGrad,
    Binary::HSigmoidGrad,
    Binary::HSwishGrad,
    Binary::LogGrad,
    Binary::SqrtGrad,
];

fn binary_oracle(op: Binary, a: f32, b: f32, c: f32) -> f32 {
    let passes = |yes: bool| if yes { a } else { 0.0 };
    let (wa, wb) = (f64::from(a), f64::from(b));
    match op {
        Binary::Add => a + b,
        Binary::AddRelu => (a + b).max(0.0),
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div | Binary::LogGrad => a / b,
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::ReluGrad => passes(b > 0.0),
        Binary::Relu6Grad => passes(b > 0.0 && b < 6.0),
        Binary::LeakyReluGrad => {
            if b > 0.0 {
                a
            } else {
                c * a
            }
        }
        Binary::SigmoidGrad => (wa * wb * (1.0 - wb)) as f32,
        Binary::TanhGrad => (wa * (1.0 - wb * wb)) as f32,
        Binary::HSigmoidGrad => passes(b > 0.0 && b < 1.0) / 6.0,
        Binary::HSwishGrad => {
            let slope = match wb {
                b if b <= -3.0 => 0.0,
                b if b >= 3.0 => 1.0,
                b => (2.0 * b + 3.0) / 6.0,
            };
            (wa * slope) as f32
        }
        Binary::SqrtGrad => (wa * 0.5 / wb) as f32,
    }
}

/// Second operands: never near zero where the op divides by them, and on the corners of the others.
fn seconds(op: Binary, count: usize) -> Vec<f32> {
    let divides = matches!(op, Binary::Div | Binary::LogGrad | Binary::SqrtGrad);
    values(count, 5)
        .iter()
        .enumerate()
        .map(|(i, v)| match i % 11 {
            _ if divides => v.abs() + 0.1,
            0 => 0.0,
            1 => 6.0,
            2 => 1.0,
            3 => 3.0,
            4 => -3.0,
            _ => v * 3.0,
        })
        .collect()
}

#[test]
fn pairs_of_one_shape() {
    for op in BINARY {
        for length in LENGTHS {
            let (a, b) = (values(length, 3), seconds(op, length));
            let y = binary(op, &tensor([length], &a), &tensor([length], &b), 0.25).unwrap();
            let expected: Vec<f32> = a.iter().zip(&b).map(|(&a, &b)| binary_oracle(op, a, b, 0.25)).collect();
            assert_close(
                &format!("{op:?} of {length}"),
                &y.read_f32().unwrap(),
                &expected,
                RELATIVE,
                ABSOLUTE,
            );
        }
    }
}

/// Value of a tensor of `shape` at a place of the shape that it was stretched to.
fn at(values: &[f32], shape: &Shape, place: &[usize]) -> f32 {
    let skipped = place.len() - shape.len();
    let offset =
        shape.iter().zip(&place[skipped..]).fold(0, |sum, (&e, &p)| sum * e + if e == 1 { 0 } else { p });
    values[offset]
}

fn places(shape: &Shape) -> impl Iterator<Item = Vec<usize>> {
    (0..shape.count()).map(|i| {
        let mut rest = i;
        let mut place: Vec<usize> = shape
            .iter()
            .rev()
            .map(|&e| {
                let p = rest % e;
                rest /= e;
                p
            })
            .collect();
        place.reverse();
        place
    })
}

fn check_broadcast(op: Binary, a: &Shape, b: &Shape) {
    let (va, vb) = (values(a.count(), 11), seconds(op, b.count()));
    let y = binary(op, &tensor(a, &va), &tensor(b, &vb), 0.25).unwrap();
    let shape = a.broadcast(b).unwrap();
    assert_eq!(y.shape(), &shape);
    let expected: Vec<f32> =
        places(&shape).map(|p| binary_oracle(op, at(&va, a, &p), at(&vb, b, &p), 0.25)).collect();
    assert_close(&format!("{op:?} of {a} and {b}"), &y.read_f32().unwrap(), &expected, RELATIVE, ABSOLUTE);
}

#[test]
fn every_op_broadcasts_in_every_pattern() {
    let patterns: [(&[usize], &[usize]); 12] = [
        (&[2, 3, 4, 5], &[3, 1, 1]), // a bias of [N, C, H, W]
        (&[7, 5], &[5]),             // a bias of a dense layer
        (&[7, 5], &[7, 1]),
        (&[7, 1], &[1, 5]), // outer
        (&[1, 5], &[7, 1]),
        (&[5], &[7, 5]),
        (&[], &[3, 3]),
        (&[3, 3], &[1]),
        (&[1], &[]),
        (&[2, 1, 3, 1], &[1, 4, 1, 5]),
        (&[1, 1, 1], &[4]),
        (&[6, 1, 1, 2], &[6, 3, 3, 1]),
    ];
    for (i, (a, b)) in patterns.into_iter().enumerate() {
        // All ops for the first pattern, which takes care of the shaders; the index arithmetic is the same.
        let ops = if i == 0 { &BINARY[..] } else { &[Binary::Sub][..] };
        for &op in ops {
            check_broadcast(op, &a.into(), &b.into());
        }
    }
}

/// A shape, and one that it can be stretched from or to.
pub fn stretched() -> impl Strategy<Value = (Shape, Shape)> {
    proptest::collection::vec((1usize..6, 0u8..3), 0..5).prop_flat_map(|axes| {
        let side = |one: u8| -> Vec<usize> {
            axes.iter().map(|&(extent, which)| if which == one { 1 } else { extent }).collect()
        };
        let (a, b) = (side(1), side(2));
        (Just(a), 0..=b.len()).prop_map(move |(a, dropped)| (Shape::from(a), Shape::from(&b[dropped..])))
    })
}

proptest! {
    #![proptest_config(few())]
    #[test]
    fn random_shapes_broadcast((a, b) in stretched()) {
        check_broadcast(Binary::Sub, &a, &b);
        check_broadcast(Binary::Sub, &b, &a);
    }
}

#[test]
fn up_to_eight_separate_axes_broadcast_and_more_are_refused() {
    let alternate =
        |axes: usize, odd: usize| Shape::from((0..axes).map(|i| 1 + (i + odd) % 2).collect::<Vec<_>>());
    check_broadcast(Binary::Sub, &alternate(8, 0), &alternate(8, 1));
    let [a, b] = [0, 1].map(|odd| Tensor::zeros(&gpu(), alternate(9, odd), DType::F32).unwrap());
    let error = binary(Binary::Add, &a, &b, 0.0).unwrap_err().to_string();
    assert!(error.contains("at most 8"), "{error}");
}

#[test]
fn more_workgroups_than_one_dimension_holds() {
    // 64 values to a workgroup: 65 537 workgroups.
    let rows = (65_536 * 64 + 2) / 2;
    let a: Vec<f32> = (0..2 * rows).map(|i| i as f32).collect(); // below 2^24, so exact
    let y = binary(Binary::Add, &tensor([rows, 2], &a), &tensor([2], &[0.0, 1.0]), 0.0).unwrap();
    let y = y.read_f32().unwrap();
    let wrong = y.iter().enumerate().position(|(i, &v)| v != (i + i % 2) as f32);
    assert_eq!(wrong.map(|i| (i, y[i])), None);
}

#[test]
fn wrong_operands_are_refused_by_name() {
    let (a, b) = (tensor([2, 3], &[0.0; 6]), tensor([2], &[0.0; 2]));
    let error = binary(Binary::Add, &a, &b, 0.0).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("[2]"), "{error}");
    assert!(add_same(&a, &b).is_err());
    let counts = Tensor::zeros(&gpu(), [3], DType::U32).unwrap();
    let error = unary(Unary::Relu, &counts, 0.0, 0.0).unwrap_err().to_string();
    assert!(error.contains("f32") && error.contains("u32"), "{error}");
}

#[test]
fn nothing_in_nothing_out() {
    let none = tensor([0, 3], &[]);
    assert_eq!(unary(Unary::Relu, &none, 0.0, 0.0).unwrap().read_f32().unwrap(), Vec::<f32>::new());
    assert_eq!(binary(Binary::Add, &none, &tensor([3], &[0.0; 3]), 0.0).unwrap().count(), 0);
}
