//! CIFAR-10's two forms: each batch the same bytes, binary or pickled, and an archive of either form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use simqat::data::cifar::read_folder;
use simqat_fuzz::file;

fuzz_target!(|bytes: &[u8]| {
    let [Some(kind), Some(bytes)] = [bytes.get(..1), bytes.get(1..)] else { return };
    let batches = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
    let path = match kind[0] % 4 {
        0 => batches.map(|batch| file(&format!("{batch}.bin"), bytes))[0].with_file_name(""),
        1 => batches.map(|batch| file(batch, bytes))[0].with_file_name(""),
        2 => file("cifar-10-binary.tar.gz", bytes),
        _ => file("cifar-10-python.tar.gz", bytes),
    };
    // What another input left must not be read in this one's place.
    let folder = path.with_file_name("one");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).expect("a folder can be made");
    for name in std::fs::read_dir(path.with_file_name("")).expect("the folder can be listed").flatten() {
        if name.path().is_file() {
            std::fs::rename(name.path(), folder.join(name.file_name())).expect("a file can be moved");
        }
    }
    let _ = read_folder("fuzzed", &folder);
});
