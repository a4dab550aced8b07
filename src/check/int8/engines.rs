//! Both engines on the same networks.

use super::super::{Case, Trial};
use super::FAMILY;
use super::models::{Builder, ConvShape, Random, any_graph, lenet5, mixed};
use crate::Result;
use crate::deploy::{CpuEngine, Engine, Function, GpuEngine, Int8Model, Window};

pub(super) const CASES: &[Case] = &[
    Case::new(FAMILY, "LeNet5's layers", lenet).on_both(),
    Case::new(FAMILY, "every kind of layer at odd sizes", every_kind).on_both(),
    Case::new(FAMILY, "graphs of random layers", random_graphs).on_both(),
    Case::new(FAMILY, "a residual network", residual).on_both(),
    Case::new(FAMILY, "convolutions and pooling of random shapes", random_shapes).on_both(),
];

/// Holds every layer of a batch of random codes, and what a recorded run gives, against the CPU engine.
fn same_codes(t: &mut Trial<'_>, what: &str, model: &Int8Model, images: usize, seed: u64) -> Result<()> {
    let size: usize = model.input().shape.iter().product();
    let codes = Random::new(seed).codes(images * size, 8);
    let expected = CpuEngine::new(model)?.trace(&codes)?;
    let mut engine = GpuEngine::new(t.gpu(), model)?;
    for (id, own) in engine.trace(&codes)?.iter().enumerate() {
        t.same(format_args!("{what}, {images} images, {}", model.layers[id].name), own, &expected[id])?;
    }
    let mut output = Vec::new();
    for turn in ["recorded", "replayed"] {
        engine.run(&codes, &mut output)?;
        t.same(format_args!("{what}, {images} images, {turn}"), &output, &expected[model.output])?;
    }
    Ok(())
}

fn lenet(t: &mut Trial<'_>) -> Result<()> {
    let model = lenet5(1)?;
    [1, 3, 8].into_iter().try_for_each(|images| same_codes(t, "LeNet5", &model, images, 5))
}

fn every_kind(t: &mut Trial<'_>) -> Result<()> {
    for seed in 1..4 {
        let model = mixed(seed)?;
        for images in [1, 5] {
            same_codes(t, &format!("network {seed}"), &model, images, seed)?;
        }
    }
    Ok(())
}

fn random_graphs(t: &mut Trial<'_>) -> Result<()> {
    for seed in 0..12 {
        let model = any_graph(seed, 3 + seed as usize)?;
        same_codes(t, &format!("graph {seed}"), &model, 2, seed)?;
    }
    Ok(())
}

/// Channels that fill words and tiles, and planes from 32x32 to one pixel.
fn residual(t: &mut Trial<'_>) -> Result<()> {
    let mut b = Builder::new(31, &[3, 32, 32]);
    let relu = ConvShape { activation: Function::Relu, ..ConvShape::square(3).padded(1) };
    let plain = ConvShape { activation: Function::Identity, ..relu };
    let x = b.conv(0, 16, ConvShape { stride: [2, 2], kernel: [7, 7], ..relu.padded(3) });
    let x = b.max_pool(x, Window { kernel: [3; 2], stride: [2; 2], padding: [1; 2] });
    let a = b.conv(x, 64, relu);
    let a = b.conv(a, 64, plain);
    let shortcut = b.conv(x, 64, ConvShape::square(1));
    let x = b.add(a, shortcut, Function::Relu);
    let a = b.conv(x, 96, ConvShape { stride: [2, 2], ..relu });
    let a = b.conv(a, 96, ConvShape { groups: 4, ..plain });
    let shortcut = b.conv(x, 96, ConvShape { stride: [2, 2], ..ConvShape::square(1) });
    let x = b.add(a, shortcut, Function::Relu);
    let x = b.avg_pool(x, Window { kernel: [4; 2], stride: [4; 2], padding: [0; 2] });
    let x = b.flatten(x);
    b.dense(x, 100, 8, Function::Identity);
    same_codes(t, "a residual network", &b.finish()?, 9, 4)
}

fn random_shapes(t: &mut Trial<'_>) -> Result<()> {
    let mut draw = t.draw(70);
    for seed in 0..10 {
        let kernel = [draw.between(1, 4), draw.between(1, 7)];
        let groups = draw.one_of(&[1, 1, 2, 4]);
        let shape = ConvShape {
            kernel,
            stride: [draw.between(1, 3), draw.between(1, 2)],
            groups,
            bits: draw.one_of(&[2, 4, 8]),
            activation: draw.one_of(&[Function::Identity, Function::Relu, Function::Relu6]),
            ..ConvShape::square(1).padded(draw.between(0, 2))
        };
        let plane = [kernel[0] + draw.between(1, 9), kernel[1] + draw.between(1, 16)];
        let mut b = Builder::new(seed, &[groups * draw.between(1, 8), plane[0], plane[1]]);
        let x = b.conv(0, groups * draw.between(1, 9), shape);
        let [_, h, w] = b.model.layers[x].planes();
        let window = Window { kernel: [h.min(2), w.min(3)], stride: [1, 2], padding: [0, 0] };
        b.max_pool(x, window);
        b.avg_pool(x, window);
        same_codes(t, &format!("{plane:?}, {shape:?}"), &b.finish()?, 3, seed)?;
    }
    Ok(())
}
