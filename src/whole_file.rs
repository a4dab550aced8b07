//! Writing files so that a name always stands for a whole one.

#[cfg(windows)]
mod windows;

use std::fs::File;
use std::io::Write;
use std::path::Path;

use tempfile::{Builder, TempPath};

use crate::{Error, Result};
#[cfg(windows)]
use windows::replace;

/// Writes to a temporary file beside `path`, and gives it its name at the end.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        let message =
            format!("there is no folder \"{}\" to write it into; make it, or name another", folder.display());
        return Err(Error::bad_file(path, message));
    }
    if path.is_dir() {
        return Err(Error::bad_file(path, "this is a folder; name a file to write"));
    }
    let part = write_beside(folder, content).map_err(Error::io(path))?;
    replace(part, path)
}

/// The content in a file of its own, closed. It goes away with what is returned.
fn write_beside(folder: &Path, content: &[u8]) -> std::io::Result<TempPath> {
    // Left to itself, tempfile makes files that are their owner's alone, and on Windows marked as temporary. A result is
    // a file like any other.
    let mut file = Builder::new().make_in(folder, |path| File::create_new(path))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file.into_temp_path())
}

#[cfg(not(windows))]
fn replace(part: TempPath, path: &Path) -> Result<()> {
    part.persist(path).map_err(|e| Error::io(path)(e.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs");
        std::fs::create_dir(&path).unwrap();
        let error = write_whole(&path, b"new").unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("this is a folder"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
