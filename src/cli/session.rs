//! What a command that computes begins with: data, device, and a word about both.

use std::path::PathBuf;

use simqat::Result;
use simqat::data::{DataOptions, Dataset, load_with_progress};
use simqat::gpu::{AdapterSummary, Gpu, GpuOptions};

use super::Global;
use super::console::Console;
use super::progress::DownloadBar;

/// Opens the adapter that was asked for.
pub fn open(global: &Global) -> Result<Gpu> {
    Gpu::open_with(&GpuOptions { adapter: global.adapter.clone(), ..Default::default() })
}

/// Finds the data and opens the device, both at once: each takes a good part of a second. Says what was found.
pub fn begin(
    global: &Global,
    console: &Console,
    data: &str,
    data_dir: Option<PathBuf>,
) -> Result<(Dataset, Gpu)> {
    let options = DataOptions::new(data_dir);
    let (data, gpu) = std::thread::scope(|scope| {
        let gpu = scope.spawn(|| open(global));
        let mut bar = DownloadBar::new(console);
        let data = load_with_progress(data, &options, &mut |file, done, all| bar.update(file, done, all));
        bar.finish();
        (data, gpu.join())
    });
    let data = data?;
    let gpu = gpu.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    console.say(format!("data: {}", data.source));
    if data.is_sample {
        console.say("`simqat data fetch mnist` gets all of MNIST, or says why it cannot");
    }
    say_adapter(console, &gpu.caps().adapter);
    Ok((data, gpu))
}

/// One line about the adapter; a second where it is no GPU, because everything takes longer then.
fn say_adapter(console: &Console, adapter: &AdapterSummary) {
    console.say(format!("adapter: {}", describe(adapter)));
    if adapter.is_software {
        console.say(
            "this is a SOFTWARE adapter: shaders run on the CPU, more slowly than on any GPU (`simqat info` lists what there is)",
        );
    }
}

/// Name, kind and backend in one line.
pub fn describe(adapter: &AdapterSummary) -> String {
    format!("{} [{}, {}]", adapter.name, adapter.kind, adapter.backend)
}
