//! `simqat data`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use simqat::Result;
use simqat::data::{DataOptions, fetch_known};

use super::console::Console;
use super::progress::DownloadBar;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Download a data set, or check the one that is there
    Fetch {
        /// mnist or fashion-mnist
        name: String,
        /// Put it into DIR/NAME instead of datasets/NAME [env: SIMQAT_DATA]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

pub fn run(args: &Args, console: &Console) -> Result<()> {
    let Command::Fetch { name, data_dir } = &args.command;
    let mut bar = DownloadBar::new(console);
    let options = DataOptions::new(data_dir.clone());
    let fetched = fetch_known(name, &options, &mut |file, done, all| bar.update(file, done, all));
    bar.finish();
    let fetched = fetched?;
    let folder = fetched.folder.display();
    console.result(&match fetched.downloaded.len() {
        0 => format!("{name} is in {folder}; checksums are right"),
        files => format!("{name} is in {folder}; {files} files came, checksums are right"),
    })?;
    console.result_json(&json!({"name": name, "folder": fetched.folder, "downloaded": fetched.downloaded}))
}
