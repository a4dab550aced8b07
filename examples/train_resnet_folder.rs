//! A ResNet on a folder of pictures of one's own: random crops and mirroring, a cosine schedule, in float and then with
//! SimQAT from the float values; at the end the weights under PyTorch's names.
//!
//! `cargo run --release --example train_resnet_folder -- [folder]`; the folder has `train/` and `val/` in it, and in each a
//! folder of pictures for every class. Without a word, pictures of coloured shapes are drawn into a temporary one.

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use simqat::data::folder::read_folder;
use simqat::data::{Crop, LoaderOptions, Split, Transform};
use simqat::gpu::Gpu;
use simqat::nn::Network;
use simqat::nn::models::{ResNet, ResNetDepth};
use simqat::optim::{MomentumOptions, Schedule, ScheduleKind};
use simqat::quant::SimQat;
use simqat::tensor::random::Philox;
use simqat::train::{
    Feed, FeedOptions, LossMonitor, Normalization, StopFlag, Trainer, TrainerOptions, evaluate, weights,
};
use simqat::{Error, Result};

/// Side of the images that the network takes.
const SIDE: usize = 32;

fn main() -> Result<()> {
    let own = std::env::args().nth(1).map(PathBuf::from);
    let temporary = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    if own.is_none() {
        draw_folder(temporary.path())?;
    }
    let gpu = Gpu::open()?;
    let data = read_folder("shapes", own.as_deref().unwrap_or(temporary.path()))?;
    println!("{}\nclasses: {}\n{gpu:?}", data.source, data.class_names.join(", "));

    let feed = |split: &Split, transform: Transform| {
        let normalization = Normalization { mean: vec![0.5; 3], deviation: vec![0.25; 3] };
        let (size, loader) = ([SIDE; 2], LoaderOptions::default());
        let batch = split.len().min(20);
        Feed::with_options(&gpu, split, &FeedOptions { batch, size, normalization, transform, loader })
    };
    let augment = Transform { resize: SIDE + 4, crop: Crop::Random { pad: 2, side: SIDE }, flip: true };
    let middle = Transform { resize: SIDE + 4, crop: Crop::Centre { side: SIDE }, flip: false };
    let test = feed(&data.test, middle)?;
    let trained = |network: Network, learning_rate: f32, epochs: usize| -> Result<Network> {
        let options = TrainerOptions {
            epochs,
            log_every: 20,
            optimizer: MomentumOptions { learning_rate, momentum: 0.9, weight_decay: 1e-4 },
            schedule: Schedule::new(ScheduleKind::Cosine).warmup(1, 0.0),
            ..TrainerOptions::default()
        };
        let mut trainer = Trainer::new(network, feed(&data.train, augment)?, options)?;
        trainer.fit(&test, &mut [&mut LossMonitor(std::io::stdout())], &StopFlag::default())?;
        for skipped in trainer.skipped() {
            println!("{}: {}", skipped.path.display(), skipped.reason);
        }
        Ok(trainer.into_network())
    };

    // An eighth of the published network's channels.
    let resnet = ResNet::new(ResNetDepth::D18, data.classes).image([SIDE; 2]).width(8);
    let float = trained(resnet.builder().build(&gpu, 1)?, 0.1, 6)?;
    // Float has learnt already: smaller steps, and fewer.
    let quantized = trained(SimQat::default().apply(&float)?, 0.02, 3)?;
    let [float_top1, quantized_top1] = [&float, &quantized].map(|network| evaluate(network, &test));
    let (float_top1, quantized_top1) = (float_top1?.top1(), quantized_top1?.top1());
    println!("float {:.1} %, SimQAT {:.1} %", 100.0 * float_top1, 100.0 * quantized_top1);

    // `model.load_state_dict(safetensors.torch.load_file(path))` takes this file in PyTorch.
    let path = temporary.path().join("resnet18.safetensors");
    weights::export(&float, &path)?;
    let again = resnet.builder().build(&gpu, 2)?;
    let taken = weights::import(&path, &again, &[])?.taken;
    println!("{taken} tensors exported under PyTorch's names and read back");
    check(evaluate(&again, &test)? == evaluate(&float, &test)?, "the weights that were read back differ")?;
    // Guessing is right for one of the classes.
    let guessing = 1.0 / data.classes as f64;
    check(float_top1.min(quantized_top1) > 2.0 * guessing, "the networks have not learnt to tell the classes")
}

fn check(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Invalid(otherwise.into())) }
}

/// Whether a point is in a shape that reaches from -1 to 1.
type Shape = fn(f32, f32) -> bool;

const SHAPES: [(&str, Shape); 4] = [
    ("circle", |x, y| x * x + y * y < 1.0),
    ("cross", |x, y| x.abs().min(y.abs()) < 0.3 && x.abs().max(y.abs()) < 1.0),
    ("ring", |x, y| (0.35..1.0).contains(&(x * x + y * y))),
    ("triangle", |x, y| y.abs() < 1.0 && 2.0 * x.abs() < y + 1.0),
];

/// Draws pictures of each shape into `train/` and `val/`, each of another size, place and colour.
fn draw_folder(folder: &Path) -> Result<()> {
    let mut random = Philox::new(7, 0);
    for (split, count) in [("train", 100), ("val", 25)] {
        for (name, shape) in SHAPES {
            let class = folder.join(split).join(name);
            std::fs::create_dir_all(&class).map_err(Error::io(&class))?;
            for number in 0..count {
                let path = class.join(format!("{number}.png"));
                let drawn = draw(shape, &mut random);
                drawn.save(&path).map_err(|e| Error::Invalid(format!("{}: {e}", path.display())))?;
            }
        }
    }
    Ok(())
}

fn draw(shape: Shape, random: &mut Philox) -> RgbImage {
    let mut between = |low: f32, high: f32| low + (high - low) * random.uniform();
    let (width, height) = (between(40.0, 56.0), between(40.0, 56.0));
    let radius = between(0.25, 0.35) * width.min(height);
    let (x0, y0) = (width * between(0.45, 0.55), height * between(0.45, 0.55));
    // Dark grounds and bright shapes.
    let [ground, colour] =
        [(0.0, 90.0), (130.0, 255.0)].map(|(low, high)| [(); 3].map(|()| between(low, high) as u8));
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let inside = shape((x as f32 - x0) / radius, (y as f32 - y0) / radius);
        Rgb(if inside { colour } else { ground })
    })
}
