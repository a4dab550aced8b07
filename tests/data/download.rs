//! The downloader against mirrors that work, break off, lie, or are not there.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use sha2::Digest;
use simqat::Error;
use simqat::data::catalog::{KnownSet, RemoteFile};
use simqat::data::fetch::download_all;
use simqat::data::{DataOptions, fetch_known, load, load_with_progress};

use super::server::{Manners, Server};
use super::*;

/// Bytes without a pattern, so that a piece in the wrong place is seen.
fn content(length: u32) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One file and a folder for it.
struct Case {
    bytes: Vec<u8>,
    sha256: String,
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Case {
        let bytes = content(300_000);
        Case { sha256: sha256(&bytes), bytes, folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> RemoteFile<'_> {
        RemoteFile { name: "file.gz", bytes: self.bytes.len() as u64, sha256: &self.sha256 }
    }

    fn serve(&self, manners: Manners) -> Server {
        Server::start(&[("file.gz", &self.bytes)], manners)
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join("file.gz.part")
    }

    fn get(&self, mirrors: &[&Server]) -> Result<()> {
        let mirrors: Vec<String> = mirrors.iter().map(|server| server.mirror.clone()).collect();
        download_all(&[self.file()], &mirrors, self.folder.path(), &mut |_, _, _| {})
    }

    #[track_caller]
    fn assert_complete(&self) {
        assert!(fs::read(self.folder.path().join("file.gz")).unwrap() == self.bytes);
        assert!(!self.part().exists());
    }

    #[track_caller]
    fn assert_nothing(&self) {
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 0);
    }
}

/// The address of a mirror that refuses: the port was free a moment ago.
fn closed_door() -> String {
    format!("http://{}/", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

#[test]
fn a_file_arrives_with_its_progress() {
    let case = Case::new();
    let server = case.serve(Manners::default());
    let mut seen = Vec::new();
    let folder = case.folder.path().join("made/on/demand");
    download_all(&[case.file()], std::slice::from_ref(&server.mirror), &folder, &mut |file, done, total| {
        assert_eq!((file, total), ("file.gz", 300_000));
        seen.push(done);
    })
    .unwrap();
    assert!(fs::read(folder.join("file.gz")).unwrap() == case.bytes);
    assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&300_000)));
    assert!(seen.is_sorted());
}

#[test]
fn what_lies_there_is_not_asked_for_again() {
    let case = Case::new();
    fs::write(case.part(), &case.bytes[..123_456]).unwrap();
    let server = case.serve(Manners::default());
    case.get(&[&server]).unwrap();
    case.assert_complete();
    assert_eq!(server.requests(), ["file.gz from 123456"]);

    let whole = Case::new();
    fs::write(whole.part(), &whole.bytes).unwrap();
    whole.get(&[&server]).unwrap();
    whole.assert_complete();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    let case = Case::new();
    let server = case.serve(Manners { breaks_after: Some(100_000), ..Manners::default() });
    case.get(&[&server]).unwrap();
    case.assert_complete();
    assert_eq!(server.requests(), ["file.gz", "file.gz from 100000", "file.gz from 200000"]);
}

#[test]
fn a_mirror_that_keeps_breaking_is_left_and_the_rest_kept_for_later() {
    let case = Case::new();
    let stingy = case.serve(Manners { breaks_after: Some(1_000), ..Manners::default() });
    let error = case.get(&[&stingy]).unwrap_err().to_string();
    assert_says(&error, &["breaks off", "go on from there"]);
    assert_eq!(fs::read(case.part()).unwrap(), case.bytes[..4_000]);
    let generous = case.serve(Manners::default());
    case.get(&[&generous]).unwrap();
    case.assert_complete();
    assert_eq!(generous.requests(), ["file.gz from 4000"]);
}

#[test]
fn servers_without_ranges_are_read_from_the_start() {
    for manners in [
        Manners { ignores_ranges: true, ..Manners::default() },
        Manners { shifts_ranges: true, ..Manners::default() },
    ] {
        let case = Case::new();
        fs::write(case.part(), &case.bytes[..1000]).unwrap();
        case.get(&[&case.serve(manners)]).unwrap();
        case.assert_complete();
    }
}

#[test]
fn a_damaged_part_is_thrown_away_and_fetched_anew() {
    let case = Case::new();
    let server = case.serve(Manners::default());
    fs::write(case.part(), vec![0; 1000]).unwrap();
    case.get(&[&server]).unwrap();
    case.assert_complete();
    assert_eq!(server.requests(), ["file.gz from 1000", "file.gz"]);

    let longer = Case::new();
    fs::write(longer.part(), vec![0; 300_001]).unwrap();
    longer.get(&[&server]).unwrap();
    longer.assert_complete();
}

#[test]
fn a_mirror_with_other_content_is_passed_over() {
    let case = Case::new();
    let damaged = Server::start(&[("file.gz", &vec![7; 300_000])], Manners::default());
    let error = case.get(&[&damaged]).unwrap_err();
    assert!(matches!(error, Error::Download(_)));
    assert_says(&error.to_string(), &[&damaged.mirror, "damaged", &case.sha256, &sha256(&[7; 300_000])]);
    case.assert_nothing();

    let longer = Server::start(&[("file.gz", &content(300_001))], Manners::default());
    assert_says(&case.get(&[&longer]).unwrap_err().to_string(), &["longer than 300000 bytes"]);
    case.assert_nothing();

    let shorter = Server::start(&[("file.gz", &case.bytes[..1000])], Manners::default());
    let good = case.serve(Manners::default());
    case.get(&[&damaged, &longer, &shorter, &good]).unwrap();
    case.assert_complete();
}

#[test]
fn the_mirror_that_works_is_asked_first_from_then_on() {
    let (a, b) = (content(1000), content(2000));
    let (sum_a, sum_b) = (sha256(&a), sha256(&b));
    let files = [
        RemoteFile { name: "a.gz", bytes: 1000, sha256: &sum_a },
        RemoteFile { name: "b.gz", bytes: 2000, sha256: &sum_b },
    ];
    let empty = Server::start(&[], Manners::default());
    let full = Server::start(&[("a.gz", &a), ("b.gz", &b)], Manners::default());
    let folder = tempfile::tempdir().unwrap();
    let mirrors = [empty.mirror.clone(), full.mirror.clone()];
    download_all(&files, &mirrors, folder.path(), &mut |_, _, _| {}).unwrap();
    assert_eq!(
        (empty.requests(), full.requests()),
        (vec!["a.gz".into()], vec!["a.gz".into(), "b.gz".into()])
    );
}

#[test]
fn closed_doors_are_told_in_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = DataOptions::default();
    options.data_dir = None;
    options.shelves = vec![folder.path().to_path_buf()];
    options.mirrors = Some(vec![closed_door(), closed_door()]);
    let start = Instant::now();
    let error = load("mnist", &options).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(matches!(error, Error::Download(_)) && !error.is_bad_input());
    let mirrors = options.mirrors.clone().unwrap();
    assert_says(
        &error.to_string(),
        &["MNIST could not be downloaded", &mirrors[0], &mirrors[1], "--data-dir"],
    );

    // With the sample on the shelf, the same failure ends in the sample.
    let shelf = shipped();
    options.shelves.push(shelf.clone());
    if !shelf.join("mnist").exists() {
        assert!(load("mnist", &options).unwrap().is_sample);
    }
    assert_says(&refused(fetch_known("mnist-5k", &options, &mut |_, _, _| {})), &["nothing to download"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_not_blamed_on_the_mirrors() {
    let case = Case::new();
    let in_the_way = case.folder.path().join("a-file");
    fs::write(&in_the_way, "").unwrap();
    let server = case.serve(Manners::default());
    let error =
        download_all(&[case.file()], std::slice::from_ref(&server.mirror), &in_the_way, &mut |_, _, _| {})
            .unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn a_file_that_lies_there_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mnist = folder.path().join("mnist");
    write_set(&mnist, &two_images(), &[0, 2], &two_images(), &[1, 1]);
    let mut options = DataOptions::new(Some(folder.path().to_path_buf()));
    options.mirrors = Some(vec![closed_door()]);
    let told = refused(fetch_known("mnist", &options, &mut |_, _, _| {}));
    assert_says(&told, &["train-images-idx3-ubyte", "delete it and run `simqat data fetch mnist`"]);
    assert_eq!(fs::read(mnist.join("train-images-idx3-ubyte")).unwrap(), two_images());
}

/// The real files go through a mirror, the downloader and the pinned checksums of both kinds.
#[test]
#[ignore = "wants all of MNIST in the data folder that SIMQAT_DATA names"]
fn all_of_mnist_comes_from_a_mirror() {
    let data = std::env::var_os("SIMQAT_DATA").expect("SIMQAT_DATA must name a data folder");
    let files: Vec<(&str, Vec<u8>)> = KnownSet::Mnist
        .files()
        .iter()
        .map(|file| (file.name, fs::read(Path::new(&data).join("mnist").join(file.name)).unwrap()))
        .collect();
    let served: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let server = Server::start(&served, Manners::default());
    let shelf = tempfile::tempdir().unwrap();
    let mut options = DataOptions::default();
    options.data_dir = None;
    options.shelves = vec![shelf.path().to_path_buf()];
    options.mirrors = Some(vec![server.mirror.clone()]);
    let data = load_with_progress("mnist", &options, &mut |_, _, _| {}).unwrap();
    assert_eq!((data.train.len(), data.is_sample), (60_000, false));
    assert_eq!(server.requests().len(), 4);
    assert!(fetch_known("mnist", &options, &mut |_, _, _| {}).unwrap().downloaded.is_empty());
    assert_eq!(server.requests().len(), 4);
}
