//! Writing files so that a name always stands for a whole one.

use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

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
    let attempt = || -> std::io::Result<()> {
        let mut options = tempfile::Builder::new();
        // A temporary file is its owner's alone; a result is as readable as any file that one writes.
        #[cfg(unix)]
        options.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = options.tempfile_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    attempt().map_err(Error::io(path))
}
