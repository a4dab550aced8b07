//! Downloads from mirrors: short time-outs, resumed where they broke off, checked before they get their name.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;

use super::catalog::RemoteFile;
use super::checksum;
use crate::error::{Error, Result};

/// A mirror that does not answer the door in this time is taken for absent.
const CONNECT: Duration = Duration::from_secs(3);
/// A mirror that was silent for this long has hung up.
const SILENCE: Duration = Duration::from_secs(15);
/// How often one mirror is asked for one file; asked again only where the last time brought it further.
const TRIES: usize = 4;

/// Why one request did not finish the file.
enum Stop {
    /// This machine's fault: another mirror would not help.
    Disk(Error),
    /// The mirror's fault, and whether asking it once more makes sense.
    Mirror { reason: String, again: bool },
}

/// Downloads files into `folder`, which is made where it is missing. The first mirror that works is asked first from then on.
///
/// While a file is on its way it is called `NAME.part`; a later call goes on from there. It gets its name
/// when its SHA-256 is right. `progress` is told the file's name, the bytes that are there, and its size.
///
/// # Errors
/// [`Error::Download`] with what each mirror said where none gives a file, [`Error::Io`] where the folder cannot be written.
pub fn download_all(
    files: &[RemoteFile<'_>],
    mirrors: &[String],
    folder: &Path,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<()> {
    if mirrors.is_empty() {
        return Err(Error::Download("there is no mirror to ask".to_string()));
    }
    let is_new = !folder.exists();
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let agent = agent();
    let mut mirrors: Vec<&str> = mirrors.iter().map(String::as_str).collect();
    for file in files {
        match download(&agent, file, &mirrors, folder, progress) {
            Ok(answered) => mirrors.rotate_left(answered),
            Err(error) => {
                if is_new {
                    // Works only where it is empty: an empty folder would look like a data set that lost its files.
                    let _ = fs::remove_dir(folder);
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

fn agent() -> Agent {
    Agent::config_builder()
        .user_agent(concat!("simqat/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .build()
        .into()
}

/// Downloads one file; says which mirror gave it.
fn download(
    agent: &Agent,
    file: &RemoteFile<'_>,
    mirrors: &[&str],
    folder: &Path,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<usize> {
    let part = folder.join(format!("{}.part", file.name));
    let mut reasons = Vec::new();
    for (index, mirror) in mirrors.iter().enumerate() {
        let url = format!("{mirror}{}", file.name);
        for _ in 0..TRIES {
            match attempt(agent, &url, file, &part, progress) {
                Ok(()) => {
                    let done = folder.join(file.name);
                    fs::rename(&part, &done).map_err(Error::io(&done))?;
                    return Ok(index);
                }
                Err(Stop::Disk(error)) => return Err(error),
                Err(Stop::Mirror { again: true, reason }) => log::info!("{url}: {reason}; asking again"),
                Err(Stop::Mirror { again: false, reason }) => {
                    reasons.push(format!("{mirror}: {reason}"));
                    break;
                }
            }
        }
    }
    if reasons.is_empty() {
        reasons
            .push(format!("{} breaks off again and again; try later, it will go on from there", file.name));
    }
    Err(Error::Download(format!("{}: {}", file.name, reasons.join("; "))))
}

/// One request for what is still missing, and the check of the whole.
fn attempt(
    agent: &Agent,
    url: &str,
    file: &RemoteFile<'_>,
    part: &Path,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(), Stop> {
    let disk = |error| Stop::Disk(Error::io(part)(error));
    let mut have = fs::metadata(part).map_or(0, |meta| meta.len());
    if have > file.bytes {
        // Nothing of ours: a part never gets longer than the file.
        fs::remove_file(part).map_err(disk)?;
        have = 0;
    }
    if have < file.bytes {
        receive(agent, url, file, part, have, progress)?;
    }
    let found = checksum::sha256_of_file(part).map_err(Stop::Disk)?;
    if found != file.sha256 {
        fs::remove_file(part).map_err(disk)?;
        let reason = format!("the file is damaged (SHA-256 expected {}, found {found})", file.sha256);
        // What lay here from an earlier time may be to blame; a whole file from this mirror may not be.
        return Err(Stop::Mirror { reason, again: have > 0 });
    }
    Ok(())
}

/// Appends to the part until it has the file's size.
fn receive(
    agent: &Agent,
    url: &str,
    file: &RemoteFile<'_>,
    part: &Path,
    have: u64,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<(), Stop> {
    let disk = |error| Stop::Disk(Error::io(part)(error));
    let give_up = |reason: String| Stop::Mirror { reason, again: false };

    // Packed on the way would be packed twice, and then a range means another thing.
    let mut request = agent.get(url).header("Accept-Encoding", "identity");
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(ureq::Error::StatusCode(416)) => {
            // The mirror's file ends before ours: one of the two is wrong, so start anew.
            fs::remove_file(part).map_err(disk)?;
            return Err(Stop::Mirror { reason: "the mirror's file is shorter".to_string(), again: have > 0 });
        }
        Err(ureq::Error::Io(error)) => return Err(give_up(error.to_string())),
        Err(error) => return Err(give_up(error.to_string())),
    };

    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    let goes_on =
        response.status() == 206 && range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")));
    if response.status() == 206 && !goes_on {
        fs::remove_file(part).map_err(disk)?;
        return Err(Stop::Mirror {
            reason: "the mirror answers with another range".to_string(),
            again: have > 0,
        });
    }
    let mut done = if goes_on { have } else { 0 };
    let mut out = open(part, goes_on).map_err(disk)?;
    // One byte more than expected shows a file that is too long without reading all of it.
    let mut body = response.into_body().into_reader().take(file.bytes - done + 1);
    let start = done;
    let mut buffer = vec![0; 64 * 1024];
    progress(file.name, done, file.bytes);
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) => {
                let reason = format!("broke off after {done} of {} bytes ({error})", file.bytes);
                return Err(Stop::Mirror { reason, again: done > start });
            }
        };
        done += n as u64;
        if done > file.bytes {
            drop(out);
            fs::remove_file(part).map_err(disk)?;
            return Err(give_up(format!(
                "the file is longer than {} bytes, so it is another one",
                file.bytes
            )));
        }
        out.write_all(&buffer[..n]).map_err(disk)?;
        progress(file.name, done, file.bytes);
    }
    out.sync_all().map_err(disk)?;
    if done < file.bytes {
        let reason = format!("ended after {done} of {} bytes", file.bytes);
        return Err(Stop::Mirror { reason, again: done > start });
    }
    Ok(())
}

fn open(part: &Path, goes_on: bool) -> std::io::Result<File> {
    OpenOptions::new().create(true).write(true).append(goes_on).truncate(!goes_on).open(part)
}
