use simqat::kernel::conv::{Geometry, forward, input_grad, weight_grad};
use simqat::kernel::gemm::Epilogue;
use simqat::tensor::{DType, Tensor};

use super::common::{gpu, tiled_gpu};
use super::family;

#[test]
fn convolutions() {
    family("convolutions");
}

#[test]
fn an_output_beyond_the_adapters_limit_is_refused_with_the_numbers() {
    for gpu in [gpu(), tiled_gpu()] {
        // 16 MiB of output for each image.
        let most = gpu.caps().max_binding_bytes;
        let fits = (most >> 24) as usize;
        let x = Tensor::zeros(&gpu, [fits + 1, 1, 64, 64], DType::F32).unwrap();
        let w = Tensor::zeros(&gpu, [1024, 1, 1, 1], DType::F32).unwrap();
        let error = forward(&x, &w, &Geometry::default(), Epilogue::NONE).unwrap_err().to_string();
        for part in [
            format!("[{}, 1024, 64, 64]", fits + 1),
            format!("{}.0 MiB", (fits + 1) * 16),
            format!("at most {:.1} MiB", (most as f64 / 104857.6).floor() / 10.0),
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
