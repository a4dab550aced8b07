//! CIFAR-10 in its forms: binary and pickled batches, in folders and in archives, whole and broken.

use std::fs;

use simqat::data::{DataOptions, Dataset, cifar, load};

use super::*;

const RECORD: usize = 3073;
const BATCHES: [&str; 6] =
    ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];

/// Two pictures of a batch in the binary form.
fn binary(batch: usize) -> Vec<u8> {
    let picture = |i: usize| {
        (0..RECORD).map(move |at| if at == 0 { (batch + i) as u8 } else { (at * 7 + i + batch) as u8 })
    };
    (0..2).flat_map(picture).collect()
}

/// The same as the pickle that Python 2 and NumPy wrote.
fn pickled(batch: usize) -> Vec<u8> {
    let records = binary(batch);
    let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let mut out = [&b"\x80\x02}q\x01("[..], &text("labels"), b"q\x02]q\x03("].concat();
    records.chunks(RECORD).for_each(|record| out.extend([b'K', record[0]]));
    out.extend([b"e".as_slice(), &text("data")].concat());
    out.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85");
    out.extend([&text("b")[..], b"\x87Rq\x06(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\n"].concat());
    out.extend(
        [
            &text("u1")[..],
            b"K\x00K\x01\x87R(K\x03",
            &text("|"),
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
        ]
        .concat(),
    );
    out.extend((2 * (RECORD as u32 - 1)).to_le_bytes());
    records.chunks(RECORD).for_each(|record| out.extend(&record[1..]));
    out.extend(b"tbu.");
    out
}

fn write_batches(folder: &Path, ending: &str, batch: fn(usize) -> Vec<u8>) {
    fs::create_dir_all(folder).unwrap();
    for (i, name) in BATCHES.iter().enumerate() {
        fs::write(folder.join(format!("{name}{ending}")), batch(i)).unwrap();
    }
}

/// The archive of a folder, with the folder's own name in it as the published ones have.
fn archive(folder: &Path) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(folder.file_name().unwrap(), folder).unwrap();
    gzip(&tar.into_inner().unwrap())
}

fn check(data: &Dataset) {
    assert_eq!((data.train.len(), data.test.len(), data.classes), (10, 2, 10));
    assert_eq!(data.train.shape(), Some([3, 32, 32]));
    assert_eq!(data.train.labels, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
    assert_eq!(data.test.labels, [5, 6]);
    let expected: Vec<u8> = (0..5)
        .flat_map(|b| binary(b).chunks(RECORD).flat_map(|r| r[1..].to_vec()).collect::<Vec<_>>())
        .collect();
    assert!(data.train.images().unwrap() == expected);
    assert_eq!((data.class_names[0].as_str(), data.class_names[9].as_str()), ("airplane", "truck"));
}

#[test]
fn all_forms_hold_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_batches(&at("plain"), ".bin", binary);
    write_batches(&at("unpacked/cifar-10-batches-bin"), ".bin", binary);
    write_batches(&at("python/cifar-10-batches-py"), "", pickled);
    write_batches(&at("pickles"), "", pickled);
    for (name, content) in [
        ("cifar-10-binary.tar.gz", "unpacked/cifar-10-batches-bin"),
        ("cifar-10-python.tar.gz", "python/cifar-10-batches-py"),
    ] {
        let packed = at(&format!("packed {name}"));
        fs::create_dir(&packed).unwrap();
        fs::write(packed.join(name), archive(&at(content))).unwrap();
        check(&cifar::read_folder("mine", packed).unwrap());
    }
    for name in ["plain", "unpacked", "python", "pickles"] {
        check(&cifar::read_folder("mine", at(name)).unwrap());
    }
}

#[test]
fn a_truncated_batch_is_named_with_what_is_there_and_what_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("cifar10");
    write_batches(&set, ".bin", binary);
    let mut options = DataOptions::default();
    (options.data_dir, options.allow_download) = (Some(folder.path().into()), false);
    // As CIFAR-10 itself, the batch must have 10 000 pictures.
    assert_says(
        &refused(load("cifar10", &options)),
        &["data_batch_1.bin", "ends after 6146 of 30730000 bytes", "truncated"],
    );
    let read = || cifar::read_folder("mine", &set);
    fs::write(set.join("data_batch_3.bin"), &binary(2)[..5000]).unwrap();
    assert_says(&refused(read()), &["data_batch_3.bin", "ends after 5000 of 6146 bytes", "truncated"]);
    fs::write(set.join("data_batch_3.bin"), []).unwrap();
    assert_says(&refused(read()), &["data_batch_3.bin", "ends after 0 of 3073 bytes"]);
    fs::remove_file(set.join("data_batch_3.bin")).unwrap();
    assert_says(&refused(read()), &["data_batch_3.bin", "is missing", "simqat data fetch cifar10"]);
    let mut wrong = binary(2);
    wrong[RECORD] = 10;
    fs::write(set.join("data_batch_3.bin"), wrong).unwrap();
    assert_says(&refused(read()), &["data_batch_3.bin", "the label of picture 1 is 10, outside 0..10"]);
}

#[test]
fn pickles_are_read_to_the_end_and_call_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_batches(folder.path(), "", pickled);
    let first = folder.path().join("data_batch_1");
    let read = |bytes: &[u8]| {
        fs::write(&first, bytes).unwrap();
        cifar::read_folder("mine", folder.path())
    };
    let whole = pickled(0);
    for cut in [0, 1, 5, 30, 100, 3000, whole.len() - 1] {
        let text = refused(read(&whole[..cut]));
        assert_says(&text, &["data_batch_1", &format!("the pickle ends after {cut} bytes"), "truncated"]);
    }
    assert_says(
        &refused(read(b"\x80\x02cos\nsystem\nU\x02ls\x85R.")),
        &["the pickle asks for \"os\\nsystem\" at byte 3"],
    );
    assert_says(&refused(read(b"\x80\x04.")), &["protocol 4"]);
    // Deep enough to overflow a stack, by tuples of one.
    let deep = [&b"\x80\x02N"[..], &[0x85; 1_000_000], b"."].concat();
    assert_says(&refused(read(&deep)), &["more than 8 levels at byte 11"]);
    assert_says(&refused(read(b"\x80\x02]e.")), &["damaged at byte 3", "0x65"]);
    assert_says(&refused(read(b"\x80\x02].")), &["no dictionary"]);
    assert_says(&refused(read(b"\x80\x02}.")), &["has no \"labels\""]);
    assert_says(&refused(read(b"\x80\x02I7\n.")), &["instruction 0x49 at byte 2"]);
    // No byte can be changed so that it panics; that some changes are not seen is what checksums are for.
    for at in 0..260 {
        let mut bad = whole.clone();
        bad[at] ^= 0x21;
        if let Err(error) = read(&bad) {
            assert!(error.is_bad_input(), "byte {at}: {error}");
        }
    }
}

#[test]
fn broken_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let batches = folder.path().join("cifar-10-batches-bin");
    write_batches(&batches, ".bin", binary);
    let packed = archive(&batches);
    let set = folder.path().join("set");
    fs::create_dir(&set).unwrap();
    fs::write(set.join("cifar-10-binary.tar.gz"), &packed[..packed.len() / 2]).unwrap();
    assert_says(
        &refused(cifar::read_folder("mine", &set)),
        &["cifar-10-binary.tar.gz", "damaged or truncated"],
    );
    fs::remove_file(batches.join("test_batch.bin")).unwrap();
    fs::write(set.join("cifar-10-binary.tar.gz"), archive(&batches)).unwrap();
    assert_says(&refused(cifar::read_folder("mine", &set)), &["has no test_batch.bin in it"]);
    assert_says(
        &refused(cifar::read_folder("mine", folder.path().join("nowhere"))),
        &["cifar-10-python.tar.gz"],
    );
}

#[test]
#[ignore = "wants all of CIFAR-10 in the data folder that SIMQAT_CIFAR10 names"]
fn the_environments_folder_holds_cifar10() {
    let folder = std::env::var_os("SIMQAT_CIFAR10").expect("SIMQAT_CIFAR10 must name a data folder");
    let mut options = DataOptions::default();
    (options.data_dir, options.allow_download) = (Some(folder.into()), false);
    let data = load("cifar10", &options).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (50_000, 10_000));
    assert_eq!(data.train.labels[..10], [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]);
    assert_says(&data.source, &["CIFAR-10: 50000 training and 10000 test images"]);
}
