//! Windows does not let a file be replaced while a program has it open, unless that program allows it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempPath;

use crate::{Error, Result};

/// Virus scanners and indexers look into new files and soon let go of them.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn replace(mut part: TempPath, path: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        // Unlike tempfile's own way, this one replaces what is open where that is allowed, and knows long paths.
        match std::fs::rename(&part, path) {
            Ok(()) => {
                part.disable_cleanup(true); // it is not there any more
                return Ok(());
            }
            Err(e) if !is_held(&e) => return Err(Error::io(path)(e)),
            Err(_) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
            Err(e) => return Err(refusal(path, &keep(part, path), &e)),
        }
    }
}

/// The codes for "access denied" (which is also what an open file gives), "in use", and "mapped into memory".
fn is_held(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(5 | 32 | 1224))
}

/// What was to be written may have taken hours: it stays, under a name by which one finds it.
fn keep(mut part: TempPath, path: &Path) -> PathBuf {
    part.disable_cleanup(true);
    let mut name = path.as_os_str().to_os_string();
    name.push(".new");
    match std::fs::rename(&part, &name) {
        Ok(()) => name.into(),
        Err(_) => part.to_path_buf(),
    }
}

fn refusal(path: &Path, kept: &Path, error: &std::io::Error) -> Error {
    let message = format!(
        "it cannot be replaced ({error}), most likely because another program has it open; it is as it was, and \
         what was to be written is in \"{}\": close it there and rename that file, or try again",
        kept.display()
    );
    Error::bad_file(path, message)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions, read, read_dir, write};
    use std::os::windows::fs::OpenOptionsExt;
    use std::path::Path;

    use crate::whole_file::write_whole;

    /// Open as most programs have files open: others may read, and not replace.
    fn hold(path: &Path) -> File {
        const SHARE_READ: u32 = 1;
        OpenOptions::new().read(true).share_mode(SHARE_READ).open(path).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> =
            read_dir(folder).unwrap().map(|entry| name(entry).into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_is_held_stays_and_the_new_content_is_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write(&path, "old").unwrap();
        let held = hold(&path);
        for content in ["new", "newer"] {
            let error = write_whole(&path, content.as_bytes()).unwrap_err();
            assert!(error.is_bad_input(), "{error}");
            let text = error.to_string();
            assert!(text.contains("a.bin.new") && text.contains("another program"), "{text}");
            assert_eq!(read(&path).unwrap(), b"old");
            assert_eq!(read(folder.path().join("a.bin.new")).unwrap(), content.as_bytes());
            assert_eq!(names(folder.path()), ["a.bin", "a.bin.new"]);
        }
        drop(held);
        write_whole(&path, b"newest").unwrap();
        assert_eq!(read(&path).unwrap(), b"newest");
    }

    #[test]
    fn who_lets_go_of_a_file_soon_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write(&path, "old").unwrap();
        let held = hold(&path);
        let holder = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(400));
            drop(held);
        });
        write_whole(&path, b"new").unwrap();
        holder.join().unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a.bin"]);
    }

    #[test]
    fn paths_may_be_longer_than_windows_once_allowed() {
        let root = tempfile::tempdir().unwrap();
        let folder =
            (0..10).fold(root.path().to_path_buf(), |path, _| path.join("a folder of thirty letters ..x"));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.bin");
        assert!(path.as_os_str().len() > 260);
        for content in ["old", "new"] {
            write_whole(&path, content.as_bytes()).unwrap();
            assert_eq!(read(&path).unwrap(), content.as_bytes());
        }
        assert_eq!(names(&folder), ["a.bin"]);
    }
}
