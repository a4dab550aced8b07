//! CIFAR-10 (Krizhevsky 2009): 60 000 coloured pictures of 32 x 32 in six batches. Its binary version (a label and
//! 3072 bytes for each picture) and its Python version (pickles) hold the same, and are read unpacked or out of the archive.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::catalog::KnownSet;
use super::checksum;
use super::dataset::{Dataset, Split};
use super::pickle;
use crate::error::{Error, Result};

/// The archive that [`KnownSet::Cifar10`] is fetched as.
pub(super) const ARCHIVE: &str = "cifar-10-binary.tar.gz";
const PYTHON_ARCHIVE: &str = "cifar-10-python.tar.gz";

const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;
/// Pictures in a batch.
const PICTURES: usize = 10_000;
/// What people call the classes, from `batches.meta`.
pub(super) const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The batches with the SHA-256 of their binary form, the last one for testing.
const BATCHES: [(&str, &str); 6] = [
    ("data_batch_1", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
    ("data_batch_2", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
    ("data_batch_3", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
    ("data_batch_4", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
    ("data_batch_5", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
    ("test_batch", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
];

/// Where the batches of a folder are.
enum Place {
    /// In a folder, as files of the binary version or of the Python version.
    Folder(PathBuf, Form),
    /// In a .tar.gz.
    Archive(PathBuf, Form),
}

/// How a batch is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// For each picture one byte of label, then red, green and blue, row by row.
    Binary,
    /// A pickled dictionary.
    Python,
}

/// Reads CIFAR-10 and compares it with its checksums.
pub(super) fn read_known(folder: &Path) -> Result<Dataset> {
    let mut data = read(folder, KnownSet::Cifar10.name(), true)?;
    data.source = format!(
        "CIFAR-10: {} training and {} test images from {}",
        data.train.len(),
        data.test.len(),
        folder.display()
    );
    Ok(data)
}

/// Reads pictures of one's own in the form of CIFAR-10 (six batches, binary or pickled, in `folder`, in the folder that the
/// published archive has, or in the archive itself), of any number and compared with no checksum.
///
/// # Errors
/// [`Error::BadFile`] where a batch is missing, cut short or damaged, or where a label is not below 10.
pub fn read_folder(name: &str, folder: impl AsRef<Path>) -> Result<Dataset> {
    let folder = folder.as_ref();
    let mut data = read(folder, name, false)?;
    data.source = format!("{} from {}", data.source, folder.display());
    Ok(data)
}

/// Whether any batch is there, and so what the folder is meant to hold.
pub(super) fn is_in(folder: &Path) -> bool {
    find(folder).is_some()
}

fn find(folder: &Path) -> Option<Place> {
    let folders = [
        (folder.to_path_buf(), Form::Binary),
        (folder.join("cifar-10-batches-bin"), Form::Binary),
        (folder.to_path_buf(), Form::Python),
        (folder.join("cifar-10-batches-py"), Form::Python),
    ];
    let has_batch = |(folder, form): &(PathBuf, Form)| {
        BATCHES.iter().any(|(batch, _)| folder.join(form.file(batch)).is_file())
    };
    let archives = [(ARCHIVE, Form::Binary), (PYTHON_ARCHIVE, Form::Python)];
    let unpacked = folders.into_iter().find(has_batch).map(|(folder, form)| Place::Folder(folder, form));
    unpacked.or_else(|| {
        let archives = archives.map(|(name, form)| (folder.join(name), form));
        archives.into_iter().find(|(path, _)| path.is_file()).map(|(path, form)| Place::Archive(path, form))
    })
}

fn read(folder: &Path, name: &str, known: bool) -> Result<Dataset> {
    let place = find(folder).ok_or_else(|| {
        let message = format!("holds neither {ARCHIVE} nor {PYTHON_ARCHIVE} nor what is in them");
        Error::bad_file(folder, message)
    })?;
    let mut archive = match &place {
        Place::Archive(path, form) => unpack(path, *form, known)?,
        Place::Folder(..) => HashMap::new(),
    };
    let mut batches = Vec::new();
    for (batch, sha256) in BATCHES {
        let (path, form, bytes) = match &place {
            Place::Folder(folder, form) => {
                let path = folder.join(form.file(batch));
                if !path.is_file() {
                    return Err(Error::bad_file(
                        path,
                        format!(
                            "is missing; delete its folder and run `simqat data fetch {}`",
                            KnownSet::Cifar10
                        ),
                    ));
                }
                let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
                (path, *form, bytes)
            }
            Place::Archive(archive_path, form) => {
                let bytes = archive.remove(batch).ok_or_else(|| {
                    Error::bad_file(archive_path, format!("has no {} in it; get it again", form.file(batch)))
                })?;
                (archive_path.join(form.file(batch)), *form, bytes)
            }
        };
        let bytes = form.to_binary(bytes, known).map_err(|reason| Error::bad_file(&path, reason))?;
        let found = if known { checksum::sha256(&[&bytes]) } else { sha256.into() };
        if found != sha256 {
            return Err(Error::bad_file(
                path,
                format!(
                    "this is not CIFAR-10's file or it is damaged (SHA-256 of its binary form: expected {sha256}, found \
                     {found}); delete it and run `simqat data fetch {}`",
                    KnownSet::Cifar10
                ),
            ));
        }
        let outside = bytes.iter().step_by(PIXELS + 1).position(|&label| usize::from(label) >= CLASSES.len());
        if let Some(picture) = outside {
            let label = bytes[picture * (PIXELS + 1)];
            return Err(Error::bad_file(
                path,
                format!("the label of picture {picture} is {label}, outside 0..{}", CLASSES.len()),
            ));
        }
        batches.push(bytes);
    }
    let test = split(&batches[5..])?;
    let mut data = Dataset::new(name, split(&batches[..5])?, test, CLASSES.len())?;
    data.class_names = CLASSES.map(String::from).into();
    Ok(data)
}

fn split(batches: &[Vec<u8>]) -> Result<Split> {
    let records = || batches.iter().flat_map(|batch| batch.chunks_exact(PIXELS + 1));
    let labels = records().map(|record| record[0].into()).collect();
    let mut pixels = Vec::with_capacity(batches.iter().map(Vec::len).sum());
    records().for_each(|record| pixels.extend_from_slice(&record[1..]));
    Split::new(SHAPE, pixels, labels, CLASSES.len())
}

impl Form {
    fn file(self, batch: &str) -> String {
        match self {
            Form::Binary => format!("{batch}.bin"),
            Form::Python => batch.to_string(),
        }
    }

    /// A batch's file as the binary version has it; with `known`, it must have as many pictures as CIFAR-10's.
    fn to_binary(self, bytes: Vec<u8>, known: bool) -> Result<Vec<u8>, String> {
        let bytes = match self {
            Form::Binary => bytes,
            Form::Python => {
                let batch = pickle::read(&bytes)?;
                if batch.columns != PIXELS {
                    return Err(format!(
                        "its pictures have {} values, and CIFAR-10's have {PIXELS}",
                        batch.columns
                    ));
                }
                let records = std::iter::zip(&batch.labels, batch.data.chunks_exact(PIXELS));
                let label = |label: u32| u8::try_from(label).unwrap_or(u8::MAX);
                records
                    .flat_map(|(&l, pixels)| std::iter::once(label(l)).chain(pixels.iter().copied()))
                    .collect()
            }
        };
        let (found, record) = (bytes.len(), PIXELS + 1);
        let expected = if known { PICTURES * record } else { found.next_multiple_of(record).max(record) };
        match found.cmp(&expected) {
            std::cmp::Ordering::Equal => Ok(bytes),
            std::cmp::Ordering::Less => Err(format!(
                "ends after {found} of {expected} bytes ({} pictures of {record}): it is truncated; get it again",
                expected / record
            )),
            std::cmp::Ordering::Greater => {
                Err(format!("has {found} bytes instead of {expected}: it is another file"))
            }
        }
    }
}

/// The most bytes that one of CIFAR-10's files has, with room for the names in its pickles: nobody's archive may ask for
/// all memory.
const MOST_BYTES: u64 = (PICTURES * (PIXELS + 1)) as u64 * 2;

/// The batches in an archive, by name; with `known`, no larger than CIFAR-10's.
fn unpack(path: &Path, form: Form, known: bool) -> Result<HashMap<&'static str, Vec<u8>>> {
    let damaged = |e: std::io::Error| {
        Error::bad_file(path, format!("the archive is damaged or truncated ({e}); get it again"))
    };
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut found = HashMap::new();
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let batch = BATCHES.iter().find(|(batch, _)| name.as_deref() == Some(&form.file(batch)));
        if let Some((batch, _)) = batch {
            // The reader gives no more than this.
            let size = entry.size();
            if known && size > MOST_BYTES {
                let message = format!("{} in it has {size} bytes: it is another file", form.file(batch));
                return Err(Error::bad_file(path, message));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            found.insert(*batch, bytes);
        }
    }
    Ok(found)
}
