//! Writes what each target begins from: `seeds CORPUS`, run in the root of the repository. Small files, since a fuzzer
//! changes a few bytes at a time.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use simqat::check::int8::models::{any_graph, lenet5};
use simqat::gpu::Gpu;
use simqat::nn::{BatchNorm2d, Conv2d, Dense, Network};
use simqat::quant::SimQat;
use simqat::train::checkpoint::save_network;
use simqat::train::{Recipe, weights};

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Anything<()> {
    let corpus = std::env::args().nth(1).ok_or("seeds CORPUS")?;
    let put = |target: &str, name: &str, bytes: &[u8]| -> Anything<()> {
        let folder = Path::new(&corpus).join(target);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(name), bytes)?)
    };

    let network = Network::builder("Small", [1, 6, 6])
        .conv2d("conv", Conv2d::new(1, 2, 3).no_bias())
        .batch_norm2d("bn", BatchNorm2d::new(2))
        .relu("relu")
        .flatten("flatten")
        .dense("fc", Dense::new(32, 3))
        .build(&Gpu::noop(), 1)?;
    let place = tempfile::tempdir()?;
    let path = place.path().join("seed");
    save_network(&network, &path)?;
    put("checkpoint", "float", &fs::read(&path)?)?;
    save_network(&SimQat::default().apply(&network)?, &path)?;
    put("checkpoint", "simqat", &fs::read(&path)?)?;
    weights::export(&network, &path)?;
    put("state_dict", "small", &fs::read(&path)?)?;

    put("int8_model", "lenet5", &lenet5(1)?.to_bytes()?)?;
    for seed in 0..4 {
        put("int8_model", &format!("graph{seed}"), &any_graph(seed, 5)?.to_bytes()?)?;
    }

    for (number, pixels) in [(0x0803_u32, 8), (0x0801, 0)] {
        let mut idx = [number, 2].map(u32::to_be_bytes).concat();
        if pixels > 0 {
            idx.extend([4u32, 2].map(u32::to_be_bytes).concat());
        }
        idx.extend((0..2 * pixels.max(1)).map(|i| i as u8));
        put("idx", &format!("plain{number:x}"), &idx)?;
        put("idx", &format!("gzip{number:x}"), &gzip(&idx)?)?;
    }

    let record = [[3u8].as_slice(), &[90; 3072]].concat();
    put("cifar", "binary", &[[0].as_slice(), &record].concat())?;
    // {b'data': b'...', b'labels': [3]} as pickle's second protocol writes it.
    let mut pickle = b"\x80\x02}q\x00(U\x04dataq\x01T".to_vec();
    pickle.extend(3072u32.to_le_bytes());
    pickle.extend([90; 3072]);
    pickle.extend(b"q\x02U\x06labelsq\x03]q\x04K\x03au.");
    put("cifar", "python", &[[1].as_slice(), &pickle].concat())?;
    let mut archive = tar::Builder::new(Vec::new());
    for batch in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(record.len() as u64);
        archive.append_data(&mut header, format!("cifar-10-batches-bin/{batch}.bin"), &record[..])?;
    }
    put("cifar", "archive", &[[2].as_slice(), &gzip(&archive.into_inner()?)?].concat())?;

    put("picture", "cmyk.jpg", &fs::read("tests/data/cmyk.jpg")?)?;
    for format in [image::ImageFormat::Png, image::ImageFormat::Jpeg] {
        let picture = image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, 99]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format)?;
        put("picture", &format!("{format:?}"), bytes.get_ref())?;
    }

    put("recipe", "defaults", Recipe::default().to_toml()?.as_bytes())?;
    for recipe in fs::read_dir("recipes")? {
        let recipe = recipe?;
        put("recipe", &recipe.file_name().to_string_lossy(), &fs::read(recipe.path())?)?;
    }
    put("recipe", "assignment", b"optimizer.learning_rate=0.002")
}

fn gzip(bytes: &[u8]) -> Anything<Vec<u8>> {
    let mut writer = GzEncoder::new(Vec::new(), Compression::best());
    writer.write_all(bytes)?;
    Ok(writer.finish()?)
}
