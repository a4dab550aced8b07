//! Files that commands write must not be those that they read.

use std::path::{Path, PathBuf};

use simqat::{Error, Result};

/// Fails where one of the files to write, each with its option, is the one that is read, or another's.
///
/// # Errors
/// See above.
pub fn check(input: &Path, outputs: &[(&str, Option<&PathBuf>)]) -> Result<()> {
    let named: Vec<_> = outputs.iter().filter_map(|(option, path)| Some((option, (*path)?))).collect();
    for (number, (option, path)) in named.iter().enumerate() {
        if same_file(path, input) {
            let message = format!("it is the file to read; name another with {option}");
            return Err(Error::bad_file(path, message));
        }
        if let Some((other, _)) = named[..number].iter().find(|(_, other)| same_file(path, other)) {
            let message = format!("{other} and {option} both name it; name two files");
            return Err(Error::bad_file(path, message));
        }
    }
    Ok(())
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        // One is not there yet.
        _ => a == b,
    }
}
