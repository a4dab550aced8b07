//! A ResNet in both styles: what is joined, what is on a grid around the residual sums, and that it trains.

use simqat::data::Split;
use simqat::nn::models::{ResNet, ResNetDepth};
use simqat::optim::MomentumOptions;
use simqat::train::{Feed, Normalization, RunMode, Trainer, TrainerOptions};

use super::*;

fn resnet(gpu: &Gpu) -> Network {
    ResNet::new(ResNetDepth::D18, 4).image([32, 32]).width(4).builder().build(gpu, 1).unwrap()
}

/// As the model zoo trains it: Golden Stick's style with the fold of two convolutions.
fn two_conv_recipe() -> SimQat {
    let simqat = SimQat::golden_stick();
    changed(simqat, |o| (o.enable_fusion, o.bn_fold, o.one_conv_fold) = (true, true, false))
}

/// Nodes of the network whose layer is such.
fn those(network: &Network, is: fn(&Layer) -> bool) -> impl Iterator<Item = usize> {
    (0..network.nodes().len()).filter(move |&id| is(&network.nodes()[id].layer))
}

/// The one node that takes the output of node `id`.
fn behind(network: &Network, id: usize) -> &str {
    let takers: Vec<_> = network.nodes().iter().filter(|n| n.inputs.contains(&id)).collect();
    assert_eq!(takers.len(), 1, "behind {}", network.nodes()[id].name);
    &takers[0].name
}

/// True where a quantizer has put the output of node `id` on a grid. Pooling only picks values.
fn is_on_grid(network: &Network, id: usize) -> bool {
    let node = &network.nodes()[id];
    match node.layer {
        Layer::MaxPool2d(_) => is_on_grid(network, node.inputs[0]),
        _ => node.quantizers.output.is_some(),
    }
}

#[test]
fn every_convolution_is_joined_with_its_normalization_by_two_convolutions() {
    let float = resnet(&Gpu::noop());
    for simqat in [SimQat::default(), two_conv_recipe()] {
        let network = simqat.apply(&float).unwrap();
        let mut joined = 0;
        for node in network.nodes() {
            match &node.layer {
                Layer::Conv2dBn(layer) => {
                    joined += 1;
                    assert_eq!(layer.fold, BnFold::TwoConv, "{}", node.name);
                    let own = node.name.replace("conv", "bn").replace("downsample.0", "downsample.1");
                    assert_eq!(node.norm().map(|(path, _)| path), Some(&own[..]));
                    // A grid for each channel, of folded weights.
                    let weight = node.quantizers.weight.unwrap();
                    assert!(weight.per_channel && weight.channels == node.shape[0], "{}", node.name);
                }
                other => assert!(
                    !matches!(other, Layer::Conv2d(_) | Layer::BatchNorm2d(_)),
                    "{} is left alone",
                    node.name
                ),
            }
        }
        // The first, two in each of eight blocks, and three in shortcuts.
        assert_eq!(joined, 1 + 2 * 8 + 3);
        assert_eq!(network.trainable_count(), float.trainable_count());
        assert_eq!(simqat.lint(&float), []);
    }
}

#[test]
fn by_default_sums_take_and_give_values_on_a_grid() {
    let network = SimQat::default().apply(&resnet(&Gpu::noop())).unwrap();
    let sums: Vec<usize> = those(&network, |layer| matches!(layer, Layer::Add)).collect();
    assert_eq!(sums.len(), 8);
    for sum in sums {
        let node = &network.nodes()[sum];
        for &input in &node.inputs {
            assert!(is_on_grid(&network, input), "{} takes {}", node.name, network.nodes()[input].name);
        }
        // Its inputs have their grids, and the ReLU behind it rounds for both.
        assert_eq!(slots(&network, &node.name), "----", "{}", node.name);
        assert_eq!(slots(&network, behind(&network, sum)), "---o", "behind {}", node.name);
    }
    // Nothing is rounded between a convolution and its ReLU; a convolution that ends a branch rounds by itself.
    for (name, expected) in [
        ("conv1", "i-w-"),
        ("layer1.0.conv1", "--w-"),
        ("layer1.0.conv2", "--wo"),
        ("layer2.0.downsample.0", "--wo"),
        ("layer4.1.conv2", "--wo"),
        ("fc", "i-wo"),
    ] {
        assert_eq!(slots(&network, name), expected, "{name}");
    }
}

#[test]
fn in_golden_stick_s_style_sums_are_left_alone() {
    let network = two_conv_recipe().apply(&resnet(&Gpu::noop())).unwrap();
    let sums: Vec<usize> = those(&network, |layer| matches!(layer, Layer::Add)).collect();
    assert_eq!(sums.len(), 8);
    for sum in sums {
        let name = &network.nodes()[sum].name;
        assert_eq!(slots(&network, name), "----", "{name}");
        // What comes out of it is on no grid, so the ReLU rounds before and behind.
        assert_eq!(slots(&network, behind(&network, sum)), "i--o", "behind {name}");
    }
    for id in those(&network, |layer| matches!(layer, Layer::Conv2dBn(_))) {
        let name = &network.nodes()[id].name;
        let expected = if name == "conv1" { "i-wo" } else { "--wo" };
        assert_eq!(slots(&network, name), expected, "{name}");
    }
}

#[test]
fn a_step_of_either_style_moves_every_weight_to_a_finite_value() {
    let gpu = gpu();
    for simqat in [SimQat::default(), two_conv_recipe()] {
        let network = simqat.apply(&resnet(&gpu)).unwrap();
        let mut random = Philox::new(3, 0);
        let bytes: Vec<u8> = (0..8 * 3 * 32 * 32).map(|_| random.below(256) as u8).collect();
        let split = Split::new([3, 32, 32], bytes, (0..8).map(|i| i % 4).collect(), 4).unwrap();
        let normalization = Normalization { mean: vec![0.5; 3], deviation: vec![0.25; 3] };
        let feed = Feed::new(&gpu, &split, 8, [32, 32], &normalization).unwrap();
        let options = TrainerOptions {
            // A recording would take in what other tests ask of the device.
            mode: RunMode::Eager,
            optimizer: MomentumOptions { learning_rate: 0.01, momentum: 0.9, weight_decay: 0.0 },
            ..TrainerOptions::default()
        };
        let mut trainer = Trainer::new(network, feed, options).unwrap();
        let before = snapshot(trainer.network());
        (0..2).for_each(|_| trainer.step().unwrap());
        trainer.check_finite().unwrap();
        let network = trainer.network();
        for (parameter, (name, old)) in network.parameters().iter().zip(before) {
            if name.ends_with(".steps") {
                continue;
            }
            let values = parameter.tensor.read_f32().unwrap();
            assert!(values.iter().all(|v| v.is_finite()), "{name}: {:?}", simqat.style);
            let moved = values.iter().zip(old).any(|(new, old)| new.to_bits() != old);
            // The lower end of what a ReLU gives is 0 from the first batch on, which is a move from -6.
            assert!(moved, "{name} has not moved: {:?}", simqat.style);
        }
    }
}
