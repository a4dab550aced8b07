//! Where a data set is: a folder that was named, the usual folders, a package, a mirror, and last the shipped sample.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::catalog::KnownSet;
use super::dataset::Dataset;
use super::folder;
use crate::error::{Error, Result};

/// The environment variable that names a data folder.
const VARIABLE: &str = "SIMQAT_DATA";

/// Where [`load`] may look. [`DataOptions::default`] is what the program uses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataOptions {
    /// A folder with a folder per data set in it (`mnist/`). Where it is set, nothing else is looked at, except for the
    /// shipped sample: who names a folder wants that data or an error.
    pub data_dir: Option<PathBuf>,
    /// Folders of the same shape that are tried in turn. Downloads go into the first.
    pub shelves: Vec<PathBuf>,
    /// Whether mirrors may be asked.
    pub allow_download: bool,
    /// Whether MNIST's shipped sample may stand in for MNIST where that cannot be had.
    pub allow_sample: bool,
    /// Mirrors to ask instead of the known ones: addresses that end with `/`.
    pub mirrors: Option<Vec<String>>,
}

/// What happens to progress that nobody wants to see.
fn silent(_file: &str, _done: u64, _total: u64) {}

impl DataOptions {
    /// The usual places, with the data folder that was named, or else the one in the environment's `SIMQAT_DATA`.
    ///
    /// The environment is read here and nowhere later, so setting `data_dir` to `None` afterwards means: no folder.
    pub fn new(data_dir: Option<PathBuf>) -> DataOptions {
        DataOptions::with_environment(data_dir, std::env::var_os(VARIABLE))
    }

    fn with_environment(data_dir: Option<PathBuf>, variable: Option<OsString>) -> DataOptions {
        let from_variable = variable.filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut shelves = vec![PathBuf::from("datasets")];
        // A program built from a checkout and started elsewhere still finds what lies in that checkout.
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets");
        if checkout.is_dir() {
            shelves.push(checkout);
        }
        DataOptions {
            data_dir: data_dir.or(from_variable),
            shelves,
            allow_download: true,
            allow_sample: true,
            mirrors: None,
        }
    }

    /// Where a folder of pictures of that name may be.
    fn folders_named(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let shelves = match &self.data_dir {
            Some(data_dir) => std::slice::from_ref(data_dir),
            None => &self.shelves[..],
        };
        shelves.iter().map(move |shelf| shelf.join(name)).chain([PathBuf::from(name)])
    }

    fn folder_of_pictures(&self, name: &str) -> Option<PathBuf> {
        self.folders_named(name).find(|folder| !name.is_empty() && folder.is_dir())
    }

    fn where_no_folder_is(&self, name: &str) -> String {
        let folders: Vec<_> = self.folders_named(name).map(|folder| folder.display().to_string()).collect();
        format!("no folder of pictures is at {}", folders.join(" or "))
    }

    /// Where [`load`] would find a known set without downloading it: in the data folder that was named, or else among the
    /// usual places.
    pub fn folder_of(&self, set: KnownSet) -> Option<PathBuf> {
        match &self.data_dir {
            Some(data_dir) if !set.is_shipped() => self.find_named(set, data_dir).ok(),
            _ => self.find(set),
        }
    }

    /// The folder of `set` among the usual places, complete.
    fn find(&self, set: KnownSet) -> Option<PathBuf> {
        let shelves = self.shelves.iter().map(|shelf| shelf.join(set.name()));
        let package = set.package().map(|package| PathBuf::from(package.folder));
        shelves.chain(package).find(|folder| set.missing_in(folder).is_empty())
    }

    /// The folder of `set` in the data folder that was named, complete.
    fn find_named(&self, set: KnownSet, data_dir: &Path) -> Result<PathBuf> {
        let folder = data_dir.join(set.name());
        if !data_dir.is_dir() {
            let message = format!("there is no such data folder; correct --data-dir or {VARIABLE}");
            return Err(Error::bad_file(data_dir, message));
        }
        if !folder.is_dir() {
            let advice = if set.missing_in(data_dir).is_empty() {
                "name the folder above it".to_string()
            } else {
                format!(
                    "run `simqat data fetch {set}` with the same folder, or correct --data-dir or {VARIABLE}"
                )
            };
            return Err(Error::bad_file(data_dir, format!("the data folder has no {set}/ in it; {advice}")));
        }
        let missing = set.missing_in(&folder);
        if !missing.is_empty() {
            let message = format!(
                "{} missing, {}; `simqat data fetch {set}` with the same data folder gets what is missing",
                missing.join(", ") + if missing.len() == 1 { " is" } else { " are" },
                set.other_forms()
            );
            return Err(Error::bad_file(folder, message));
        }
        Ok(folder)
    }
}

impl Default for DataOptions {
    fn default() -> Self {
        DataOptions::new(None)
    }
}

/// Finds, where needed downloads, reads and checks a known data set; or lists a folder of pictures, by its path or by its
/// name in the data folder or one of the usual places.
///
/// # Errors
/// [`Error::Invalid`] for an unknown name that is no folder either, [`Error::BadFile`] for files that are missing from a named folder or damaged,
/// [`Error::Download`] where the set is nowhere and no mirror gives it.
pub fn load(name: &str, options: &DataOptions) -> Result<Dataset> {
    load_with_progress(name, options, &mut silent)
}

/// [`load`], telling how a download goes: file name, bytes done, bytes in all.
///
/// # Errors
/// As [`load`].
pub fn load_with_progress(
    name: &str,
    options: &DataOptions,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Dataset> {
    let set: KnownSet = match (name.parse(), options.folder_of_pictures(name)) {
        (Ok(set), _) => set,
        (Err(_), Some(folder)) => return folder::read_folder(short_name(name), folder),
        (Err(unknown), None) => {
            return Err(Error::Invalid(format!("{unknown}; and {}", options.where_no_folder_is(name))));
        }
    };
    if let Some(data_dir) = &options.data_dir {
        let named = options.find_named(set, data_dir);
        if named.is_ok() || !set.is_shipped() {
            return set.read(named?);
        }
    }
    if let Some(folder) = options.find(set) {
        return set.read(folder);
    }
    if set.is_shipped() {
        return Err(Error::Invalid(format!(
            "{set} ships with the repository in datasets/{set}, but is not in {}; start from a checkout or name its datasets folder with --data-dir",
            listed(&options.shelves)
        )));
    }

    let reason = match download(set, options, progress) {
        Ok(folder) => return set.read(folder),
        Err(reason) => reason,
    };
    match options.find(KnownSet::Mnist5k) {
        Some(folder) if set == KnownSet::Mnist && options.allow_sample => {
            log::warn!("{reason}");
            let mut sample = KnownSet::Mnist5k.read(folder)?;
            sample.source += " (all of MNIST is not here and could not be downloaded)";
            Ok(sample)
        }
        _ => Err(reason),
    }
}

/// How many classes the data set has that [`load`] would find under that name, without reading a picture or asking a
/// mirror; none where the name is neither a known data set nor a folder that is there.
///
/// # Errors
/// [`Error::BadFile`] where there is such a folder and its classes cannot be listed.
pub fn count_classes(name: &str, options: &DataOptions) -> Result<Option<usize>> {
    match (name.parse::<KnownSet>(), options.folder_of_pictures(name)) {
        (Ok(set), _) => Ok(Some(set.classes())),
        (Err(_), Some(folder)) => Ok(Some(folder::read_classes(folder)?.len())),
        (Err(_), None) => Ok(None),
    }
}

/// The last part of a path.
fn short_name(name: &str) -> String {
    Path::new(name).file_name().map_or(name.into(), |last| last.to_string_lossy().into_owned())
}

fn listed(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// Ways to get the set that don't need a mirror, for the end of an error.
fn other_ways(set: KnownSet) -> String {
    let package = set.package().map(|package| format!("on Debian or Ubuntu run `{}`, or ", package.command));
    format!(
        "{}put its files into datasets/{set}, or name a folder that has {set}/ with --data-dir",
        package.unwrap_or_default()
    )
}

#[cfg(not(feature = "fetch"))]
fn download(
    set: KnownSet,
    _options: &DataOptions,
    _progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<PathBuf> {
    Err(Error::Download(format!(
        "{} is not here and this build cannot download (feature `fetch` is off); {}",
        set.title(),
        other_ways(set)
    )))
}

#[cfg(feature = "fetch")]
fn download(
    set: KnownSet,
    options: &DataOptions,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<PathBuf> {
    if !options.allow_download {
        let message = format!("{} is not here and downloads are off; {}", set.title(), other_ways(set));
        return Err(Error::Download(message));
    }
    fetch_set(set, options, progress).map(|fetched| fetched.folder)
}

/// What [`fetch_known`] did.
#[cfg(feature = "fetch")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Where the set now is, complete and checked.
    pub folder: PathBuf,
    /// The files that were downloaded; empty where everything was there.
    pub downloaded: Vec<String>,
}

/// Downloads what is missing of a known set into the data folder that was named, or else `datasets/NAME`, and checks
/// all of it. A file that is there is never replaced.
///
/// # Errors
/// [`Error::Download`] where no mirror gives a file, [`Error::BadFile`] where a file that was there is not the set's,
/// [`Error::Io`] where the folder cannot be written.
#[cfg(feature = "fetch")]
pub fn fetch_known(
    name: &str,
    options: &DataOptions,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Fetched> {
    let fetched = fetch_set(name.parse()?, options, progress)?;
    name.parse::<KnownSet>()?.read(&fetched.folder)?;
    Ok(fetched)
}

#[cfg(feature = "fetch")]
fn fetch_set(
    set: KnownSet,
    options: &DataOptions,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Fetched> {
    if set.is_shipped() {
        return Err(Error::Invalid(format!("{set} ships with the repository; there is nothing to download")));
    }
    // With a named folder the set must end up there; otherwise any place where `load` finds it will do.
    let (shelf, there) = match &options.data_dir {
        Some(data_dir) => (data_dir.clone(), None),
        None => (options.shelves.first().cloned().unwrap_or_default(), options.find(set)),
    };
    let folder = there.unwrap_or_else(|| shelf.join(set.name()));
    let missing = set.missing_in(&folder);
    let files: Vec<_> = set
        .files()
        .iter()
        .filter(|file| missing.iter().any(|name| file.name.starts_with(name)))
        .copied()
        .collect();
    let downloaded = files.iter().map(|file| file.name.to_string()).collect();
    if !files.is_empty() {
        let mirrors = match &options.mirrors {
            Some(mirrors) => mirrors.clone(),
            None => set.mirrors().iter().map(ToString::to_string).collect(),
        };
        match super::fetch::download_all(&files, &mirrors, &folder, progress) {
            Err(Error::Download(message)) => copy_from_package(set, &folder)?.ok_or_else(|| {
                Error::Download(format!(
                    "{} could not be downloaded: {message}; {}",
                    set.title(),
                    other_ways(set)
                ))
            })?,
            other => other?,
        }
    }
    Ok(Fetched { folder, downloaded })
}

/// Brings what a folder lacks out of the distribution's package; `None` where there is no such package.
#[cfg(feature = "fetch")]
fn copy_from_package(set: KnownSet, folder: &Path) -> Result<Option<()>> {
    let Some(package) = set.package().map(|package| Path::new(package.folder)) else { return Ok(None) };
    if !set.missing_in(package).is_empty() {
        return Ok(None);
    }
    for name in set.missing_in(folder) {
        let name = format!("{name}.gz");
        let part = tempfile::NamedTempFile::new_in(folder).map_err(Error::io(folder))?;
        std::fs::copy(package.join(&name), part.path()).map_err(Error::io(package))?;
        let done = folder.join(name);
        part.persist(&done).map_err(|error| Error::io(&done)(error.error))?;
    }
    Ok(Some(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_comes_before_the_environment() {
        let dir = |option: Option<&str>, variable: Option<&str>| {
            DataOptions::with_environment(option.map(PathBuf::from), variable.map(OsString::from)).data_dir
        };
        assert_eq!(dir(Some("a"), Some("b")), Some("a".into()));
        assert_eq!(dir(None, Some("b")), Some("b".into()));
        assert_eq!(dir(None, Some("")), None);
        assert_eq!(dir(None, None), None);
    }

    #[test]
    fn fashion_mnist_names_the_package_that_has_it() {
        assert!(other_ways(KnownSet::FashionMnist).contains("apt-get install dataset-fashion-mnist"));
        assert!(!other_ways(KnownSet::Mnist).contains("apt-get"));
    }
}
