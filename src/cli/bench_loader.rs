//! `simqat bench loader`: how fast pictures come from their files to the device.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use simqat::data::{Crop, LoaderOptions, Transform};
use simqat::train::{Feed, FeedOptions, Normalization};
use simqat::{Error, Result};

use super::Global;
use super::console::Console;
use super::session::begin;

#[derive(clap::Args)]
pub struct LoaderArgs {
    /// A folder of pictures with train/ and val/ in it, or a data set's name
    #[arg(long, value_name = "NAME")]
    data: String,
    /// Take the data from DIR, which has a folder per data set in it [env: SIMQAT_DATA]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Threads that decode [default: one for each core]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    workers: usize,
    /// Batches that are decoded ahead
    #[arg(long, value_name = "N", default_value_t = 4)]
    prefetch: usize,
    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    /// Height and width that pictures are made to have
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    size: usize,
    /// Passes over the training images that are timed, behind one that is not
    #[arg(long, value_name = "N", default_value_t = 5)]
    epochs: usize,
    /// Leave out what the device does: mirroring and normalizing
    #[arg(long)]
    host_only: bool,
}

pub fn run(args: &LoaderArgs, global: &Global, console: &Console) -> Result<()> {
    if args.epochs == 0 {
        return Err(Error::Invalid("--epochs 0: it must be at least 1".into()));
    }
    let (data, gpu) = begin(global, console, &args.data, args.data_dir.clone())?;
    // ImageNet's values; what they are changes no time.
    let (mean, deviation) = match data.train.shape() {
        Some([1, ..]) => (vec![0.45], vec![0.225]),
        _ => (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]),
    };
    let crop = Crop::RandomResized { scale: [0.08, 1.0], ratio: [0.75, 4.0 / 3.0] };
    let options = FeedOptions {
        batch: args.batch,
        size: [args.size; 2],
        normalization: Normalization { mean, deviation },
        transform: Transform { resize: 0, crop, flip: true },
        loader: LoaderOptions { workers: args.workers, prefetch: args.prefetch },
    };
    let feed = Feed::with_options(&gpu, &data.train, &options)?;
    let progress = Feed::progress(&gpu)?;
    let images = feed.whole_batches() * args.batch;
    let mut rates = Vec::new();
    for epoch in 0..=args.epochs {
        let (start, waited) = (Instant::now(), feed.waited());
        feed.shuffle(1, epoch)?;
        let mut last = None;
        for step in 0..feed.whole_batches() {
            feed.supply(step)?;
            if !args.host_only {
                last = Some(feed.gather(&progress, args.batch)?);
            }
        }
        if let Some((_, labels)) = last {
            labels.read_u32()?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = images as f64 / seconds;
        let waited = (feed.waited() - waited).as_secs_f64();
        console.say(format!(
            "pass {epoch}: {rate:.0} images/s, {:.0} % of the time waiting",
            100.0 * waited / seconds
        ));
        // The first pass compiles the kernel and brings the files into the system's memory.
        if epoch > 0 {
            rates.push(rate);
        }
    }
    rates.sort_by(f64::total_cmp);
    let (median, least, most) = (rates[rates.len() / 2], rates[0], rates[rates.len() - 1]);
    let skipped = feed.skipped().len();
    console.result(&format!("{median:.0} images/s ({least:.0} to {most:.0}), {skipped} pictures skipped"))?;
    console.result_json(&json!({
        "images_per_s": median,
        "min": least,
        "max": most,
        "images": images,
        "batch": args.batch,
        "size": args.size,
        "workers": args.workers,
        "host_only": args.host_only,
        "skipped": skipped,
    }))
}
