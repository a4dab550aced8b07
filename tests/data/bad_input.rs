//! Every way in which an IDX file can be wrong has its own sentence.

use simqat::data::{idx::*, mnist};

use super::*;

fn images(bytes: &[u8]) -> Result<IdxImages> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read_images(file.path())
}

fn labels(bytes: &[u8]) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read_labels(file.path())
}

#[test]
fn plain_and_gzipped_files_read_the_same_whatever_their_name() {
    let plain = images(&two_images()).unwrap();
    assert_eq!((plain.count, plain.rows, plain.columns), (2, 2, 3));
    assert_eq!(plain.pixels, (0..12).collect::<Vec<u8>>());
    assert_eq!(images(&gzip(&two_images())).unwrap(), plain);

    let bytes = idx(0x801, &[3], &[7, 0, 9]);
    assert_eq!(labels(&bytes).unwrap(), [7, 0, 9]);
    assert_eq!(labels(&gzip(&bytes)).unwrap(), [7, 0, 9]);
}

#[test]
fn digests_are_those_of_the_plain_file() {
    use sha2::Digest;
    let hex =
        |bytes: &[u8]| sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(images_sha256(&images(&gzip(&two_images())).unwrap()), hex(&two_images()));
    assert_eq!(labels_sha256(&[7, 0, 9]), hex(&idx(0x801, &[3], &[7, 0, 9])));
}

#[test]
fn a_missing_file_is_named() {
    assert_says(&refused(read_images("/nowhere/train.gz")), &["/nowhere/train.gz", "(os error "]);
}

#[test]
fn labels_are_not_taken_for_images() {
    let label_file = idx(0x801, &[1], &[5]);
    assert_says(
        &refused(images(&label_file)),
        &["holds labels (IDX magic number 0x00000801)", "images (0x00000803) were expected"],
    );
    assert_says(&refused(labels(&two_images())), &["holds images", "labels (0x00000801) were expected"]);
}

#[test]
fn other_files_show_how_they_start() {
    assert_says(&refused(images(b"\x89PNG\r\n\x1a\n")), &["starts with 0x89504e47", "another kind of file"]);
    assert_says(&refused(images(&gzip(b"hello, world"))), &["starts with 0x68656c6c"]);
    // Floats in an otherwise proper IDX file.
    assert_says(&refused(images(&idx(0xd03, &[1, 1, 1], &[0; 4]))), &["starts with 0x00000d03"]);
}

#[test]
fn truncated_files_say_how_far_they_came() {
    let whole = two_images();
    assert_says(&refused(images(&[])), &["the file is empty"]);
    assert_says(&refused(images(&gzip(&[]))), &["the file is empty"]);
    assert_says(&refused(images(&whole[..3])), &["ends after 3 of 16 bytes", "truncated"]);
    assert_says(&refused(images(&whole[..9])), &["ends after 9 of 16 bytes", "truncated"]);
    assert_says(&refused(images(&whole[..27])), &["the file ends after 27 of 28 bytes", "truncated"]);
    assert_says(
        &refused(images(&gzip(&whole[..27]))),
        &["the decompressed content ends after 27 of 28 bytes"],
    );

    let packed = gzip(&whole);
    for cut in [2, 9, packed.len() / 2, packed.len() - 8, packed.len() - 1] {
        assert_says(&refused(images(&packed[..cut])), &["the gzip stream breaks off after", "truncated"]);
    }
}

#[test]
fn appended_bytes_are_seen() {
    let mut longer = two_images();
    longer.extend_from_slice(b"more");
    assert_says(&refused(images(&longer)), &["the file is 32 bytes", "2 x 2 x 3", "says 28", "appended"]);
    assert_says(&refused(images(&gzip(&longer))), &["the decompressed content is 32 bytes", "says 28"]);

    let mut packed = gzip(&two_images());
    packed.extend_from_slice(b"more bytes after the stream");
    assert_says(&refused(images(&packed)), &["the gzip stream is damaged after 28 decompressed bytes"]);
}

#[test]
fn every_flipped_byte_of_a_gzip_file_is_refused_or_harmless() {
    let packed = gzip(&two_images());
    let good = images(&packed).unwrap();
    for place in 0..packed.len() {
        let mut bad = packed.clone();
        bad[place] ^= 0x10;
        match images(&bad) {
            // Bytes 4 to 9 of the header hold time, flags of the packer and system: nothing that is read.
            Ok(read) => assert!((4..10).contains(&place) && read == good, "byte {place}"),
            Err(error) => assert!(error.is_bad_input(), "byte {place}: {error}"),
        }
    }
    let mut bad_crc = packed.clone();
    let crc = bad_crc.len() - 8;
    bad_crc[crc] ^= 1;
    assert_says(&refused(images(&bad_crc)), &["the gzip stream is damaged", "checksum"]);
}

#[test]
fn a_lying_header_costs_no_memory() {
    let huge = u32::MAX;
    assert_says(&refused(images(&idx(0x803, &[huge, huge, huge], &[]))), &["4294967295 x", "damaged"]);
    assert_says(&refused(images(&idx(0x803, &[huge, 28, 28], &[]))), &["cannot be"]);
    // Four gigabytes promised, one byte there: the answer comes at once, because nothing is reserved ahead.
    assert_says(&refused(labels(&idx(0x801, &[huge], &[1]))), &["ends after 9 of 4294967303 bytes"]);
    assert_says(&refused(images(&idx(0x803, &[0, 28, 28], &[]))), &["0 x 28 x 28", "nothing in it"]);
}

#[test]
fn a_folder_of_ones_own_needs_no_checksum() {
    let folder = tempfile::tempdir().unwrap();
    write_set(folder.path(), &two_images(), &[0, 2], &two_images(), &[1, 1]);
    let set = mnist::read_folder("mine", folder.path(), 3).unwrap();
    assert_eq!((set.name.as_str(), set.classes, set.is_sample), ("mine", 3, false));
    assert_eq!(set.train.shape(), Some([1, 2, 3]));
    assert_eq!((set.train.len(), set.test.len()), (2, 2));
    assert_says(&set.source, &["mine: 2 training and 2 test images from", folder.path().to_str().unwrap()]);
}

#[test]
fn files_that_contradict_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let read = || mnist::read_folder("mine", folder.path(), 3);
    let images = two_images();

    assert_says(&refused(read()), &["train-images-idx3-ubyte.gz is missing"]);
    write_set(folder.path(), &images, &[0, 1, 2], &images, &[1, 1]);
    assert_says(&refused(read()), &["train-labels-idx1-ubyte.gz", "holds 3 labels", "holds 2 images"]);
    write_set(folder.path(), &images, &[0, 3], &images, &[1, 1]);
    assert_says(
        &refused(read()),
        &["train-labels-idx1-ubyte.gz", "the label of picture 1 is 3, outside 0..3"],
    );
    write_set(folder.path(), &images, &[0, 2], &images, &[255, 1]);
    assert_says(&refused(read()), &["t10k-labels.idx1-ubyte", "the label of picture 0 is 255"]);
    write_set(folder.path(), &images, &[0, 2], &idx(0x803, &[2, 1, 1], &[0, 0]), &[1, 1]);
    assert_says(&refused(read()), &["[1, 2, 3]", "[1, 1, 1]", "must agree"]);
}
