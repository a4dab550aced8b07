//! The engine on the CPU gives the oracle's codes: with vectors and without, with threads and without.

use proptest::prelude::*;
use simqat::deploy::{CpuEngine, CpuOptions, Engine, Function, Int8Model, Op, Padding, Window};

use super::models::{Builder, ConvShape, Random, any_graph, lenet5, mixed};
use super::oracle;

const WAYS: [CpuOptions; 3] = [
    CpuOptions { simd: true, threads: 1 },
    CpuOptions { simd: false, threads: 1 },
    CpuOptions { simd: true, threads: 5 },
];

/// Every layer's codes and the output's, for a batch.
fn assert_exact(model: &Int8Model, codes: &[i8], ways: &[CpuOptions]) {
    let size: usize = model.input().shape.iter().product();
    let mut layers = vec![Vec::new(); model.layers.len()];
    for image in codes.chunks(size) {
        for (all, one) in layers.iter_mut().zip(oracle::run(model, image)) {
            all.extend(one);
        }
    }
    for &way in ways {
        let mut engine = CpuEngine::with_options(model, way).unwrap();
        // Longer than what comes, and of a code that is not all over the output.
        let mut output = vec![99; 100_000];
        for turn in 0..2 {
            engine.run(codes, &mut output).unwrap();
            assert_eq!(output, layers[model.output], "{way:?}, output, turn {turn}");
            for (id, traced) in engine.trace(codes).unwrap().into_iter().enumerate() {
                assert!(traced == layers[id], "{way:?}, layer {id}: {:?}", model.layers[id].op);
            }
        }
    }
}

fn images(model: &Int8Model, count: usize, seed: u64) -> Vec<i8> {
    Random::new(seed).codes(count * model.input().shape.iter().product::<usize>(), 8)
}

#[test]
fn networks_of_every_kind_of_layer_give_the_oracles_codes() {
    for seed in 1..=8 {
        let model = mixed(seed);
        assert_exact(&model, &images(&model, seed as usize % 5 + 1, seed), &WAYS);
    }
    let model = lenet5(3);
    assert_exact(&model, &images(&model, 3, 7), &WAYS);
}

/// Memory is shared by layers that are not needed at the same time: any order of layers must leave each its own.
#[test]
fn graphs_of_any_order_give_the_oracles_codes() {
    for seed in 0..300 {
        let model = any_graph(seed, 3 + seed as usize % 12);
        assert_exact(&model, &images(&model, 2, seed), &WAYS);
    }
}

#[test]
fn codes_are_spread_over_the_grid() {
    // Otherwise the tests above would compare ends with ends.
    let model = lenet5(3);
    let layers = oracle::run(&model, &images(&model, 1, 7));
    for (layer, codes) in model.layers.iter().zip(layers) {
        let [low, high] = layer.ends();
        let inside = codes.iter().filter(|&&code| low < code && code < high).count();
        assert!(inside * 8 > codes.len(), "{}: {inside} of {}", layer.name, codes.len());
    }
}

fn conv_shapes() -> impl Strategy<Value = (usize, usize, [usize; 2], ConvShape)> {
    let axis = || (1usize..=5, 1usize..=3, 1usize..=3, 0usize..=3, 0usize..=3);
    let channels = prop_oneof![
        // Groups, inputs and outputs of a group; channels with weights of their own.
        (1usize..=1, 1usize..=9, 1usize..=35),
        (2usize..=4, 1usize..=5, 1usize..=10),
        (2usize..=19, 1usize..=1, 1usize..=1),
    ];
    let activation = prop_oneof![Just(Function::Identity), Just(Function::Relu), Just(Function::Relu6)];
    (axis(), axis(), 0usize..=8, 0usize..=8, channels, 2u32..=8, activation).prop_map(
        |(y, x, more_y, more_x, (groups, inputs, outputs), bits, activation)| {
            let shape = ConvShape {
                kernel: [y.0, x.0],
                stride: [y.1, x.1],
                dilation: [y.2, x.2],
                padding: Padding { top: y.3, left: x.3, bottom: y.4, right: x.4 },
                groups,
                bits,
                activation,
            };
            // As large as the window without padding, or larger; where padding makes up for it, smaller.
            let extent = |(kernel, _, dilation, before, after): (usize, usize, usize, usize, usize),
                          more: usize| {
                ((kernel - 1) * dilation + 1 + more).saturating_sub(before + after).max(1)
            };
            (inputs * groups, outputs * groups, [extent(y, more_y), extent(x, more_x)], shape)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn convolutions_of_any_shape_give_the_oracles_codes(
        (inputs, outputs, [height, width], shape) in conv_shapes(),
        batch in 1usize..=5,
        seed in 0u64..1000,
    ) {
        let mut b = Builder::new(seed, &[inputs, height, width]);
        let x = b.conv(0, outputs, shape);
        // A pooling that the convolution takes over, where it fits.
        let [_, h, w] = b.model.layers[x].planes();
        if h > 1 && w > 2 && seed % 2 == 0 {
            b.max_pool(x, Window { kernel: [2, 3], stride: [2, 3 + seed as usize % 3], padding: [0; 2] });
        }
        let model = b.finish().unwrap();
        assert_exact(&model, &images(&model, batch, seed), &WAYS[..2]);
    }

    #[test]
    fn pooling_of_any_shape_gives_the_oracles_codes(
        channels in 1usize..=19,
        (height, kh, sy, py) in (1usize..=9, 1usize..=5, 1usize..=3, 0usize..=2),
        (width, kw, sx, px) in (1usize..=9, 1usize..=5, 1usize..=3, 0usize..=2),
        seed in 0u64..1000,
    ) {
        let window = Window {
            kernel: [kh, kw],
            stride: [sy, sx],
            padding: [py.min(kh / 2), px.min(kw / 2)],
        };
        prop_assume!(height + 2 * window.padding[0] >= kh && width + 2 * window.padding[1] >= kw);
        let mut b = Builder::new(seed, &[channels, height, width]);
        let highest = b.max_pool(0, window);
        let mean = b.avg_pool(0, window);
        b.add(highest, mean, Function::Relu);
        let model = b.finish().unwrap();
        assert_exact(&model, &images(&model, 2, seed), &WAYS[..2]);
    }

    #[test]
    fn dense_layers_of_any_width_give_the_oracles_codes(
        (inputs, outputs) in (1usize..=70, 1usize..=70), bits in 2u32..=8, seed in 0u64..1000,
    ) {
        let mut b = Builder::new(seed, &[inputs]);
        let x = b.dense(0, outputs, bits, Function::Relu);
        let x = b.table(x, Function::Sigmoid);
        b.dense(x, 3, bits, Function::Identity);
        let model = b.finish().unwrap();
        assert_exact(&model, &images(&model, 3, seed), &WAYS[..2]);
    }
}

#[test]
fn flattened_images_meet_features_in_order() {
    // [C, H, W] codes lie otherwise in memory than features do; sums of both must not mix them up.
    let mut b = Builder::new(5, &[3, 4, 2]);
    let conv = b.conv(0, 5, ConvShape::square(3).padded(1));
    let flat = b.flatten(conv);
    let again = b.flatten(flat);
    let dense = b.dense(flat, 40, 8, Function::Relu);
    let x = b.add(again, dense, Function::Identity);
    let y = b.add(dense, again, Function::Relu);
    let looked_up = b.table(again, Function::Tanh);
    let z = b.add(looked_up, x, Function::Identity);
    let z = b.add(z, y, Function::Identity);
    let mut model = b.finish().unwrap();
    let codes = images(&model, 3, 5);
    // Every layer as the output: what it takes is not needed later, nor overwritten earlier.
    for output in 0..=z {
        model.output = output;
        assert_exact(&model, &codes, &WAYS);
    }
}

#[test]
fn what_a_pooling_follows_can_still_be_the_output_or_have_other_users() {
    let mut b = Builder::new(6, &[2, 8, 8]);
    let conv = b.conv(0, 9, ConvShape::square(3).padded(1));
    let pool = Window { kernel: [2; 2], stride: [2; 2], padding: [0; 2] };
    let pooled = b.max_pool(conv, pool);
    let strided = b.conv(conv, 9, ConvShape { stride: [2; 2], ..ConvShape::square(2) });
    b.add(pooled, strided, Function::Relu);
    let mut model = b.finish().unwrap();
    let codes = images(&model, 2, 6);
    for output in [4, 2, 1] {
        model.output = output;
        assert_exact(&model, &codes, &WAYS);
    }
    model.layers.truncate(3);
    for output in [1, 2] {
        model.output = output;
        assert_exact(&model, &codes, &WAYS);
    }
}

#[test]
fn sums_at_the_ends_of_32_bits_are_exact() {
    // As many inputs as a layer may have, all as far from zero as codes and weights can be.
    for (zero, code, weight) in [(-128, 127, -128), (127, -128, -128), (-128, 127, 127), (127, -128, 127)] {
        for inputs in [65_000usize, 600] {
            let mut b = Builder::new(9, &[inputs]);
            b.model.layers[0].grid.zero_point = zero;
            b.dense(0, 3, 8, Function::Identity);
            let mut model = b.finish().unwrap();
            let largest = i64::from(i32::MAX) - inputs as i64 * 255 * 128;
            let factor = model.layers[1].grid.scale / model.layers[0].grid.scale;
            let Op::Dense(linear) = &mut model.layers[1].op else { panic!("a dense layer") };
            linear.weight.fill(weight);
            linear.bias = vec![largest as i32, -largest as i32, 0];
            // The largest sum becomes a code near the end of the grid.
            linear.scale = vec![factor * 2f32.powi(-25), factor * 2f32.powi(-24), factor * 2f32.powi(-26)];
            model.check().unwrap();
            assert_exact(&model, &vec![code; inputs], &WAYS);
        }
    }
}

#[test]
fn codes_at_their_ends_are_exact() {
    for seed in 20..24 {
        let mut model = mixed(seed);
        for layer in &mut model.layers {
            if let Op::Conv2d(conv) = &mut layer.op {
                let low = -(1i16 << (conv.linear.bits - 1)) as i8;
                conv.linear
                    .weight
                    .iter_mut()
                    .for_each(|weight| *weight = if *weight < 0 { low } else { !low });
            }
        }
        let size: usize = model.input().shape.iter().product();
        let codes: Vec<i8> = [i8::MIN, i8::MAX].iter().flat_map(|&code| vec![code; size]).collect();
        assert_exact(&model, &codes, &WAYS);
    }
}

/// Large enough for layers and batches to be split.
#[test]
fn threads_give_the_same_codes() {
    let mut b = Builder::new(11, &[3, 37, 41]);
    let stem = b.conv(0, 24, ConvShape { stride: [2; 2], ..ConvShape::square(7).padded(3) });
    let x = b.conv(stem, 40, ConvShape { activation: Function::Relu, ..ConvShape::square(3).padded(1) });
    let x = b.max_pool(x, Window { kernel: [2; 2], stride: [2; 2], padding: [0; 2] });
    let x = b.flatten(x);
    let x = b.dense(x, 700, 8, Function::Relu);
    b.dense(x, 11, 8, Function::Identity);
    let model = b.finish().unwrap();
    let codes = images(&model, 7, 11);
    let engine = |threads, simd| CpuEngine::with_options(&model, CpuOptions { simd, threads }).unwrap();
    let (mut expected, mut output) = (Vec::new(), Vec::new());
    engine(1, false).run(&codes, &mut expected).unwrap();
    let one = codes.len() / 7;
    assert_eq!(expected[..11], oracle::run(&model, &codes[..one])[model.output][..]);
    for threads in [2, 3, 5, 64] {
        let mut engine = engine(threads, true);
        for images in [1, 2, 7, 3] {
            engine.run(&codes[..images * one], &mut output).unwrap();
            assert_eq!(output, expected[..images * 11], "{threads} threads, {images} images");
        }
    }
}

/// Two groups whose blocks of eight are as many as those of all outputs together, though the second group begins within one.
#[test]
fn groups_that_end_within_a_block_can_be_split_among_threads() {
    let mut b = Builder::new(12, &[160, 15, 15]);
    b.conv(0, 2 * 61, ConvShape { groups: 2, ..ConvShape::square(15) });
    let model = b.finish().unwrap();
    assert_exact(&model, &images(&model, 1, 12), &WAYS[2..]);
}

#[test]
fn codes_that_are_no_images_are_refused() {
    let mut engine = CpuEngine::new(&lenet5(1)).unwrap();
    let mut output = Vec::new();
    for count in [0, 1023, 1025] {
        let message = engine.run(&vec![0; count], &mut output).unwrap_err().to_string();
        assert!(message.contains(&count.to_string()) && message.contains("[1, 32, 32]"), "{message}");
        assert!(engine.trace(&vec![0; count]).is_err());
    }
    let mut model = lenet5(1);
    model.layers[1].inputs = vec![4];
    assert!(CpuEngine::new(&model).is_err());
}
