//! IDX, the format of MNIST and its relatives: a magic number, big-endian sizes, then the values.
//!
//! Files are read plain or gzipped, whichever their first two bytes say; names don't matter.
//! The format is described on the page that MNIST was first published on: byte 3 of the magic number
//! is the type (0x08: unsigned byte), byte 4 the number of dimensions.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::checksum;
use crate::error::{Error, Result};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;

/// What a file may claim to hold. Far above every data set that comes as IDX; a header that says more is damaged.
const MAX_BYTES: u64 = 4 << 30;

/// Grey pictures of one size, as an IDX file of three dimensions holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxImages {
    /// How many pictures.
    pub count: usize,
    /// Height of each.
    pub rows: usize,
    /// Width of each.
    pub columns: usize,
    /// [count, rows, columns], row by row, 0 to 255.
    pub pixels: Vec<u8>,
}

/// Reads pictures, gzipped or plain.
///
/// # Errors
/// [`Error::Io`] where the file cannot be read, [`Error::BadFile`] where it is no IDX file of pictures, holds none,
/// ends too early, goes on too long, or is damaged inside the gzip stream.
pub fn read_images(path: impl AsRef<Path>) -> Result<IdxImages> {
    let path = path.as_ref();
    let (sizes, pixels) = read::<3>(path, IMAGES_MAGIC)?;
    let [count, rows, columns] = sizes.map(|size| size as usize);
    Ok(IdxImages { count, rows, columns, pixels })
}

/// Reads labels, gzipped or plain.
///
/// # Errors
/// As [`read_images`].
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    Ok(read::<1>(path.as_ref(), LABELS_MAGIC)?.1)
}

/// SHA-256 of the plain IDX file with these pictures, however the file that they came from was packed.
pub fn images_sha256(images: &IdxImages) -> String {
    let sizes = [images.count, images.rows, images.columns];
    let mut header = IMAGES_MAGIC.to_be_bytes().to_vec();
    header.extend(sizes.iter().flat_map(|&size| (size as u32).to_be_bytes()));
    checksum::sha256(&[&header, &images.pixels])
}

/// SHA-256 of the plain IDX file with these labels.
pub fn labels_sha256(labels: &[u8]) -> String {
    let header = [LABELS_MAGIC.to_be_bytes(), (labels.len() as u32).to_be_bytes()].concat();
    checksum::sha256(&[&header, labels])
}

/// The sizes and the values of an IDX file with `D` dimensions.
fn read<const D: usize>(path: &Path, magic: u32) -> Result<([u32; D], Vec<u8>)> {
    let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let gzipped = file.fill_buf().map_err(Error::io(path))?.starts_with(&GZIP_MAGIC);
    if gzipped {
        // The multi-member decoder also refuses what stands after the stream; the simple one would ignore it.
        parse(path, &mut Counted { inner: MultiGzDecoder::new(file), bytes: 0, gzipped }, magic)
    } else {
        parse(path, &mut Counted { inner: file, bytes: 0, gzipped }, magic)
    }
}

fn parse<const D: usize>(
    path: &Path,
    input: &mut Counted<impl Read>,
    magic: u32,
) -> Result<([u32; D], Vec<u8>)> {
    let header_bytes = 4 + 4 * D as u64;
    let mut word = || -> Result<u32> {
        let mut bytes = [0; 4];
        let got = fill(input, &mut bytes).map_err(|e| input.damaged(path, e))?;
        match got {
            4 => Ok(u32::from_be_bytes(bytes)),
            _ if input.bytes == 0 => Err(Error::bad_file(path, "the file is empty; get it again")),
            _ => Err(input.truncated(path, header_bytes)),
        }
    };

    let found = word()?;
    if found != magic {
        return Err(Error::bad_file(path, wrong_magic(found, magic)));
    }
    let mut sizes = [0; D];
    for size in &mut sizes {
        *size = word()?;
    }

    let payload = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size.into()));
    let payload = match payload {
        Some(0) => {
            return Err(Error::bad_file(
                path,
                format!("the header says {}: there is nothing in it", times(&sizes)),
            ));
        }
        Some(bytes) if bytes <= MAX_BYTES => bytes,
        _ => {
            let message = format!(
                "the header says {} bytes, which cannot be: it is damaged; get the file again",
                times(&sizes)
            );
            return Err(Error::bad_file(path, message));
        }
    };

    // `read_to_end` grows with what arrives, so a lying header costs nothing. One byte more than promised is asked
    // for: it shows what trails, and it makes the decoder reach the end, where it compares the gzip checksum.
    let mut values = Vec::new();
    input.by_ref().take(payload + 1).read_to_end(&mut values).map_err(|e| input.damaged(path, e))?;
    let expected = header_bytes + payload;
    match (values.len() as u64).cmp(&payload) {
        std::cmp::Ordering::Less => Err(input.truncated(path, expected)),
        std::cmp::Ordering::Equal => Ok((sizes, values)),
        std::cmp::Ordering::Greater => {
            let rest = io::copy(input, &mut io::sink()).map_err(|e| input.damaged(path, e));
            rest?;
            let message = format!(
                "{} is {} bytes where the header ({}) says {expected}: something was appended; get the file again",
                input.whole(),
                input.bytes,
                times(&sizes),
            );
            Err(Error::bad_file(path, message))
        }
    }
}

/// Reads until the buffer is full or the input ends; says how far it came.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

fn wrong_magic(found: u32, expected: u32) -> String {
    let kind = |magic| match magic {
        IMAGES_MAGIC => Some("images"),
        LABELS_MAGIC => Some("labels"),
        _ => None,
    };
    let wanted = kind(expected).unwrap_or("values");
    match kind(found) {
        Some(other) => format!(
            "holds {other} (IDX magic number 0x{found:08x}) where {wanted} (0x{expected:08x}) were expected; are two files swapped?"
        ),
        None => format!(
            "starts with 0x{found:08x}, not with 0x{expected:08x}, the magic number of IDX {wanted}: this is another kind of file"
        ),
    }
}

/// Sizes as people write them: 60000 x 28 x 28.
fn times(sizes: &[u32]) -> String {
    sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(" x ")
}

/// A reader that knows how many bytes it has given, so that an error can say where.
struct Counted<R> {
    inner: R,
    bytes: u64,
    gzipped: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

impl<R> Counted<R> {
    fn whole(&self) -> &'static str {
        if self.gzipped { "the decompressed content" } else { "the file" }
    }

    fn truncated(&self, path: &Path, expected: u64) -> Error {
        let message = format!(
            "{} ends after {} of {expected} bytes: it is truncated; get the file again",
            self.whole(),
            self.bytes
        );
        Error::bad_file(path, message)
    }

    /// A failed read: inside a gzip stream the data is to blame, otherwise the disk.
    fn damaged(&self, path: &Path, error: io::Error) -> Error {
        let message = match error.kind() {
            ErrorKind::UnexpectedEof if self.gzipped => {
                format!(
                    "the gzip stream breaks off after {} decompressed bytes: it is truncated; get the file again",
                    self.bytes
                )
            }
            ErrorKind::InvalidInput | ErrorKind::InvalidData if self.gzipped => {
                format!(
                    "the gzip stream is damaged after {} decompressed bytes ({error}); get the file again",
                    self.bytes
                )
            }
            _ => return Error::io(path)(error),
        };
        Error::bad_file(path, message)
    }
}
