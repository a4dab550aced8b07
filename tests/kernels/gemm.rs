use simqat::gpu::Gpu;
use simqat::kernel::gemm::{Epilogue, Form, gemm};
use simqat::tensor::{DType, Tensor};

use super::common::{gpu, tiled_gpu};
use super::{values, whole};

const FORMS: [Form; 3] = [Form::NN, Form::NT, Form::TN];

/// [m, n, k]: one, odd, multiples of four and not, larger than a tile, and sums so long beside so few results
/// that they are cut into shares; LeNet5's dense layers and their gradients.
const SHAPES: [[usize; 3]; 15] = [
    [1, 1, 1],
    [1, 7, 3],
    [5, 1, 9],
    [3, 5, 2],
    [8, 8, 8],
    [33, 31, 29],
    [32, 120, 400],
    [32, 10, 84],
    [32, 84, 10],
    [10, 84, 32],
    [67, 130, 5],
    [100, 68, 36],
    [4, 4, 2048],
    [3, 5, 1999],
    [1, 2, 4097],
];

fn shape_of(form: Form, [m, n, k]: [usize; 3]) -> ([usize; 2], [usize; 2]) {
    match form {
        Form::NN => ([m, k], [k, n]),
        Form::NT => ([m, k], [n, k]),
        Form::TN => ([k, m], [k, n]),
    }
}

/// Sum and sum of magnitudes of each result, in f64.
fn oracle(form: Form, [m, n, k]: [usize; 3], a: &[f32], b: &[f32]) -> Vec<(f64, f64)> {
    let left = |i: usize, l: usize| f64::from(if form == Form::TN { a[l * m + i] } else { a[i * k + l] });
    let right = |l: usize, j: usize| f64::from(if form == Form::NT { b[j * k + l] } else { b[l * n + j] });
    let results = (0..m).flat_map(|i| (0..n).map(move |j| (i, j)));
    let products = |i, j| (0..k).map(move |l| left(i, l) * right(l, j));
    results.map(|(i, j)| (products(i, j).sum(), products(i, j).map(f64::abs).sum())).collect()
}

/// The product on a device, with `bias` [n] where there is one.
fn product(gpu: &Gpu, form: Form, mnk: [usize; 3], a: &[f32], b: &[f32], epilogue: Own<'_>) -> Vec<f32> {
    let [m, n, _] = mnk;
    let (a_shape, b_shape) = shape_of(form, mnk);
    let a = Tensor::from_f32(gpu, a_shape, a).unwrap();
    let b = Tensor::from_f32(gpu, b_shape, b).unwrap();
    let bias = epilogue.bias.map(|bias| Tensor::from_f32(gpu, [n], bias).unwrap());
    let y = gemm(form, &a, &b, Epilogue { bias: bias.as_ref(), relu: epilogue.relu }).unwrap();
    assert_eq!(y.shape()[..], [m, n]);
    y.read_f32().unwrap()
}

#[derive(Clone, Copy)]
struct Own<'a> {
    bias: Option<&'a [f32]>,
    relu: bool,
}

/// Whole numbers so small that every partial sum is exact: no order of summation changes a bit.
fn exact_on(gpu: &Gpu) {
    for (number, mnk) in SHAPES.into_iter().enumerate() {
        let [m, n, k] = mnk;
        let (a, b, bias) = (whole(m * k, 1), whole(k * n, 2), whole(n, 3));
        for (form_number, form) in FORMS.into_iter().enumerate() {
            let sums = oracle(form, mnk, &a, &b);
            // Each shape and form with one epilogue, so that neighbours have different ones; all with none.
            let (with_bias, with_relu) =
                [(true, false), (false, true), (true, true)][(number + form_number) % 3];
            for own in [
                Own { bias: None, relu: false },
                Own { bias: with_bias.then_some(&bias[..]), relu: with_relu },
            ] {
                let expected: Vec<f32> = sums
                    .iter()
                    .enumerate()
                    .map(|(at, (sum, _))| *sum as f32 + own.bias.map_or(0.0, |bias| bias[at % n]))
                    .map(|v| if own.relu { v.max(0.0) } else { v })
                    .collect();
                let found = product(gpu, form, mnk, &a, &b, own);
                let (with_bias, relu) = (own.bias.is_some(), own.relu);
                assert!(found == expected, "{form:?} {mnk:?}, bias {with_bias}, relu {relu}");
            }
        }
    }
}

#[test]
fn products_of_whole_numbers_are_exact() {
    exact_on(&gpu());
}

#[test]
fn products_of_whole_numbers_are_exact_in_tiles() {
    exact_on(&tiled_gpu());
}

#[test]
fn products_of_fractions_are_within_the_rounding_of_their_sum() {
    for gpu in [gpu(), tiled_gpu()] {
        for mnk in [[33, 31, 29], [32, 120, 400], [3, 5, 1999]] {
            let [m, n, k] = mnk;
            let (a, b) = (values(m * k, 4), values(k * n, 5));
            for form in FORMS {
                let found = product(&gpu, form, mnk, &a, &b, Own { bias: None, relu: false });
                for (at, ((sum, size), found)) in oracle(form, mnk, &a, &b).iter().zip(found).enumerate() {
                    // Higham's bound for a sum of k products in any order: k units of 2^-24 of the magnitudes.
                    let allowed = k as f64 * size / f64::from(1 << 24);
                    let off = (f64::from(found) - sum).abs();
                    assert!(off <= allowed, "{form:?} {mnk:?}: value {at} is {found}, expected {sum}");
                }
            }
        }
    }
}

#[test]
fn the_same_product_has_the_same_bits() {
    for gpu in [gpu(), tiled_gpu()] {
        let mnk = [3, 5, 1999];
        let (a, b) = (values(3 * 1999, 6), values(5 * 1999, 7));
        let run = || product(&gpu, Form::NN, mnk, &a, &b, Own { bias: None, relu: false });
        let first = run();
        assert!((0..5).all(|_| run() == first));
    }
}

#[test]
fn matrices_that_do_not_multiply_are_refused() {
    let gpu = gpu();
    let zeros = |shape: [usize; 2]| Tensor::zeros(&gpu, shape, DType::F32).unwrap();
    let none = Epilogue::NONE;
    let error = gemm(Form::NN, &zeros([2, 3]), &zeros([2, 3]), none).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("NN"), "{error}");
    assert!(gemm(Form::NT, &zeros([2, 3]), &zeros([3, 2]), none).is_err());
    assert!(gemm(Form::TN, &zeros([2, 3]), &zeros([3, 2]), none).is_err());
    assert!(gemm(Form::NN, &zeros([0, 3]), &zeros([3, 2]), none).is_err());
    assert!(gemm(Form::NN, &zeros([2, 3]).reshape([6]).unwrap(), &zeros([3, 2]), none).is_err());
    let bias = Tensor::zeros(&gpu, [3], DType::F32).unwrap();
    let error = gemm(Form::NN, &zeros([2, 3]), &zeros([3, 2]), Epilogue { bias: Some(&bias), relu: false });
    assert!(error.unwrap_err().to_string().contains("bias"));
    let words = Tensor::zeros(&gpu, [2, 3], DType::U32).unwrap();
    assert!(gemm(Form::NN, &words, &zeros([3, 2]), none).is_err());
}
