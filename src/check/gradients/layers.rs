//! Dense layers, convolutions and pooling.

use super::super::{Case, Trial};
use super::{apart, drawn, slopes};
use crate::Result;
use crate::autograd::{Tape, Var};
use crate::kernel::conv::{Geometry, Padding};
use crate::kernel::pool::Window;
use crate::ops::*;
use crate::shader_test::Bound;
use crate::tensor::Tensor;

const FAMILY: &str = "gradients of layers";

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "dense layers with and without bias and ReLU", dense_layers),
    Case::new(FAMILY, "convolutions with and without bias and ReLU", convolutions),
    Case::new(FAMILY, "pooling", pooling),
    Case::new(FAMILY, "pooling with ReLU is ReLU and pooling", relu_and_pooling),
];

const WINDOWS: [Window; 3] = [
    Window { kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Window { kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
    Window { kernel: [2, 3], stride: [1, 2], padding: [0, 1] },
];

fn dense_layers(t: &mut Trial<'_>) -> Result<()> {
    let inputs = [drawn(t, [3, 4], 1)?, drawn(t, [2, 4], 2)?, drawn(t, [2], 3)?];
    slopes(t, "without bias", &inputs[..2], |v| dense(&v[0], &v[1], None, false))?;
    slopes(t, "with bias", &inputs, |v| dense(&v[0], &v[1], Some(&v[2]), false))?;
    // Whole numbers and a bias of one half: no sum lies nearer to the kink than one half of 1.25.
    let whole = |shape: [usize; 2], step: usize| {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i * step % 5) as f32 - 2.0).collect();
        t.tensor(shape, &values)
    };
    let biased = [whole([3, 4], 3)?, whole([2, 4], 2)?, t.tensor([2], &[0.4, -0.4])?];
    // Without bias nothing keeps sums from zero but odd numbers, and an odd number of them.
    let odd = |shape: [usize; 2], step: usize| {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i * step % 4) as f32 * 2.0 - 3.0).collect();
        t.tensor(shape, &values)
    };
    let plain = [odd([3, 5], 3)?, odd([2, 5], 2)?];
    slopes(t, "with bias and ReLU", &biased, |v| dense(&v[0], &v[1], Some(&v[2]), true))?;
    slopes(t, "with ReLU", &plain, |v| dense(&mul_scalar(&v[0], 0.5)?, &v[1], None, true))
}

fn odd_numbers(t: &Trial<'_>, shape: [usize; 4], step: usize) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i * step % 7 % 4) as f32 * 0.5 - 0.75).collect();
    t.tensor(shape, &values)
}

fn convolutions(t: &mut Trial<'_>) -> Result<()> {
    let plain = Geometry::default();
    let uneven = Padding::Explicit { top: 1, bottom: 0, left: 0, right: 2 };
    let cases = [
        ([2, 2, 4, 4], [3, 2, 2, 3], plain),
        ([1, 2, 5, 4], [2, 2, 3, 3], Geometry { stride: [2, 1], padding: Padding::Same, ..plain }),
        ([1, 2, 5, 5], [2, 1, 2, 2], Geometry { dilation: [2, 1], groups: 2, padding: uneven, ..plain }),
    ];
    for (x, w, g) in cases {
        let what = format!("{x:?} by {w:?}, {g:?}");
        let inputs = [drawn(t, x, 1)?, drawn(t, w, 2)?, drawn(t, [w[0]], 3)?];
        slopes(t, &what, &inputs[..2], |v| conv2d(&v[0], &v[1], None, &g, false))?;
        slopes(t, &format!("{what}, bias"), &inputs, |v| conv2d(&v[0], &v[1], Some(&v[2]), &g, false))?;
    }
    // Three products of odd multiples of a quarter make an odd multiple of a sixteenth, never zero. With the
    // biases too, sums are farther from zero than a step moves them: 0.03 and more against 0.012.
    let (x, w) = (odd_numbers(t, [1, 1, 4, 4], 3)?, odd_numbers(t, [2, 1, 1, 3], 5)?);
    slopes(t, "ReLU", &[x.clone(), w.clone()], |v| conv2d(&v[0], &v[1], None, &plain, true))?;
    let inputs = [x, w, t.tensor([2], &[0.21, -0.13])?];
    slopes(t, "bias and ReLU", &inputs, |v| conv2d(&v[0], &v[1], Some(&v[2]), &plain, true))
}

fn pooling(t: &mut Trial<'_>) -> Result<()> {
    let x = [t.tensor([1, 2, 4, 5], &apart(t, 40, 1))?];
    for window in &WINDOWS {
        slopes(t, &format!("max {window:?}"), &x, |v| max_pool2d(&v[0], window))?;
        slopes(t, &format!("ReLU and max {window:?}"), &x, |v| relu_max_pool2d(&v[0], window))?;
        for count in [false, true] {
            let what = format!("mean {window:?}, padding counts: {count}");
            slopes(t, &what, &x, |v| avg_pool2d(&v[0], window, count))?;
        }
    }
    Ok(())
}

fn relu_and_pooling(t: &mut Trial<'_>) -> Result<()> {
    for window in &WINDOWS {
        let what = format!("{window:?}");
        let x = t.tensor([1, 2, 4, 5], &apart(t, 40, 2))?;
        let run = |op: &dyn Fn(&Var) -> Result<Var>| -> Result<[Option<Vec<f32>>; 2]> {
            let tape = Tape::new();
            let leaf = tape.leaf(&x);
            let y = op(&leaf)?;
            let gradients = tape.backward_from(&y, drawn(t, y.tensor().shape(), 5)?)?;
            let gradient = gradients.of(&leaf).map(|g| g.read_f32()).transpose()?;
            Ok([Some(y.tensor().read_f32()?), gradient])
        };
        let one = run(&|x| relu_max_pool2d(x, window))?;
        let two = run(&|x| max_pool2d(&activation(Activation::Relu, x)?, window))?;
        let [[y, dx], [expected_y, expected_dx]] = [one, two].map(|all| all.map(Option::unwrap_or_default));
        t.numbers(format!("{what}: values"), &y, &expected_y, Bound::Bits)?;
        // A gradient of minus nothing and one of nothing are alike.
        t.numbers(format!("{what}: gradient"), &dx, &expected_dx, Bound::Equal)?;
        t.same(format!("{what}: values of the gradient"), &[dx.len()], &[x.count()])?;
    }
    Ok(())
}
