//! The data sets that are known by name: their files, checksums, mirrors and packages.
//!
//! A new one is a new [`KnownSet`]; the compiler then lists what must be said about it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::dataset::Dataset;
use super::{cifar, mnist};
use crate::error::{Error, Result};

/// A data set that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KnownSet {
    /// Handwritten digits, 60 000 + 10 000 grey pictures of 28 x 28, 10 classes.
    Mnist,
    /// Clothes in the shape of MNIST.
    FashionMnist,
    /// 50 000 + 10 000 coloured pictures of 32 x 32, 10 classes.
    Cifar10,
    /// The sample that the repository ships: 4 000 + 1 000 of MNIST's training digits.
    Mnist5k,
}

/// A file as a mirror serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteFile<'a> {
    /// Appended to the mirror's address, and the name on the disk.
    pub name: &'a str,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: &'a str,
}

/// Where a distribution's package puts a data set, and how to get that package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// The folder with the files.
    pub folder: &'static str,
    /// The command that installs it.
    pub command: &'static str,
}

const fn file(name: &'static str, bytes: u64, sha256: &'static str) -> RemoteFile<'static> {
    RemoteFile { name, bytes, sha256 }
}

const MNIST: [RemoteFile<'static>; 4] = [
    file(
        "train-images-idx3-ubyte.gz",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    file(
        "train-labels-idx1-ubyte.gz",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    file(
        "t10k-images-idx3-ubyte.gz",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    file(
        "t10k-labels-idx1-ubyte.gz",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
];

const FASHION_MNIST: [RemoteFile<'static>; 4] = [
    file(
        "train-images-idx3-ubyte.gz",
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    file(
        "train-labels-idx1-ubyte.gz",
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    file(
        "t10k-images-idx3-ubyte.gz",
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    file(
        "t10k-labels-idx1-ubyte.gz",
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
];

// The authors publish the MD5 sum c32a1d4ab5d03f1284b67883e8d87530, which belongs to the same file.
const CIFAR10: [RemoteFile<'static>; 1] =
    [file(cifar::ARCHIVE, 170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")];

impl KnownSet {
    /// All of them, in the order in which they are listed to people.
    pub const ALL: [KnownSet; 4] =
        [KnownSet::Mnist, KnownSet::FashionMnist, KnownSet::Cifar10, KnownSet::Mnist5k];

    /// The name that people type; also the name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            KnownSet::Mnist => "mnist",
            KnownSet::FashionMnist => "fashion-mnist",
            KnownSet::Cifar10 => "cifar10",
            KnownSet::Mnist5k => "mnist-5k",
        }
    }

    /// The name in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            KnownSet::Mnist => "MNIST",
            KnownSet::FashionMnist => "Fashion-MNIST",
            KnownSet::Cifar10 => "CIFAR-10",
            KnownSet::Mnist5k => "MNIST sample",
        }
    }

    /// How many classes its pictures are of.
    pub fn classes(self) -> usize {
        self.class_names().len()
    }

    /// What the classes are called, in the order of their numbers.
    pub fn class_names(self) -> &'static [&'static str] {
        match self {
            KnownSet::Mnist | KnownSet::Mnist5k => &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            KnownSet::Cifar10 => &cifar::CLASSES,
            KnownSet::FashionMnist => &[
                "t-shirt",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle boot",
            ],
        }
    }

    /// What a mirror serves; empty where the repository ships the set.
    pub fn files(self) -> &'static [RemoteFile<'static>] {
        match self {
            KnownSet::Mnist => &MNIST,
            KnownSet::FashionMnist => &FASHION_MNIST,
            KnownSet::Cifar10 => &CIFAR10,
            KnownSet::Mnist5k => &[],
        }
    }

    /// Addresses to which a file's name is appended, the most dependable first.
    ///
    /// Plain http is no risk: every file is compared with its checksum.
    pub fn mirrors(self) -> &'static [&'static str] {
        match self {
            KnownSet::Mnist => &[
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "https://raw.githubusercontent.com/fgnt/mnist/master/",
            ],
            KnownSet::Cifar10 => &["https://www.cs.toronto.edu/~kriz/"],
            KnownSet::FashionMnist => &[
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ],
            KnownSet::Mnist5k => &[],
        }
    }

    /// The package of Debian and Ubuntu that brings the set, where there is one.
    pub fn package(self) -> Option<Package> {
        match self {
            KnownSet::FashionMnist => Some(Package {
                folder: "/usr/share/datasets/fashion-mnist",
                command: "apt-get install dataset-fashion-mnist",
            }),
            KnownSet::Mnist | KnownSet::Cifar10 | KnownSet::Mnist5k => None,
        }
    }

    /// True for the set that comes with the repository.
    pub fn is_shipped(self) -> bool {
        self == KnownSet::Mnist5k
    }

    /// In what other form a file that is missing would do, for a sentence.
    pub(super) fn other_forms(self) -> &'static str {
        match self {
            KnownSet::Mnist | KnownSet::FashionMnist | KnownSet::Mnist5k => "gzipped or plain",
            KnownSet::Cifar10 => "packed or unpacked, and so is cifar-10-python.tar.gz",
        }
    }

    /// The set's files that a folder lacks in every form; empty where all are there.
    pub fn missing_in(self, folder: &Path) -> Vec<&'static str> {
        match self {
            KnownSet::Mnist | KnownSet::FashionMnist | KnownSet::Mnist5k => mnist::missing_in(folder),
            KnownSet::Cifar10 if cifar::is_in(folder) => Vec::new(),
            KnownSet::Cifar10 => vec![cifar::ARCHIVE],
        }
    }

    /// Reads the set out of a folder and compares it with the pinned checksums.
    ///
    /// # Errors
    /// [`Error::BadFile`] where a file is missing, damaged, contradicts another, or is not this data set's.
    pub fn read(self, folder: impl Into<PathBuf>) -> Result<Dataset> {
        let folder = folder.into();
        match self {
            KnownSet::Mnist => mnist::read_known(self, mnist::MNIST, &folder),
            KnownSet::FashionMnist => mnist::read_known(self, mnist::FASHION_MNIST, &folder),
            KnownSet::Mnist5k => mnist::read_known(self, mnist::MNIST_5K, &folder),
            KnownSet::Cifar10 => cifar::read_known(&folder),
        }
    }
}

impl fmt::Display for KnownSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for KnownSet {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        KnownSet::ALL.into_iter().find(|set| set.name() == name).ok_or_else(|| {
            let known = KnownSet::ALL.map(KnownSet::name).join(", ");
            let near = KnownSet::ALL.into_iter().max_by(|a, b| {
                let likeness = |set: &KnownSet| strsim::jaro_winkler(set.name(), &name.to_lowercase());
                likeness(a).total_cmp(&likeness(b))
            });
            let hint = match near {
                Some(set) if strsim::jaro_winkler(set.name(), &name.to_lowercase()) > 0.8 => {
                    format!(" (did you mean {set}?)")
                }
                _ => String::new(),
            };
            Error::Invalid(format!("there is no data set {name:?}{hint}; known are {known}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_near_misses_get_a_hint() {
        for set in KnownSet::ALL {
            assert_eq!(set.name().parse::<KnownSet>().unwrap(), set);
        }
        let told = |name: &str| name.parse::<KnownSet>().unwrap_err().to_string();
        assert_eq!(
            told("imagenet-22k"),
            "there is no data set \"imagenet-22k\"; known are mnist, fashion-mnist, cifar10, mnist-5k"
        );
        assert!(told("MNIST").contains("did you mean mnist?"));
        assert!(told("fashion_mnist").contains("did you mean fashion-mnist?"));
    }

    #[test]
    fn every_downloadable_set_has_mirrors_and_well_formed_checksums() {
        for set in KnownSet::ALL {
            assert_eq!(set.is_shipped(), set.mirrors().is_empty());
            assert_eq!(set.is_shipped(), set.files().is_empty());
            assert!(set.mirrors().iter().all(|mirror| mirror.starts_with("http") && mirror.ends_with('/')));
            for file in set.files() {
                let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
                assert!(file.sha256.len() == 64 && file.sha256.chars().all(is_hex), "{}", file.name);
            }
        }
    }
}
