//! Each public launcher with sizes that do not fit. The kernels run without bounds checks, so what is refused here must be
//! refused before anything is started; the device of these tests computes nothing.

use simqat::gpu::Gpu;
use simqat::kernel::augment::{self, Source};
use simqat::kernel::conv::{self, Geometry, Padding};
use simqat::kernel::counter::{self, NEVER};
use simqat::kernel::elementwise::{self, Binary, Unary};
use simqat::kernel::gemm::{Epilogue, Form, gemm};
use simqat::kernel::int8::{self, Codes, Conv, ConvNumbers, Factor, Table, Target};
use simqat::kernel::learned_step::{self, StepRule, StepState};
use simqat::kernel::loss::{self, CrossEntropy, ENTRY, HISTORY};
use simqat::kernel::norm::{self, FoldForm, Form as NormForm, Norm, NormState, Statistics};
use simqat::kernel::pool::{self, Window};
use simqat::kernel::quantize::{self, GridRule, Observation, RangeObserver, RangeState};
use simqat::kernel::reduce::{Reduction, reduce, sum_to};
use simqat::kernel::{gradient, momentum};
use simqat::tensor::{DType, Shape, Tensor};
use simqat::{Error, Result};

const HUGE: usize = usize::MAX / 2 + 1;

fn gpu() -> Gpu {
    Gpu::noop()
}

/// Refused, for what was given, and the device has been asked for nothing that it would refuse.
#[track_caller]
fn refused<T>(gpu: &Gpu, what: &str, outcome: Result<T>) {
    match outcome {
        Err(error @ (Error::Shape(_) | Error::Invalid(_) | Error::Memory { .. })) => {
            assert!(!error.to_string().contains('\n'), "{what}: {error}");
        }
        Err(error) => panic!("{what}: refused too late: {error:?}"),
        Ok(_) => panic!("{what}: taken"),
    }
    gpu.wait().unwrap_or_else(|e| panic!("after {what}: {e}"));
}

/// Tensors of one device.
struct Of(Gpu);

impl Of {
    fn f(&self, shape: impl Into<Shape>) -> Tensor {
        Tensor::empty(&self.0, shape, DType::F32).unwrap()
    }

    fn u(&self, shape: impl Into<Shape>) -> Tensor {
        Tensor::empty(&self.0, shape, DType::U32).unwrap()
    }
}

#[test]
fn batches_hold_the_pixels_to_the_images() {
    let of = Of(gpu());
    // Two images of 3 x 4 x 4 are 24 words.
    let (pixels, rest, order, progress) = (of.u([24]), of.u([1]), of.u([2, 4]), of.u([4]));
    let normalization = of.f([3, 2]);
    let source = || Source {
        pixels: [&pixels, &rest],
        first: 2,
        order: &order,
        progress: &progress,
        image: [3, 4, 4],
        part: None,
        normalization: &normalization,
    };
    augment::gather(&source(), 2, 2, [4, 4]).unwrap();
    let (few, long, none, wrong) = (of.u([23]), of.u([3, 4]), of.u([0]), of.f([24]));
    let tries: [(&str, Source<'_>); 10] = [
        ("a word too few", Source { pixels: [&few, &rest], ..source() }),
        ("more images in the order", Source { order: &long, ..source() }),
        ("images in the second half that are not there", Source { first: 1, ..source() }),
        ("larger images", Source { image: [3, 4, 5], ..source() }),
        ("images without end", Source { image: [3, HUGE, 4], ..source() }),
        ("images without rows", Source { image: [3, 0, 4], ..source() }),
        ("a part without end", Source { part: Some([HUGE, 1]), ..source() }),
        ("an empty part", Source { part: Some([0, 1]), ..source() }),
        ("no progress", Source { progress: &none, ..source() }),
        ("pixels in floating point", Source { pixels: [&wrong, &rest], ..source() }),
    ];
    for (what, source) in tries {
        refused(&of.0, what, augment::gather(&source, 2, 2, [4, 4]));
    }
    for size in [[0, 4], [4, HUGE]] {
        refused(&of.0, "a size of no picture", augment::gather(&source(), 2, 2, size));
    }
    refused(&of.0, "more rows than a batch", augment::gather(&source(), 2, 3, [4, 4]));

    let (bytes, turns) = (of.u([24]), of.u([2, 2]));
    let unpack = |bytes: &Tensor, turns: &Tensor, rows, image| {
        augment::unpack(bytes, turns, &normalization, rows, image)
    };
    unpack(&bytes, &turns, 2, [4, 4, 3]).unwrap();
    refused(&of.0, "bytes", unpack(&few, &turns, 2, [4, 4, 3]));
    refused(&of.0, "turns", unpack(&bytes, &of.u([3]), 2, [4, 4, 3]));
    refused(&of.0, "rows", unpack(&bytes, &turns, 3, [4, 4, 3]));
    refused(&of.0, "rows without end", unpack(&bytes, &turns, HUGE, [4, 4, 3]));
    refused(&of.0, "no columns", unpack(&bytes, &turns, 2, [4, 0, 3]));
}

#[test]
fn convolutions_and_products() {
    let of = Of(gpu());
    let (x, w, none) = (of.f([2, 3, 6, 6]), of.f([4, 3, 3, 3]), Epilogue::NONE);
    let plain = Geometry::default();
    conv::forward(&x, &w, &plain, none).unwrap();
    let bias = of.f([3]);
    refused(&of.0, "bias", conv::forward(&x, &w, &plain, Epilogue { bias: Some(&bias), relu: false }));
    let whole = of.u([4]);
    refused(
        &of.0,
        "bias of u32",
        conv::forward(&x, &w, &plain, Epilogue { bias: Some(&whole), relu: false }),
    );
    for geometry in [
        Geometry { dilation: [HUGE, 1], ..plain },
        Geometry { dilation: [usize::MAX, usize::MAX], ..plain },
        Geometry { padding: Padding::all(HUGE), ..plain },
        Geometry { padding: Padding::all(usize::MAX), ..plain },
        Geometry { stride: [HUGE, 1], ..plain },
        Geometry { stride: [(1 << 32) + 1, 1], ..plain },
        Geometry { stride: [0, 1], ..plain },
        Geometry { groups: HUGE, ..plain },
        Geometry { groups: 3, ..plain },
        Geometry { padding: Padding::Same, dilation: [HUGE, 1], ..plain },
    ] {
        let what = format!("{geometry:?}");
        refused(&of.0, &what, conv::forward(&x, &w, &geometry, none));
        refused(&of.0, &what, conv::input_grad(&of.f([2, 4, 4, 4]), &w, x.shape(), &geometry));
        refused(&of.0, &what, conv::weight_grad(&x, &of.f([2, 4, 4, 4]), w.shape(), &geometry));
    }
    refused(&of.0, "dy", conv::input_grad(&of.f([2, 4, 4, 5]), &w, x.shape(), &plain));
    refused(&of.0, "dy", conv::weight_grad(&x, &of.f([1, 4, 4, 4]), w.shape(), &plain));
    let endless = Shape::from([HUGE, 3, 6, 6]);
    refused(&of.0, "input", conv::input_grad(&of.f([2, 4, 4, 4]), &w, &endless, &plain));

    for (form, a, b) in [(Form::NN, [2, 3], [4, 5]), (Form::NT, [2, 3], [5, 4]), (Form::TN, [2, 3], [3, 5])] {
        refused(&of.0, "factors", gemm(form, &of.f(a), &of.f(b), none));
    }
    refused(&of.0, "nothing", gemm(Form::NN, &of.f([2, 0]), &of.f([0, 2]), none));
    let biased = Epilogue { bias: Some(&bias), relu: true };
    refused(&of.0, "bias", gemm(Form::NN, &of.f([2, 3]), &of.f([3, 5]), biased));
}

#[test]
fn values_one_by_one_and_along_axes() {
    let of = Of(gpu());
    refused(&of.0, "words", elementwise::unary(Unary::Relu, &of.u([4]), 0.0, 0.0));
    refused(&of.0, "shapes", elementwise::binary(Binary::Add, &of.f([4]), &of.f([3]), 0.0));
    refused(&of.0, "words", elementwise::binary(Binary::Add, &of.f([4]), &of.u([4]), 0.0));
    refused(&of.0, "shapes", elementwise::add_same(&of.f([4]), &of.f([1])));
    refused(&of.0, "a shape without end", elementwise::fill(&of.0, [HUGE, 2], 0.0));
    refused(&of.0, "a shape without end", Tensor::zeros(&of.0, [HUGE, 8], DType::F32));
    refused(&of.0, "a shape without end", Tensor::full(&of.0, [usize::MAX], 1.0));
    refused(&of.0, "axes", reduce(Reduction::Sum, &of.f([2, 3]), 1..3));
    #[allow(clippy::reversed_empty_ranges)] // as a caller's mistake may make one
    let backwards = 2..1;
    refused(&of.0, "axes", reduce(Reduction::Sum, &of.f([2, 3]), backwards));
    refused(&of.0, "no values", reduce(Reduction::Max, &of.f([2, 0]), 1..2));
    refused(&of.0, "shapes", sum_to(&of.f([2, 3]), &[2, 2].into()));
    refused(&of.0, "floats", counter::freeze(&of.f([4]), true));
}

#[test]
fn pooling() {
    let of = Of(gpu());
    let x = of.f([2, 3, 6, 6]);
    let square = Window::square(2);
    for window in [
        Window { kernel: [7, 1], ..square },
        Window { kernel: [HUGE, HUGE], stride: [1, 1], padding: [HUGE / 2, HUGE / 2] },
        Window { padding: [usize::MAX, 0], ..square },
        Window { kernel: [1 << 33, 1], stride: [1, 1], padding: [1 << 32, 0] },
        Window { stride: [0, 1], ..square },
        Window { stride: [(1 << 32) + 2, 1], ..square },
    ] {
        let what = format!("{window:?}");
        refused(&of.0, &what, pool::max_forward(&x, &window, false));
        refused(&of.0, &what, pool::average_forward(&x, &window, true));
        refused(&of.0, &what, pool::average_backward(&of.f([2, 3, 3, 3]), [2, 3, 6, 6], &window, true));
        let codes = Codes::empty(&of.0, [2, 3, 6, 6]).unwrap();
        refused(&of.0, &what, int8::max(&codes, &window));
    }
    refused(&of.0, "words", pool::max_forward(&of.u([2, 3, 6, 6]), &square, false));
    let (dy, places) = (of.f([2, 3, 3, 3]), of.u([2, 3, 3, 3]));
    let back = |dy: &Tensor, places: &Tensor, y: Option<&Tensor>, shape| {
        pool::max_backward(dy, places, y, shape, &square)
    };
    back(&dy, &places, None, [2, 3, 6, 6]).unwrap();
    refused(&of.0, "places", back(&dy, &of.u([2, 3, 3, 2]), None, [2, 3, 6, 6]));
    refused(&of.0, "places of another kind", back(&dy, &dy, None, [2, 3, 6, 6]));
    refused(&of.0, "y", back(&dy, &places, Some(&of.f([1])), [2, 3, 6, 6]));
    refused(&of.0, "a larger input", back(&dy, &places, None, [2, 3, 8, 6]));
    refused(&of.0, "an endless input", back(&dy, &places, None, [HUGE, 3, 6, 6]));
}

#[test]
fn losses_and_what_follows_them() {
    let of = Of(gpu());
    refused(&of.0, "labels", loss::softmax_cross_entropy(&of.f([4, 3]), &of.u([3]), 0.0));
    refused(&of.0, "words", loss::softmax_cross_entropy(&of.u([4, 3]), &of.u([4]), 0.0));
    let (history, progress) = (of.f([HISTORY, ENTRY]), of.u([4]));
    let rows = |losses: usize, ranks: usize| CrossEntropy {
        losses: of.f([losses]),
        ranks: of.u([ranks]),
        gradient: of.f([1]),
    };
    loss::tally(&rows(4, 4), &history, &progress, 1).unwrap();
    refused(&of.0, "ranks", loss::tally(&rows(1000, 4), &history, &progress, 1));
    refused(&of.0, "rows", loss::tally(&rows(0, 0), &history, &progress, 1));
    refused(&of.0, "history", loss::tally(&rows(4, 4), &of.f([8, 4]), &progress, 1));
    refused(&of.0, "progress", loss::tally(&rows(4, 4), &history, &of.u([3]), 1));
    refused(&of.0, "history", momentum::settle(&of.f([HISTORY]), &progress, 1));

    let (p, rate) = (of.f([1000]), of.f([1]));
    let settings = |rate, progress, factor| momentum::Settings {
        rate,
        progress,
        factor,
        momentum: 0.9,
        weight_decay: 0.0,
        place: 0,
    };
    let update = |v: &Tensor, g: &Tensor, s| momentum::update(&p, v, g, &s);
    update(&of.f([1000]), &of.f([1000]), settings(&rate, &progress, None)).unwrap();
    let (v, g, none) = (of.f([1000]), of.f([1000]), of.f([0]));
    refused(&of.0, "velocity", update(&of.f([10]), &g, settings(&rate, &progress, None)));
    refused(&of.0, "gradient", update(&v, &of.f([10]), settings(&rate, &progress, None)));
    refused(&of.0, "gradient of another kind", update(&v, &of.u([1000]), settings(&rate, &progress, None)));
    refused(&of.0, "rate", update(&v, &g, settings(&none, &progress, None)));
    refused(&of.0, "factor", update(&v, &g, settings(&rate, &progress, Some(&none))));
    refused(&of.0, "progress", update(&v, &g, settings(&rate, &of.u([2]), None)));

    refused(&of.0, "sum", gradient::accumulate(&g, &of.f([999]), &progress));
    refused(&of.0, "progress", gradient::accumulate(&g, &v, &of.u([3])));
    refused(&of.0, "partial sums", gradient::square_sums(&g, &of.f([1]), 1));
    refused(&of.0, "partial sums", gradient::square_sums(&g, &of.f([1]), usize::MAX));
    let clip =
        |factor: &Tensor, history: &Tensor| gradient::clip(&of.f([4]), factor, history, &progress, 1, 1.0);
    clip(&rate, &history).unwrap();
    refused(&of.0, "factor", clip(&none, &history));
    refused(&of.0, "history", clip(&rate, &of.f([HISTORY, 3])));
}

#[test]
fn normalizations() {
    let of = Of(gpu());
    let x = of.f([4, 3, 5, 5]);
    let state = NormState::new(&of.0, 3).unwrap();
    let (three, four) = (of.f([3]), of.f([4]));
    fn norm<'a>(gamma: &'a Tensor, state: &'a NormState, bias: Option<&'a Tensor>) -> Norm<'a> {
        Norm { form: NormForm::OneConv, gamma, bias, state, eps: 1e-5 }
    }
    let batch = Statistics::Batch { momentum: 0.9, freeze: NEVER };
    let rules = norm::rules(&norm(&three, &state, None), &x, batch).unwrap();
    let shares = norm::shares(&rules, &three, true).unwrap();
    refused(&of.0, "gamma", norm::rules(&norm(&four, &state, None), &x, batch));
    refused(&of.0, "bias", norm::rules(&norm(&three, &state, Some(&four)), &x, batch));
    for short in [
        NormState { mean: of.f([2]), ..state.clone() },
        NormState { var: of.f([2]), ..state.clone() },
        NormState { steps: of.u([2]), ..state.clone() },
        NormState { steps: of.f([3]), ..state.clone() },
    ] {
        refused(&of.0, "state", norm::rules(&norm(&three, &short, None), &x, Statistics::Running));
    }
    refused(&of.0, "rules", norm::normalize(&x, &of.f([3, 4]), &three, true));
    refused(&of.0, "beta", norm::normalize(&x, &rules, &four, true));
    refused(&of.0, "x", norm::input_grad(&x, &of.f([4, 3, 5, 4]), &shares, true, true));
    refused(&of.0, "x of another kind", norm::input_grad(&x, &of.u([4, 3, 5, 5]), &shares, true, true));
    refused(
        &of.0,
        "channels",
        norm::input_grad(&of.f([4, 5, 5, 5]), &of.f([4, 5, 5, 5]), &shares, false, false),
    );
    refused(&of.0, "unfolded", norm::input_grads(&x, &x, &of.f([4, 3, 5]), &shares, true, true));
    refused(&of.0, "dy", norm::parameter_grads(&of.f([4, 3, 5]), &x, &rules, &three, true, true));
    refused(&of.0, "rules", norm::parameter_grads(&x, &x, &of.f([2, 8]), &three, true, true));
    refused(&of.0, "beta", norm::parameter_grads(&x, &x, &rules, &four, true, true));
    refused(&of.0, "rules", norm::shares(&of.f([3, 7]), &three, true));
    refused(&of.0, "rules of another kind", norm::shares(&of.u([3, 8]), &three, true));

    let w = of.f([3, 2, 3, 3]);
    let fold = |gamma: &Tensor, state: &NormState| {
        norm::fold_weight(&w, gamma, state, 1e-5, FoldForm::OneConv(batch))
    };
    let folded = fold(&three, &state).unwrap();
    refused(&of.0, "gamma", fold(&four, &state));
    refused(&of.0, "steps", fold(&three, &NormState { steps: of.u([1]), ..state.clone() }));
    let grad = |d: &Tensor, factors: &Tensor| norm::fold_weight_grad(d, &w, factors, [true, true]);
    refused(&of.0, "d", grad(&of.f([3, 2, 3, 2]), &folded.factors));
    refused(&of.0, "factors", grad(&w, &of.f([3, 1])));
}

#[test]
fn quantizers() {
    let of = Of(gpu());
    let x = of.f([3, 50]);
    let state = |min: usize, max: usize, steps: usize| RangeState {
        min: of.f([min]),
        max: of.f([max]),
        steps: of.u([steps]),
    };
    let rule = |bits| GridRule {
        bits,
        symmetric: true,
        narrow_range: false,
        observer: RangeObserver::LastBatch,
        delay: 0,
        freeze: NEVER,
    };
    let train = Observation::Train;
    quantize::quantize(&x, &state(3, 3, 3), &rule(8), train).unwrap();
    for (what, state, bits) in [
        ("max", state(3, 1, 3), 8),
        ("steps", state(3, 3, 1), 8),
        ("channels", state(4, 4, 4), 8),
        ("no channel", state(0, 0, 0), 8),
        ("bits", state(3, 3, 3), 0),
        ("bits", state(3, 3, 3), 64),
    ] {
        refused(&of.0, what, quantize::quantize(&x, &state, &rule(bits), train));
        refused(&of.0, what, quantize::lay_grid(&x, &state, &rule(bits), train));
    }
    let floats = RangeState { steps: of.f([3]), ..state(3, 3, 3) };
    refused(&of.0, "counters", quantize::lay_grid(&x, &floats, &rule(8), train));
    for grids in [of.f([2, 4]), of.f([3, 3]), of.f([0, 4]), of.u([3, 4])] {
        refused(&of.0, "grids", quantize::fake_quant(&x, &grids));
        refused(&of.0, "grids", quantize::straight_through(&x, &x, &grids));
    }
    refused(&of.0, "nothing", quantize::fake_quant(&of.f([0, 4]), &of.f([0, 4])));
    refused(&of.0, "dy", quantize::straight_through(&of.f([3, 49]), &x, &of.f([3, 4])));

    let rule = StepRule { bits: 4, signed: true, narrow_range: false, delay: 0 };
    let steps = |scale: usize, steps: usize| StepState { scale: of.f([scale]), steps: of.u([steps]) };
    let (_, used) = learned_step::quantize(&x, &steps(3, 3), &rule, train).unwrap();
    refused(&of.0, "steps", learned_step::quantize(&x, &steps(3, 1), &rule, train));
    refused(&of.0, "channels", learned_step::quantize(&x, &steps(2, 2), &rule, train));
    refused(&of.0, "bits", learned_step::quantize(&x, &steps(3, 3), &StepRule { bits: 1, ..rule }, train));
    refused(&of.0, "dy", learned_step::gradient(&of.f([3, 49]), &x, &used, &rule, true));
    refused(&of.0, "used", learned_step::gradient(&x, &x, &of.f([2]), &rule, true));
}

#[test]
fn integer_kernels() {
    let of = Of(gpu());
    let codes = |shape| Codes::empty(&of.0, shape).unwrap();
    let target = Target { zero_point: 0, ends: [-128, 127] };
    let factor = Factor { mantissa: 1 << 30, shift: 31 };
    let add = |a: &Codes, b: &Codes| int8::add([a, b], [0, 0], [factor; 2], target);
    refused(&of.0, "shapes", add(&codes([1, 4, 2, 2]), &codes([1, 4, 2, 3])));
    refused(&of.0, "a table", Table::upload(&of.0, &[0; 255]));
    refused(&of.0, "codes", codes([1, 4, 2, 2]).write(&[0; 15]));
    refused(&of.0, "codes without end", Codes::empty(&of.0, [HUGE, 4, 2, 2]));
    // Nothing at all is no mistake.
    codes([1, 0, 2, 2]).write(&[]).unwrap();
    assert!(codes([1, 4, 0, 2]).read().unwrap().is_empty());

    let (weight, bias, factors) = ([1i8; 4 * 8 * 9], [0i32; 4], [factor; 4]);
    let base = ConvNumbers {
        input: [8, 6, 6],
        output: [4, 4, 4],
        weight: &weight,
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pad: [0, 0],
        groups: 1,
        pool: [1, 1],
        zero_point: 0,
        bias: &bias,
        factors: &factors,
        target,
    };
    let conv = Conv::upload(&of.0, &base).unwrap();
    conv.forward(&codes([2, 8, 6, 6])).unwrap();
    refused(&of.0, "input", conv.forward(&codes([2, 8, 6, 5])));
    for (what, numbers) in [
        ("weights", ConvNumbers { weight: &weight[1..], ..base }),
        ("biases", ConvNumbers { bias: &bias[1..], ..base }),
        ("factors", ConvNumbers { factors: &factors[1..], ..base }),
        ("kernel", ConvNumbers { kernel: [HUGE, 2], ..base }),
        ("stride", ConvNumbers { stride: [HUGE, 1], ..base }),
        ("dilation", ConvNumbers { dilation: [1 << 31, 1], ..base }),
        ("padding", ConvNumbers { pad: [HUGE, 0], ..base }),
        ("pool", ConvNumbers { pool: [5, 1], ..base }),
        ("groups", ConvNumbers { groups: 3, ..base }),
    ] {
        refused(&of.0, what, Conv::upload(&of.0, &numbers));
    }
    for window in [Window { kernel: [0, 2], stride: [0, 2], padding: [0; 2] }, Window::square(HUGE)] {
        assert!(conv.pooled(&window).is_none(), "{window:?}");
    }
}
