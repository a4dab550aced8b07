//! ResNets beside PyTorch: the same weights and images must give the same logits and gradients. The files that this is
//! held against are made by `script/torch_fixtures.py`, which says how.

mod common;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use common::gpu;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use simqat::gpu::Gpu;
use simqat::nn::Network;
use simqat::nn::models::{ResNet, ResNetDepth};
use simqat::ops::softmax_cross_entropy;
use simqat::tensor::{Shape, Tensor};
use simqat::train::checkpoint::{Checkpoint, save_network};
use simqat::train::weights::{StateDict, export, import};

// The formula that weights and images come from, as in the script.

/// FNV-1a, 32 bits.
fn name_hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |value, byte| (value ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Pseudo-random words: the finalizer of MurmurHash3 over a Weyl sequence.
fn words(name: &str, count: usize, salt: u32) -> impl Iterator<Item = u32> {
    let first = name_hash(name).wrapping_add(salt);
    (0..count as u32).map(move |i| {
        let mut x = i.wrapping_mul(0x9e37_79b9).wrapping_add(first);
        x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
        x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
        x ^ (x >> 16)
    })
}

fn uniform(name: &str, count: usize, bound: f32) -> Vec<f32> {
    words(name, count, 0).map(|word| ((word >> 8) as f32 / 16_777_216.0 * 2.0 - 1.0) * bound).collect()
}

fn start(name: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    match shape {
        _ if name.ends_with("running_mean") => vec![0.0; count],
        _ if name.ends_with("running_var") => vec![1.0; count],
        [_, inputs @ ..] if !inputs.is_empty() => {
            uniform(name, count, (6.0 / inputs.iter().product::<usize>() as f64).sqrt() as f32)
        }
        _ => {
            let middle = |channel: usize| match (name.ends_with("weight"), channel % 2) {
                (true, _) => 1.0,
                (false, _) if name.contains("downsample") => 0.0,
                (false, 0) => 3.0,
                (false, _) => -3.0,
            };
            uniform(name, count, 0.25).into_iter().enumerate().map(|(c, v)| v + middle(c)).collect()
        }
    }
}

/// Sums of the values with random signs, one for each bit of a word.
fn projections(name: &str, values: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; 32];
    for (word, &value) in words(name, values.len(), 0x5bd1_e995).zip(values) {
        for (bit, sum) in sums.iter_mut().enumerate() {
            *sum += if (word >> bit) & 1 == 1 { f64::from(value) } else { -f64::from(value) };
        }
    }
    sums
}

// A fixture and the network that it is of.

struct Fixture {
    content: Vec<u8>,
    about: HashMap<String, String>,
}

impl Fixture {
    fn read(path: &Path) -> Fixture {
        let content = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&content).unwrap();
        Fixture { about: header.metadata().clone().unwrap(), content }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.content).unwrap()
    }

    fn f32(&self, name: &str) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(self.tensors().tensor(name).unwrap().data())
    }

    fn number(&self, key: &str) -> usize {
        self.about[key].parse().unwrap()
    }

    /// Names of the tensors that stand under a heading.
    fn names(&self, heading: &str) -> Vec<String> {
        let tensors = self.tensors();
        tensors.names().into_iter().filter_map(|name| name.strip_prefix(heading).map(String::from)).collect()
    }

    fn network(&self, gpu: &Gpu) -> Network {
        let model = &self.about["model"];
        let depth = ResNetDepth::ALL.into_iter().find(|d| *model == format!("resnet{}", d.layers())).unwrap();
        let side = self.number("image");
        let net = ResNet::new(depth, self.number("classes")).image([side; 2]).builder();
        net.build(gpu, 1).unwrap()
    }
}

/// PyTorch's name of a parameter.
fn name_there(network: &Network, name: &str) -> String {
    let (path, own) = name.rsplit_once('.').unwrap();
    match own {
        _ if !network.norms().any(|(norm, _)| norm == path) => name.into(),
        "gamma" => format!("{path}.weight"),
        "beta" => format!("{path}.bias"),
        "steps" => format!("{path}.num_batches_tracked"),
        _ => name.into(),
    }
}

/// A state dict on the disk with what the formula says, but for what `change` does to it.
fn state_dict(network: &Network, folder: &Path, change: impl Fn(&str, &mut Vec<usize>) -> bool) -> PathBuf {
    let mut all = Vec::new();
    for parameter in network.parameters() {
        let name = name_there(network, &parameter.name);
        let mut shape = parameter.tensor.shape().to_vec();
        if !change(&name, &mut shape) {
            continue;
        }
        let (dtype, shape, bytes) = match name.ends_with("num_batches_tracked") {
            true => (Dtype::I64, vec![], 0i64.to_le_bytes().to_vec()),
            false => {
                let values = start(&name, &shape);
                (Dtype::F32, shape, bytemuck::cast_slice(&values).to_vec())
            }
        };
        all.push((name, dtype, shape, bytes));
    }
    let views = all
        .iter()
        .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let path = folder.join("weights.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

/// How far values are off, relative to the largest.
fn worst(ours: &[f32], theirs: &[f32]) -> f64 {
    let scale = theirs.iter().fold(0f32, |most, v| most.max(v.abs()));
    let most = ours.iter().zip(theirs).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    f64::from(most / scale)
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// Distance between our gradient and the fixture's, relative to the latter's norm.
fn distance(fixture: &Fixture, name: &str, ours: &[f32]) -> f64 {
    let tensors = fixture.tensors();
    if let Ok(whole) = tensors.tensor(&format!("gradient/{name}")) {
        let theirs: Vec<f32> = bytemuck::pod_collect_to_vec(whole.data());
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let apart = norm(ours.iter().zip(&theirs).map(|(a, b)| f64::from(a - b)));
        return apart / norm(theirs.iter().map(|&v| v.into()));
    }
    let sums: Vec<f64> =
        bytemuck::pod_collect_to_vec(tensors.tensor(&format!("sums/{name}")).unwrap().data());
    let apart = norm(projections(name, ours).iter().zip(&sums[1..]).map(|(a, b)| a - b));
    apart / (32f64.sqrt() * sums[0])
}

/// One training step of the fixture's network; panics where anything is further off than the issue allows.
fn compare(fixture: &Fixture) {
    let gpu = gpu();
    let network = fixture.network(&gpu);
    let folder = tempfile::tempdir().unwrap();
    let imported = import(state_dict(&network, folder.path(), |_, _| true), &network, &[]).unwrap();
    assert_eq!(imported.taken, network.parameters().len());

    let (batch, side, classes) =
        (fixture.number("batch"), fixture.number("image"), fixture.number("classes"));
    let shape = Shape::from([batch, 3, side, side]);
    let name = format!("images {}", fixture.number("draw"));
    let images = Tensor::from_f32(&gpu, &shape, &uniform(&name, shape.count(), 2.0)).unwrap();
    let labels: Vec<u32> = (0..batch).map(|i| ((i * 7 + 3) % classes) as u32).collect();
    let labels = Tensor::from_u32(&gpu, [batch], &labels).unwrap();
    let pass = network.train_pass(&images).unwrap();
    let loss = softmax_cross_entropy(&pass.output, &labels).unwrap();
    let gradients = pass.tape.backward(&loss.mean).unwrap();

    let logits = worst(&pass.output.tensor().read_f32().unwrap(), &fixture.f32("logits"));
    println!("{} of PyTorch {}: logits off by {logits:.2e}", network.name(), fixture.about["torch"]);
    let mut states = 0f64;
    let mut off = Vec::new();
    let mut names = BTreeSet::new();
    for (index, parameter) in network.parameters().iter().enumerate() {
        let name = name_there(&network, &parameter.name);
        if parameter.trainable {
            let gradient = gradients.of(pass.leaf(index).unwrap()).unwrap().read_f32().unwrap();
            off.push((distance(fixture, &name, &gradient), name.clone()));
            names.insert(name);
        } else if name.contains("running") {
            let theirs = fixture.f32(&format!("state/{name}"));
            states = states.max(worst(&parameter.tensor.read_f32().unwrap(), &theirs));
        }
    }
    // With the running statistics of that one step.
    let evaluated = network.predict(&images).unwrap().read_f32().unwrap();
    let evaluated = worst(&evaluated, &fixture.f32("evaluated"));
    println!("logits in evaluation mode off by {evaluated:.2e}");
    off.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (last, median) = (&off[off.len() - 1], &off[off.len() / 2]);
    println!(
        "{} gradients off by {:.2e} in the median, {:.2e} at most ({})",
        off.len(),
        median.0,
        last.0,
        last.1
    );
    println!("running statistics off by {states:.2e}");
    let theirs: BTreeSet<String> =
        [fixture.names("sums/"), fixture.names("gradient/")].concat().into_iter().collect();
    assert_eq!(names, theirs, "parameters");
    // Sums in another order: f32 has 6e-8, and twenty to fifty layers of normalization carry it on and amplify it.
    assert!(logits < 1e-4 && evaluated < 1e-4, "logits are off by {logits:.2e} and {evaluated:.2e}");
    assert!(last.0 < 1e-3, "the gradient of {} is off by {:.2e}", last.1, last.0);
    assert!(states < 1e-4, "running statistics are off by {states:.2e}");
}

#[test]
fn resnet18_computes_what_pytorch_computes() {
    compare(&Fixture::read(Path::new("tests/fixtures/resnet18-64.safetensors")));
}

#[test]
#[ignore = "wants SIMQAT_TORCH_FIXTURE, a file that script/torch_fixtures.py made"]
fn the_named_fixture_is_what_pytorch_computes() {
    let path = std::env::var("SIMQAT_TORCH_FIXTURE").expect("SIMQAT_TORCH_FIXTURE names a fixture");
    compare(&Fixture::read(Path::new(&path)));
}

#[test]
fn sums_with_random_signs_tell_how_far_gradients_are_apart() {
    let exact = uniform("a", 10_000, 1.0);
    let noise = uniform("b", 10_000, 1e-3);
    let other: Vec<f32> = exact.iter().zip(&noise).map(|(a, b)| a + b).collect();
    let (a, b) = (projections("layer", &exact), projections("layer", &other));
    let told = norm(a.iter().zip(&b).map(|(a, b)| a - b)) / 32f64.sqrt();
    let true_distance = norm(noise.iter().map(|&v| v.into()));
    // 32 normal samples: the root of their mean square is off by 1/8 in one case of three; four times that.
    assert!((told / true_distance - 1.0).abs() < 0.5, "{told} for {true_distance}");
}

// Names, and mistakes in files.

fn resnet18(gpu: &Gpu, classes: usize) -> Network {
    ResNet::new(ResNetDepth::D18, classes).width(8).image([32; 2]).builder().build(gpu, 1).unwrap()
}

#[test]
fn resnet50_has_the_names_and_shapes_of_torchvision() {
    let gpu = Gpu::noop();
    let graph = ResNet::new(ResNetDepth::D50, 1000).builder().into_graph().unwrap();
    let network = ResNet::new(ResNetDepth::D50, 1000).width(1).builder().build(&gpu, 1).unwrap();
    let specs = graph.nodes.iter().flat_map(|node| node.layer.parameters(&node.name));
    let ours: BTreeSet<String> = specs
        .map(|spec| {
            let name = name_there(&network, &spec.name);
            let is_scalar = name.ends_with("num_batches_tracked");
            let shape: Vec<String> =
                spec.shape.iter().filter(|_| !is_scalar).map(ToString::to_string).collect();
            [vec![name], shape].concat().join(" ")
        })
        .collect();
    let theirs = include_str!("fixtures/resnet50-names.txt").lines().map(String::from).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn what_is_exported_is_imported_to_the_same_bits() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let network = resnet18(&gpu, 10);
    import(state_dict(&network, folder.path(), |_, _| true), &network, &[]).unwrap();
    network.train_pass(&Tensor::full(&gpu, [2, 3, 32, 32], 0.5).unwrap()).unwrap();
    let path = folder.path().join("out.safetensors");
    assert_eq!(export(&network, &path).unwrap(), 0);
    let other = resnet18(&gpu, 10);
    import(&path, &other, &[]).unwrap();
    assert_eq!(common::networks::snapshot(&network), common::networks::snapshot(&other));
    assert_eq!(StateDict::read(&path).unwrap().shape_of("bn1.num_batches_tracked"), Some(&[][..]));
    // A quantized network gives the same weights, and says what it left out.
    let quantized = simqat::quant::SimQat::default().apply(&network).unwrap();
    assert!(export(&quantized, &path).unwrap() > 0);
    import(&path, &other, &[]).unwrap();
}

#[test]
fn files_that_do_not_fit_are_refused_by_name_and_change_nothing() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let network = resnet18(&gpu, 10);
    let before = common::networks::snapshot(&network);
    let refused = |change: &dyn Fn(&str, &mut Vec<usize>) -> bool, skip: &[&str]| {
        let path = state_dict(&network, folder.path(), change);
        let skip: Vec<String> = skip.iter().map(ToString::to_string).collect();
        let error = import(path, &network, &skip).unwrap_err().to_string();
        assert_eq!(common::networks::snapshot(&network), before, "{error}");
        error
    };
    let error = refused(&|name, _| name != "layer2.0.bn1.weight", &[]);
    assert!(error.contains("\"layer2.0.bn1.weight\""), "{error}");
    let wide = |name: &str, shape: &mut Vec<usize>| {
        if name == "fc.weight" {
            shape[0] = 1000;
        }
        true
    };
    let error = refused(&wide, &[]);
    for part in ["\"fc.weight\"", "[1000, 64]", "[10, 64]", "classes"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    let error = refused(&|_, _| true, &["head.*"]);
    assert!(error.contains("\"head.*\"") && error.contains("fc.bias"), "{error}");
    let path = folder.path().join("truncated.safetensors");
    let whole = std::fs::read(state_dict(&network, folder.path(), |_, _| true)).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = import(&path, &network, &[]).unwrap_err().to_string();
    assert!(error.contains("no whole safetensors file"), "{error}");
    // A network with more layers than the file, and one with fewer.
    let deep = ResNet::new(ResNetDepth::D34, 10).width(8).image([32; 2]).builder().build(&gpu, 1).unwrap();
    let path = state_dict(&network, folder.path(), |_, _| true);
    let error = import(&path, &deep, &[]).unwrap_err().to_string();
    assert!(error.contains("\"layer1.2.conv1.weight\""), "{error}");
    let path = state_dict(&deep, folder.path(), |_, _| true);
    let error = import(&path, &network, &[]).unwrap_err().to_string();
    assert!(error.contains("layer1.2.bn1.bias") && error.contains("another network"), "{error}");
}

#[test]
fn a_head_for_other_classes_keeps_its_initial_values() {
    let gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    let path = state_dict(&resnet18(&gpu, 1000), folder.path(), |_, _| true);
    let network = resnet18(&gpu, 10);
    let fc = network.parameter("fc.weight").unwrap().tensor.read_f32().unwrap();
    let imported = import(&path, &network, &["fc.*".into()]).unwrap();
    assert_eq!(imported.skipped, ["fc.weight", "fc.bias"]);
    assert_eq!(network.parameter("fc.weight").unwrap().tensor.read_f32().unwrap(), fc);
    let conv = network.parameter("conv1.weight").unwrap().tensor.read_f32().unwrap();
    assert_eq!(conv, start("conv1.weight", &[8, 3, 7, 7]));
    // The same network through a checkpoint.
    let checkpoint = folder.path().join("checkpoint.safetensors");
    save_network(&network, &checkpoint).unwrap();
    let again = resnet18(&gpu, 10);
    Checkpoint::read(&checkpoint).unwrap().load_into(&again).unwrap();
    assert_eq!(common::networks::snapshot(&network), common::networks::snapshot(&again));
}
