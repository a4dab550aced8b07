use simqat::autograd::{GradCheck, Tape, Var};
use simqat::kernel::conv::{Geometry, Padding};
use simqat::kernel::pool::Window;
use simqat::ops::*;
use simqat::tensor::Tensor;

use super::common::{assert_bits, gpu};
use super::{apart, check, check_within, draw, tensor};

/// Shapes of two operands: alike, a scalar, a row, a column, both stretching, missing axes, a channel's bias.
const PAIRS: [(&[usize], &[usize]); 8] = [
    (&[5], &[5]),
    (&[2, 3], &[]),
    (&[2, 3], &[3]),
    (&[2, 3], &[2, 1]),
    (&[3, 1], &[1, 4]),
    (&[2], &[2, 3, 2]),
    (&[2, 3, 2, 2], &[3, 1, 1]),
    (&[1, 2, 1], &[2, 1, 3]),
];

#[test]
fn arithmetic_with_every_kind_of_broadcasting() {
    for (a, b) in PAIRS {
        let inputs = [draw(a, 1), draw(b, 2)];
        check(&format!("{a:?} + {b:?}"), &inputs, |v| add(&v[0], &v[1]));
        check(&format!("{a:?} - {b:?}"), &inputs, |v| sub(&v[0], &v[1]));
        check(&format!("{a:?} * {b:?}"), &inputs, |v| mul(&v[0], &v[1]));
        check(&format!("{a:?} / {b:?}"), &inputs, |v| div(&v[0], &v[1]));
    }
}

#[test]
fn a_sum_with_relu() {
    // Sums are odd multiples of 0.05, so no difference reaches over the corner.
    let tenths = |count: usize| (0..count).map(|i| 0.1 * (i % 5) as f32 - 0.2).collect::<Vec<_>>();
    for (a, b) in [(&[2, 3, 4][..], &[2, 3, 4][..]), (&[2, 3, 2, 2], &[3, 1, 1])] {
        let [count, other] = [a, b].map(|shape| shape.iter().product());
        let inputs = [tensor(a, &apart(count, 1)), tensor(b, &tenths(other))];
        check(&format!("relu({a:?} + {b:?})"), &inputs, |v| add_relu(&v[0], &v[1]));
    }
}

#[test]
fn a_scalar_factor() {
    for factor in [-1.5, 0.0, 3.0] {
        check(&format!("{factor} x"), &[draw([2, 3], 1)], |v| mul_scalar(&v[0], factor));
    }
}

#[test]
fn a_variable_that_is_used_more_than_once_gets_all_its_gradients() {
    let x = [draw([2, 3], 1)];
    check("x * x", &x, |v| mul(&v[0], &v[0]));
    check("x + x", &x, |v| add(&v[0], &v[0]));
    check("x - x", &x, |v| sub(&v[0], &v[0]));
    check("x / x", &x, |v| div(&v[0], &v[0]));
    check("x x^T by reshaping, and x again behind it", &x, |v| {
        let column = reshape(&v[0], [3, 2])?;
        add(&matmul(&v[0], &column)?, &sum(&v[0], 0..2)?)
    });
    // Used at three depths.
    check("tanh(x) * x + x", &x, |v| add(&mul(&activation(Activation::Tanh, &v[0])?, &v[0])?, &v[0]));
}

#[test]
fn activations() {
    let kinds = [
        Activation::Relu,
        Activation::LeakyRelu(0.1),
        Activation::LeakyRelu(-0.3),
        Activation::Sigmoid,
        Activation::Tanh,
    ];
    for kind in kinds {
        check(&format!("{kind}"), &[draw([3, 5], 1)], |v| activation(kind, &v[0]));
    }
    // Below, between and above the two kinks, none nearer to one than the step.
    let x = tensor([6], &[-2.0, -0.3, 0.2, 2.5, 4.5, 7.0]);
    check("ReLU6", &[x], |v| activation(Activation::Relu6, &v[0]));
    // Likewise, with the kinks at -3 and 3 before the factor of 1.25. HSwish turns at -1.5.
    let x = tensor([8], &[-4.0, -2.6, -2.0, -1.2, -0.3, 0.2, 2.2, 2.7]);
    for kind in [Activation::HSigmoid, Activation::HSwish] {
        check(&format!("{kind}"), std::slice::from_ref(&x), |v| activation(kind, &v[0]));
    }
    assert_eq!(format!("{} {}", Activation::HSigmoid, Activation::HSwish), "HSigmoid<> HSwish<>");
}

#[test]
fn square_roots() {
    check("sqrt", &[tensor([5], &[0.3, 0.5, 1.0, 2.0, 9.0])], |v| sqrt(&v[0]));
}

#[test]
fn matrix_products() {
    for [m, k, n] in [[1, 1, 1], [2, 3, 4], [5, 2, 3]] {
        check(&format!("{m} {k} {n}"), &[draw([m, k], 1), draw([k, n], 2)], |v| matmul(&v[0], &v[1]));
    }
}

#[test]
fn dense_layers_with_and_without_bias_and_relu() {
    let inputs = [draw([3, 4], 1), draw([2, 4], 2), draw([2], 3)];
    check("without bias", &inputs[..2], |v| dense(&v[0], &v[1], None, false));
    check("with bias", &inputs, |v| dense(&v[0], &v[1], Some(&v[2]), false));
    // Whole numbers and a bias of one half: no sum lies nearer to the kink than one half of 1.25.
    let whole = |shape: [usize; 2], step: usize| {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i * step % 5) as f32 - 2.0).collect();
        tensor(shape, &values)
    };
    let inputs = [whole([3, 4], 3), whole([2, 4], 2), tensor([2], &[0.4, -0.4])];
    check("with bias and ReLU", &inputs, |v| dense(&v[0], &v[1], Some(&v[2]), true));
    // Without bias nothing keeps sums from zero but odd numbers, and an odd number of them.
    let odd = |shape: [usize; 2], step: usize| {
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i * step % 4) as f32 * 2.0 - 3.0).collect();
        tensor(shape, &values)
    };
    check("with ReLU", &[odd([3, 5], 3), odd([2, 5], 2)], |v| {
        let half = mul_scalar(&v[0], 0.5)?;
        dense(&half, &v[1], None, true)
    });
}

fn odd_numbers(shape: [usize; 4], step: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i * step % 7 % 4) as f32 * 0.5 - 0.75).collect();
    tensor(shape, &values)
}

#[test]
fn convolutions_with_and_without_bias_and_relu() {
    let plain = Geometry::default();
    let uneven = Padding::Explicit { top: 1, bottom: 0, left: 0, right: 2 };
    let cases = [
        ([2, 2, 4, 4], [3, 2, 2, 3], plain),
        ([1, 2, 5, 4], [2, 2, 3, 3], Geometry { stride: [2, 1], padding: Padding::Same, ..plain }),
        ([1, 2, 5, 5], [2, 1, 2, 2], Geometry { dilation: [2, 1], groups: 2, padding: uneven, ..plain }),
    ];
    for (x, w, g) in cases {
        let inputs = [draw(x, 1), draw(w, 2), draw([w[0]], 3)];
        check(&format!("{x:?} {w:?} {g:?}"), &inputs[..2], |v| conv2d(&v[0], &v[1], None, &g, false));
        check(&format!("{x:?} {w:?} {g:?}, bias"), &inputs, |v| conv2d(&v[0], &v[1], Some(&v[2]), &g, false));
    }
    // Three products of odd multiples of a quarter make an odd multiple of a sixteenth, never zero. With the
    // biases too, sums are farther from zero than a step moves them: 0.03 and more against 0.012.
    let (x, w) = (odd_numbers([1, 1, 4, 4], 3), odd_numbers([2, 1, 1, 3], 5));
    check("ReLU", &[x.clone(), w.clone()], |v| conv2d(&v[0], &v[1], None, &plain, true));
    let bias = tensor([2], &[0.21, -0.13]);
    check("bias and ReLU", &[x, w, bias], |v| conv2d(&v[0], &v[1], Some(&v[2]), &plain, true));
}

const WINDOWS: [Window; 3] = [
    Window { kernel: [2, 2], stride: [2, 2], padding: [0, 0] },
    Window { kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
    Window { kernel: [2, 3], stride: [1, 2], padding: [0, 1] },
];

#[test]
fn pooling() {
    let x = || tensor([1, 2, 4, 5], &apart(40, 1));
    for window in &WINDOWS {
        check(&format!("max {window:?}"), &[x()], |v| max_pool2d(&v[0], window));
        check(&format!("ReLU and max {window:?}"), &[x()], |v| relu_max_pool2d(&v[0], window));
        for count in [false, true] {
            check(&format!("mean {window:?} {count}"), &[x()], |v| avg_pool2d(&v[0], window, count));
        }
    }
}

#[test]
fn pooling_with_relu_is_relu_and_pooling_to_the_bit() {
    for window in &WINDOWS {
        let x = tensor([1, 2, 4, 5], &apart(40, 2));
        let run = |op: &dyn Fn(&Var) -> simqat::Result<Var>| {
            let tape = Tape::new();
            let leaf = tape.leaf(&x);
            let y = op(&leaf).unwrap();
            let seed = draw(y.tensor().shape(), 5);
            let gradients = tape.backward_from(&y, seed).unwrap();
            (y.tensor().read_f32().unwrap(), gradients.of(&leaf).unwrap().read_f32().unwrap())
        };
        let one = run(&|x| relu_max_pool2d(x, window));
        let two = run(&|x| max_pool2d(&activation(Activation::Relu, x)?, window));
        assert_bits("values", &one.0, &two.0);
        // A gradient of minus nothing and one of nothing are alike.
        assert_eq!(one.1, two.1, "{window:?}");
    }
}

#[test]
fn shapes_sums_and_means() {
    let x = [draw([2, 3, 4], 1)];
    check("reshape", &x, |v| reshape(&v[0], [4, 6]));
    check("flatten", &x, |v| flatten(&v[0]));
    for axes in [0..1, 1..2, 2..3, 0..2, 1..3, 0..3] {
        check(&format!("sum over {axes:?}"), &x, |v| sum(&v[0], axes.clone()));
        check(&format!("mean over {axes:?}"), &x, |v| mean(&v[0], axes.clone()));
    }
}

#[test]
fn softmax_cross_entropy_of_some_rows() {
    let labels = Tensor::from_u32(&gpu(), [3], &[2, 0, 3]).unwrap();
    // The loss is a mean over three rows: its gradients are small, and so must the tolerance be. exp and log
    // of the device are off by a few units of 6e-8, over twice the step of 0.02.
    let within = GradCheck { absolute: 2e-4, ..GradCheck::default() };
    check_within(within, "cross entropy", &[draw([3, 4], 1)], |v| {
        Ok(softmax_cross_entropy(&v[0], &labels)?.mean)
    });
    check_within(within, "smoothed cross entropy", &[draw([3, 4], 1)], |v| {
        Ok(smoothed_cross_entropy(&v[0], &labels, 0.3)?.mean)
    });
    // A row for a workgroup, and the loss in the middle of a graph.
    check_within(within, "smoothed cross entropy of many classes", &[draw([3, 70], 2), draw([1], 3)], |v| {
        let loss = smoothed_cross_entropy(&activation(Activation::Tanh, &v[0])?, &labels, 0.3)?.mean;
        mul(&loss, &v[1])
    });
}

#[test]
fn a_small_network_from_end_to_end() {
    let labels = Tensor::from_u32(&gpu(), [2], &[1, 0]).unwrap();
    let inputs = [draw([2, 1, 5, 5], 1), draw([2, 1, 2, 2], 2), draw([2], 3), draw([3, 8], 4), draw([3], 5)];
    check("network", &inputs, |v| {
        let z = conv2d(&v[0], &v[1], Some(&v[2]), &Geometry::default(), false)?;
        let a = activation(Activation::Tanh, &z)?;
        let p = avg_pool2d(&a, &Window::square(2), true)?;
        let logits = dense(&flatten(&p)?, &v[3], Some(&v[4]), false)?;
        Ok(softmax_cross_entropy(&logits, &labels)?.mean)
    });
}
