//! Functions of one value and of two, and how operands stretch.

use super::super::{Case, Trial};
use super::values;
use crate::Result;
use crate::kernel::elementwise::{Binary, Unary, binary, fill, unary};
use crate::shader_test::{Bound, Draw, Estimate};
use crate::tensor::Shape;

const FAMILY: &str = "elementwise";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "functions of one value are those of the host", functions),
    Case::new(FAMILY, "functions that level off stay finite far out", far_out),
    Case::new(FAMILY, "functions of pairs are those of the host", pairs),
    Case::new(FAMILY, "operands stretch in every pattern", patterns),
    Case::new(FAMILY, "operands of random shapes stretch", random_shapes),
    Case::new(FAMILY, "eight separate axes stretch", eight_axes),
    Case::new(FAMILY, "more workgroups than one dimension holds", many_workgroups),
    Case::new(FAMILY, "one value everywhere, and nothing in nothing", fills_and_nothing),
];

/// The last length takes the variant that repeats its body, and ends in the middle of a workgroup.
const LENGTHS: [usize; 7] = [1, 3, 4, 63, 257, 1000, 33_001];

const UNARY: [Unary; 12] = [
    Unary::Relu,
    Unary::Relu6,
    Unary::LeakyRelu,
    Unary::Sigmoid,
    Unary::Tanh,
    Unary::HSigmoid,
    Unary::HSwish,
    Unary::Exp,
    Unary::Log,
    Unary::Sqrt,
    Unary::Neg,
    Unary::Affine,
];

/// The function, in the shader's order: the bound follows from that.
fn unary_oracle(op: Unary, x: f32, a: f32, b: f32) -> Estimate {
    let (v, one) = (Estimate::from(x), Estimate::exact(1.0));
    let sixth = || (v + Estimate::exact(3.0)).clamp(0.0, 6.0) / Estimate::exact(6.0);
    match op {
        Unary::Relu => x.max(0.0).into(),
        Unary::Relu6 => x.clamp(0.0, 6.0).into(),
        Unary::LeakyRelu if x > 0.0 => v,
        Unary::LeakyRelu => v * a.into(),
        Unary::Sigmoid => one / (one + (-v).exp()),
        Unary::Tanh => v.tanh(),
        Unary::HSigmoid => sixth(),
        Unary::HSwish => v * sixth(),
        Unary::Exp => v.exp(),
        Unary::Log => v.ln(),
        Unary::Sqrt => v.sqrt(),
        Unary::Neg => -v,
        Unary::Affine => v * a.into() + b.into(),
    }
}

fn functions(t: &mut Trial<'_>) -> Result<()> {
    for (number, op) in UNARY.into_iter().enumerate() {
        for length in LENGTHS {
            let positive = matches!(op, Unary::Log | Unary::Sqrt);
            let x: Vec<f32> = values(t, length, number as u64)
                .iter()
                .map(|v| if positive { v.abs() + 1e-3 } else { v * 3.0 })
                .collect();
            let y = unary(op, &t.tensor([length], &x)?, 0.25, -1.5)?;
            let expected: Vec<Estimate> = x.iter().map(|&v| unary_oracle(op, v, 0.25, -1.5)).collect();
            t.estimates(format!("{op:?} of {length}"), &y, &expected)?;
        }
    }
    Ok(())
}

fn far_out(t: &mut Trial<'_>) -> Result<()> {
    let x = [-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4];
    let tensor = t.tensor([7], &x)?;
    let y = unary(Unary::Sigmoid, &tensor, 0.0, 0.0)?;
    // exp(20) is off by 3 + 2 * 20 units, and the division by 2.5 more. sigmoid(-100) is 4e-44, which may become 0.
    let bound = Bound::Within { relative: 6e-6, absolute: 1e-37 };
    t.values("sigmoid", &y, &[0.0, 0.0, 2.061_153_6e-9, 0.5, 1.0, 1.0, 1.0], bound)?;
    let y = unary(Unary::Tanh, &tensor, 0.0, 0.0)?;
    // What WGSL allows for tanh.
    let bound = Bound::Within { relative: 0.0, absolute: 1e-5 };
    t.values("tanh", &y, &[-1.0, -1.0, -1.0, 0.0, 1.0, 1.0, 1.0], bound)
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

/// The function, in the shader's order.
fn binary_oracle(op: Binary, a: f32, b: f32, c: f32) -> Estimate {
    let passes = |yes: bool| Estimate::from(if yes { a } else { 0.0 });
    let (wa, wb) = (Estimate::from(a), Estimate::from(b));
    let number = Estimate::exact;
    match op {
        Binary::Add => wa + wb,
        Binary::AddRelu => (wa + wb).clamp(0.0, f64::INFINITY),
        Binary::Sub => wa - wb,
        Binary::Mul => wa * wb,
        Binary::Div | Binary::LogGrad => wa / wb,
        Binary::Max => a.max(b).into(),
        Binary::Min => a.min(b).into(),
        Binary::ReluGrad => passes(b > 0.0),
        Binary::Relu6Grad => passes(b > 0.0 && b < 6.0),
        Binary::LeakyReluGrad if b > 0.0 => wa,
        Binary::LeakyReluGrad => wa * c.into(),
        Binary::SigmoidGrad => wa * wb * (number(1.0) - wb),
        Binary::TanhGrad => wa * (number(1.0) - wb * wb),
        Binary::HSigmoidGrad if b > 0.0 && b < 1.0 => wa / number(6.0),
        Binary::HSigmoidGrad => number(0.0),
        Binary::HSwishGrad if b <= -3.0 => number(0.0),
        Binary::HSwishGrad if b >= 3.0 => wa,
        Binary::HSwishGrad => wa * ((number(2.0) * wb + number(3.0)) / number(6.0)),
        Binary::SqrtGrad => wa * number(0.5) / wb,
    }
}

/// Second operands: never near zero where the op divides by them, and on the corners of the others.
fn seconds(t: &Trial<'_>, op: Binary, count: usize) -> Vec<f32> {
    let divides = matches!(op, Binary::Div | Binary::LogGrad | Binary::SqrtGrad);
    values(t, count, 5)
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

fn pairs(t: &mut Trial<'_>) -> Result<()> {
    for op in BINARY {
        for length in LENGTHS {
            let (a, b) = (values(t, length, 3), seconds(t, op, length));
            let y = binary(op, &t.tensor([length], &a)?, &t.tensor([length], &b)?, 0.25)?;
            let both = a.iter().zip(&b);
            let expected: Vec<Estimate> = both.map(|(&a, &b)| binary_oracle(op, a, b, 0.25)).collect();
            t.estimates(format!("{op:?} of {length}"), &y, &expected)?;
        }
    }
    Ok(())
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

fn stretch(t: &mut Trial<'_>, op: Binary, a: &Shape, b: &Shape) -> Result<()> {
    let (va, vb) = (values(t, a.count(), 11), seconds(t, op, b.count()));
    let y = binary(op, &t.tensor(a, &va)?, &t.tensor(b, &vb)?, 0.25)?;
    let shape = a.broadcast(b)?;
    let what = format!("{op:?} of {a} and {b}");
    t.same(&what, y.shape(), &shape)?;
    let expected: Vec<Estimate> =
        places(&shape).map(|p| binary_oracle(op, at(&va, a, &p), at(&vb, b, &p), 0.25)).collect();
    t.estimates(what, &y, &expected)
}

fn patterns(t: &mut Trial<'_>) -> Result<()> {
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
            stretch(t, op, &a.into(), &b.into())?;
        }
    }
    Ok(())
}

/// A shape of up to four axes, and one that it can be stretched from or to: each axis is 1 in the one, in the other or
/// in none, and the second may lack some in front.
pub(super) fn stretched(draw: &mut Draw) -> [Shape; 2] {
    let count = draw.between(0, 4);
    let axes: Vec<(usize, usize)> = (0..count).map(|_| (draw.between(1, 5), draw.between(0, 2))).collect();
    let side = |one: usize| -> Vec<usize> {
        axes.iter().map(|&(extent, which)| if which == one { 1 } else { extent }).collect()
    };
    let dropped = draw.between(0, count);
    [Shape::from(side(1)), Shape::from(&side(2)[dropped..])]
}

fn random_shapes(t: &mut Trial<'_>) -> Result<()> {
    let mut draw = t.draw(20);
    for _ in 0..24 {
        let [a, b] = stretched(&mut draw);
        stretch(t, Binary::Sub, &a, &b)?;
        stretch(t, Binary::Sub, &b, &a)?;
    }
    Ok(())
}

fn eight_axes(t: &mut Trial<'_>) -> Result<()> {
    let alternate = |odd: usize| Shape::from((0..8).map(|i| 1 + (i + odd) % 2).collect::<Vec<_>>());
    stretch(t, Binary::Sub, &alternate(0), &alternate(1))
}

fn many_workgroups(t: &mut Trial<'_>) -> Result<()> {
    // 64 values to a workgroup: 65 537 workgroups.
    let rows = (65_536 * 64 + 2) / 2;
    let a: Vec<f32> = (0..2 * rows).map(|i| i as f32).collect(); // below 2^24, so exact
    let y = binary(Binary::Add, &t.tensor([rows, 2], &a)?, &t.tensor([2], &[0.0, 1.0])?, 0.0)?;
    let expected: Vec<f32> = (0..2 * rows).map(|i| (i + i % 2) as f32).collect();
    t.values(format!("[{rows}, 2] and [2]"), &y, &expected, Bound::Equal)
}

fn fills_and_nothing(t: &mut Trial<'_>) -> Result<()> {
    for length in LENGTHS {
        let y = fill(t.gpu(), [length], -0.75)?;
        t.values(format!("{length} of one value"), &y, &vec![-0.75; length], Bound::Bits)?;
    }
    let none = t.tensor([0, 3], &[])?;
    t.values("a function of nothing", &unary(Unary::Relu, &none, 0.0, 0.0)?, &[], Bound::Bits)?;
    let sum = binary(Binary::Add, &none, &t.tensor([3], &[0.0; 3])?, 0.0)?;
    t.values("nothing and a row", &sum, &[], Bound::Bits)
}
