//! The engine on this machine's adapter, in the kernels that suit it and in those for GPUs, against the plain interpreter.

use proptest::prelude::*;
use simqat::deploy::{CpuEngine, Engine, Function, GpuEngine, Int8Model, Op, Padding, Window};
use simqat::gpu::{Gpu, KernelFamily};

use super::common::open;
use super::models::{Builder, ConvShape, Random, any_graph, lenet5, mixed};
use super::oracle;

/// Devices of one's own: what other tests ask of a shared one would end up in a recording.
/// The last spells products of bytes out, as it would for a compiler that does not take the instruction.
fn families() -> [Gpu; 3] {
    let all = [KernelFamily::Auto, KernelFamily::Tiled, KernelFamily::Tiled].map(open);
    simqat::kernel::int8::avoid_byte_dots(&all[2]);
    all
}

fn size(model: &Int8Model) -> usize {
    model.input().shape.iter().product()
}

/// Codes of each layer for a batch, by the interpreter.
fn expected(model: &Int8Model, codes: &[i8]) -> Vec<Vec<i8>> {
    let mut layers = vec![Vec::new(); model.layers.len()];
    for image in codes.chunks(size(model)) {
        layers.iter_mut().zip(oracle::run(model, image)).for_each(|(all, own)| all.extend(own));
    }
    layers
}

/// Holds a run, its replay and every layer of a trace against the interpreter.
fn agrees(engine: &mut GpuEngine, codes: &[i8]) {
    let model = engine.model().clone();
    let layers = expected(&model, codes);
    for (id, (own, expected)) in engine.trace(codes).unwrap().iter().zip(&layers).enumerate() {
        let layer = &model.layers[id];
        assert_eq!(own.len(), expected.len(), "layer {id}");
        let differ = own.iter().zip(expected).filter(|(a, b)| a != b).count();
        if let Some(first) = (0..own.len()).find(|&k| own[k] != expected[k]) {
            panic!(
                "layer {id} {:?} from {:?}: {differ} of {} codes differ, first {first}: {}, expected {}",
                layer.shape,
                layer.inputs,
                own.len(),
                own[first],
                expected[first]
            );
        }
    }
    let mut output = vec![1; 3];
    for _ in 0..2 {
        engine.run(codes, &mut output).unwrap();
        assert!(output == layers[model.output], "the output differs where each layer agrees");
    }
}

/// Random codes, then the same engine on the ends of all codes.
fn agrees_on_batches(gpu: &Gpu, model: &Int8Model, batches: &[usize], seed: u64) {
    let mut engine = GpuEngine::new(gpu, model).unwrap();
    let mut random = Random::new(seed);
    for &images in batches {
        agrees(&mut engine, &random.codes(images * size(model), 8));
    }
    let mut ends = vec![i8::MIN; size(model)];
    agrees(&mut engine, &ends);
    ends.iter_mut().enumerate().for_each(|(k, code)| *code = if k % 3 == 0 { i8::MIN } else { i8::MAX });
    agrees(&mut engine, &ends);
}

#[test]
fn lenet5_gives_the_interpreters_codes() {
    for gpu in families() {
        agrees_on_batches(&gpu, &lenet5(1), &[1, 3, 8], 5);
    }
}

#[test]
fn every_kind_of_layer_gives_the_interpreters_codes() {
    for gpu in families() {
        for seed in 1..4 {
            agrees_on_batches(&gpu, &mixed(seed), &[1, 3, 8], seed);
        }
    }
}

/// Branches, layers that nobody needs, any layer as the output, the input too.
#[test]
fn graphs_of_any_order_give_the_interpreters_codes() {
    for gpu in families() {
        for seed in 0..40 {
            agrees_on_batches(&gpu, &any_graph(seed, 3 + seed as usize % 12), &[2], seed);
        }
    }
}

/// Convolutions whose channels do not fill words, in groups that do and that do not, over odd planes.
fn any_conv() -> impl Strategy<Value = (u64, [usize; 2], usize, usize, ConvShape)> {
    let groups = prop_oneof![3 => Just(1usize), 1 => 2usize..5];
    let window = (1usize..5, 1usize..9, 1usize..4, 1usize..4, 1usize..3, 1usize..3);
    let padding = (0usize..4, 0usize..4, 0usize..4, 0usize..4);
    let channels = prop_oneof![2 => 1usize..7, 1 => Just(4usize), 1 => Just(8usize)];
    (any::<u64>(), [1usize..14, 1usize..20], channels.clone(), channels, groups, window, padding).prop_map(
        |(seed, plane, c, o, groups, (kh, kw, sy, sx, dy, dx), (top, left, bottom, right))| {
            let padding = Padding { top, left, bottom, right };
            // Where a kernel is larger than the padded plane, the plane grows.
            let [h, w] = plane;
            let (h, w) = (h.max((kh - 1) * dy + 1), w.max((kw - 1) * dx + 1));
            let shape = ConvShape {
                kernel: [kh, kw],
                stride: [sy, sx],
                dilation: [dy, dx],
                padding,
                groups,
                ..ConvShape::square(1)
            };
            (seed, [h, w], c * groups, o * groups, shape)
        },
    )
}

#[test]
fn convolutions_of_any_shape() {
    let families = families();
    let config = ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |((seed, [h, w], c, o, shape) in any_conv())| {
        let mut b = Builder::new(seed, &[c, h, w]);
        b.conv(0, o, shape);
        let model = b.finish().unwrap();
        for gpu in &families {
            agrees_on_batches(gpu, &model, &[2], seed);
        }
    });
}

/// A convolution of `channels` channels whose sums stay within the codes.
fn deep(channels: usize, groups: usize, kernel: usize) -> Int8Model {
    let mut b = Builder::new(7, &[channels, kernel, kernel + 3]);
    b.conv(0, 8 * groups, ConvShape { groups, ..ConvShape::square(kernel) });
    b.model
}

/// More products than f32 adds up exactly, all of them as large as products are, and sums at every distance from them.
#[test]
fn long_sums_of_the_largest_products_are_exact() {
    for (channels, groups, kernel) in
        [(1021, 1, 1), (2052, 1, 1), (300, 1, 3), (9, 1, 16), (2400, 2, 1), (3, 1, 23)]
    {
        let mut model = deep(channels, groups, kernel);
        let zero_point = model.layers[0].grid.zero_point;
        let Op::Conv2d(conv) = &mut model.layers[1].op else { panic!("a convolution") };
        conv.linear.weight.fill(i8::MIN);
        let inputs = conv.linear.weight.len() / conv.linear.scale.len();
        // Where every code is -128, the sum is 128 for each input and its distance from zero; the bias takes it away
        // but for a few, and the scale makes a code of each unit.
        let reach = inputs as i32 * 128 * (128 + i32::from(zero_point));
        conv.linear.bias = (0..8 * groups as i32).map(|k| k * 3 - 11 - reach).collect();
        let scale = model.layers[1].grid.scale / model.layers[0].grid.scale;
        let Op::Conv2d(conv) = &mut model.layers[1].op else { panic!("a convolution") };
        conv.linear.scale.fill(scale);
        model.check().unwrap();
        for gpu in families() {
            let mut engine = GpuEngine::new(&gpu, &model).unwrap();
            let mut codes = vec![i8::MIN; size(&model)];
            agrees(&mut engine, &codes);
            // One code more is 128 units less.
            let middle = codes.len() / 2;
            codes[middle] += 1;
            agrees(&mut engine, &codes);
        }
    }
}

/// Flat codes lie as they did before they were flat: every layer that may take them, and what gives them out.
#[test]
fn flat_codes_are_found_wherever_they_lie() {
    let mut flat_output = Builder::new(3, &[5, 3, 4]);
    flat_output.flatten(0);

    let mut looked_up = Builder::new(4, &[6, 2, 3]);
    let x = looked_up.flatten(0);
    let x = looked_up.table(x, Function::Tanh);
    let x = looked_up.flatten(x);
    looked_up.dense(x, 9, 8, Function::Relu);

    // One side lies in planes, the other in features, in both orders; then both in planes.
    let mut added = Builder::new(5, &[3, 5, 2]);
    let flat = added.flatten(0);
    let dense = added.dense(flat, 30, 8, Function::Identity);
    let a = added.add(flat, dense, Function::Identity);
    let b = added.add(a, flat, Function::Relu);
    let c = added.add(flat, flat, Function::Relu6);
    let d = added.add(c, b, Function::Identity);
    added.dense(d, 3, 8, Function::Identity);

    // A flat input, and a plane too large for products in f32.
    let mut flat_input = Builder::new(6, &[37]);
    flat_input.dense(0, 6, 8, Function::Identity);
    let mut large = Builder::new(8, &[2, 33, 20]);
    let x = large.flatten(0);
    large.dense(x, 5, 8, Function::Identity);

    let models = [flat_output, looked_up, added, flat_input, large].map(|b| b.finish().unwrap());
    for gpu in families() {
        for model in &models {
            agrees_on_batches(&gpu, model, &[1, 3], 9);
        }
    }
}

#[test]
fn windows_of_any_shape() {
    let windows = [
        Window { kernel: [2, 3], stride: [1, 2], padding: [0, 1] },
        Window { kernel: [2, 2], stride: [3, 3], padding: [1, 1] },
        Window { kernel: [5, 1], stride: [1, 1], padding: [2, 0] },
        Window { kernel: [9, 7], stride: [1, 1], padding: [0, 0] },
    ];
    for gpu in families() {
        for (seed, window) in windows.into_iter().enumerate() {
            let mut b = Builder::new(seed as u64, &[6, 9, 7]);
            b.max_pool(0, window);
            b.avg_pool(0, window);
            agrees_on_batches(&gpu, &b.finish().unwrap(), &[1, 2], 3);
        }
    }
}

/// Pooling that the convolution before it does, over planes that windows do not fill; and where it cannot, since others take
/// the codes, too, or windows overlap or are large.
#[test]
fn pooling_joined_with_a_convolution_keeps_the_same_codes() {
    let side_by_side = |y, x| Window { kernel: [y, x], stride: [y, x], padding: [0; 2] };
    let mut b = Builder::new(21, &[5, 21, 47]);
    let x = b.conv(0, 9, ConvShape { activation: Function::Relu, ..ConvShape::square(3).padded(1) });
    let x = b.max_pool(x, side_by_side(2, 2));
    let x = b.conv(x, 8, ConvShape { stride: [1, 2], ..ConvShape::square(2) });
    let x = b.max_pool(x, side_by_side(1, 3));
    let x = b.conv(x, 8, ConvShape { groups: 2, ..ConvShape::square(1) });
    let x = b.max_pool(x, side_by_side(4, 1));
    let shared = b.conv(x, 8, ConvShape { groups: 8, ..ConvShape::square(1) });
    let _ = b.max_pool(shared, side_by_side(1, 1));
    let both = b.conv(shared, 6, ConvShape::square(1));
    let _ = b.max_pool(both, side_by_side(2, 1));
    let x = b.add(both, both, Function::Identity);
    let x = b.conv(x, 4, ConvShape::square(1));
    b.max_pool(x, Window { kernel: [2; 2], stride: [1; 2], padding: [1; 2] });
    let model = b.finish().unwrap();
    for gpu in families() {
        agrees_on_batches(&gpu, &model, &[1, 5, 40], 6);
    }
}

/// The larger sizes of real networks: many images, wide rows, tiles of every kind.
#[test]
fn large_batches_take_other_tiles() {
    for gpu in families() {
        let mut b = Builder::new(11, &[3, 16, 32]);
        let x = b.conv(0, 16, ConvShape::square(3).padded(1));
        let x = b.conv(x, 8, ConvShape { stride: [2, 2], ..ConvShape::square(3).padded(1) });
        b.conv(x, 24, ConvShape::square(1));
        agrees_on_batches(&gpu, &b.finish().unwrap(), &[1, 40], 3);
    }
}

/// A residual network at a size where the interpreter would be slow: both engines, layer by layer.
#[test]
fn both_engines_give_the_same_codes() {
    let mut b = Builder::new(31, &[3, 32, 32]);
    let relu = ConvShape { activation: Function::Relu, ..ConvShape::square(3).padded(1) };
    let plain = ConvShape { activation: Function::Identity, ..relu };
    let x = b.conv(0, 32, ConvShape { stride: [2, 2], ..ConvShape { kernel: [7, 7], ..relu.padded(3) } });
    let x = b.max_pool(x, Window { kernel: [3; 2], stride: [2; 2], padding: [1; 2] });
    let a = b.conv(x, 128, relu);
    let a = b.conv(a, 128, plain);
    let shortcut = b.conv(x, 128, ConvShape::square(1));
    let x = b.add(a, shortcut, Function::Relu);
    let a = b.conv(x, 192, ConvShape { stride: [2, 2], ..relu });
    let a = b.conv(a, 192, ConvShape { groups: 4, ..plain });
    let shortcut = b.conv(x, 192, ConvShape { stride: [2, 2], ..ConvShape::square(1) });
    let x = b.add(a, shortcut, Function::Relu);
    let x = b.avg_pool(x, Window { kernel: [4; 2], stride: [4; 2], padding: [0; 2] });
    let x = b.flatten(x);
    b.dense(x, 100, 8, Function::Identity);
    let model = b.finish().unwrap();
    let codes = Random::new(4).codes(9 * size(&model), 8);
    let mut cpu = CpuEngine::new(&model).unwrap();
    let layers = cpu.trace(&codes).unwrap();
    for gpu in families() {
        let mut engine = GpuEngine::new(&gpu, &model).unwrap();
        for (id, codes) in engine.trace(&codes).unwrap().iter().enumerate() {
            assert!(codes == &layers[id], "layer {id}: {:?}", model.layers[id].shape);
        }
        let mut output = Vec::new();
        engine.run(&codes, &mut output).unwrap();
        assert!(output == layers[model.output], "the output");
    }
}

#[test]
fn recordings_of_several_batch_sizes_come_and_go() {
    let (model, mut random) = (mixed(1), Random::new(2));
    let mut engine = GpuEngine::new(&open(KernelFamily::Auto), &model).unwrap();
    let mut output = Vec::new();
    for images in [1, 2, 3, 4, 5, 6, 1, 2, 6, 1] {
        let codes = random.codes(images * size(&model), 8);
        engine.run(&codes, &mut output).unwrap();
        assert!(output == expected(&model, &codes)[model.output], "{images} images");
    }
}

#[test]
fn wrong_numbers_of_codes_are_refused() {
    let mut engine = GpuEngine::new(&open(KernelFamily::Auto), &lenet5(1)).unwrap();
    for count in [0, 1023, 1025] {
        let message = engine.run(&vec![0; count], &mut Vec::new()).unwrap_err().to_string();
        assert!(message.contains(&count.to_string()) && message.contains("1024"), "{message}");
        assert!(engine.trace(&vec![0; count]).is_err());
    }
    // And the engine still runs.
    agrees(&mut engine, &[1; 1024]);
}
