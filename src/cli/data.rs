//! `simqat data`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use simqat::Result;
use simqat::data::{DataOptions, KnownSet, fetch_known};

use super::console::Console;
use super::progress::DownloadBar;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the data sets that are known by name, and where they are
    List {
        /// Look in DIR/NAME [env: SIMQAT_DATA]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Download a data set, or check the one that is there
    Fetch {
        /// mnist, fashion-mnist or cifar10
        name: String,
        /// Put it into DIR/NAME instead of datasets/NAME [env: SIMQAT_DATA]
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

pub fn run(args: &Args, console: &Console) -> Result<()> {
    match &args.command {
        Command::List { data_dir } => list(data_dir.clone(), console),
        Command::Fetch { name, data_dir } => fetch(name, data_dir.clone(), console),
    }
}

fn list(data_dir: Option<PathBuf>, console: &Console) -> Result<()> {
    let options = DataOptions::new(data_dir);
    let mut rows = Vec::new();
    for set in KnownSet::ALL {
        let folder = options.folder_of(set);
        let place = match &folder {
            Some(folder) => format!("in {}", folder.display()),
            None => format!("not here; `simqat data fetch {set}` gets it"),
        };
        console.result(&format!("{set:14} {:2} classes, {place}", set.classes()))?;
        rows.push(json!({"name": set.name(), "classes": set.class_names(), "folder": folder}));
    }
    console.result("any folder with train/ and val/ in it, which have a folder of pictures for each class, is a data set too")?;
    console.result_json(&json!({ "sets": rows }))
}

fn fetch(name: &str, data_dir: Option<PathBuf>, console: &Console) -> Result<()> {
    let mut bar = DownloadBar::new(console);
    let options = DataOptions::new(data_dir);
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
