//! The one error type. Each variant is a sentence: what was wrong, where, and what to do.

use std::path::{Path, PathBuf};

/// What the library answers where something did not work.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, sorted by whose move is next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option, a recipe key or an argument has a value that cannot be used.
    #[error("{0}")]
    Invalid(String),
    /// A file's content is not what it should be; the place is a path, with an offset where one helps.
    #[error("{path}: {message}", path = path.display())]
    BadFile {
        /// The file that was read.
        path: PathBuf,
        /// What is wrong with it and what to do.
        message: String,
    },
    /// Shapes that do not go together, as [N, C, H, W] or [rows, columns].
    #[error("{0}")]
    Shape(String),
    /// The operating system refused to read or write a file.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No adapter answers, or none of the wanted name.
    #[error("{0}")]
    NoAdapter(String),
    /// The GPU went away or refused a command.
    #[error("{0}")]
    Gpu(String),
    /// The device is gone: its driver was reset, the machine slept, or a host has destroyed it. Whatever is asked of it from then
    /// on is answered by this.
    #[error(
        "the GPU was lost ({reason}); what is in main memory and in files is whole: open a device again and go on from {from}",
        from = newest(checkpoint)
    )]
    Lost {
        /// What is known of why.
        reason: String,
        /// The newest checkpoint of the training that was asked, if it has one.
        checkpoint: Option<PathBuf>,
    },
    /// The text of a kernel, or what is bound to it, is wrong.
    #[error("shader \"{name}\"{at}: {message}", at = at_line(*line))]
    Shader {
        /// What its launch calls it.
        name: String,
        /// The line of its text, from 1, where one is to blame.
        line: Option<u32>,
        /// What is wrong with it.
        message: String,
    },
    /// What was computed is not what it should be: the device, its driver or a kernel is wrong.
    #[error("{0}")]
    Mismatch(String),
    /// The GPU has no room for a tensor.
    #[error("{message}")]
    Memory {
        /// How much was asked for, what there is, and what to do.
        message: String,
        /// Bytes of the tensor.
        asked: u64,
        /// What stands in its way.
        limit: MemoryLimit,
    },
    /// Training had to stop: the loss or a parameter is not a finite number.
    #[error("{0}")]
    Diverged(String),
    /// A download did not work from any mirror.
    #[error("{0}")]
    Download(String),
}

/// What keeps a tensor from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// One tensor can have so many bytes on this adapter.
    Tensor(u64),
    /// The device has no more beside so many bytes that are in use.
    Device(u64),
}

fn newest(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => path.display().to_string(),
        None => "the last checkpoint".into(),
    }
}

fn at_line(line: Option<u32>) -> String {
    line.map_or(String::new(), |line| format!(", line {line}"))
}

impl Error {
    /// An error about a file's content.
    pub fn bad_file(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Error::BadFile { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    /// An operating-system error with the path that it is about.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// True where what was given (an option, a file, a place to write, a learning rate) must change before a second
    /// try can work.
    ///
    /// The program ends with exit code 2 for these, and 1 where the device or the network failed: then the same
    /// call may work later.
    pub fn is_bad_input(&self) -> bool {
        match self {
            Error::Invalid(_)
            | Error::BadFile { .. }
            | Error::Shape(_)
            | Error::NoAdapter(_)
            | Error::Io { .. }
            | Error::Memory { .. }
            | Error::Shader { .. }
            | Error::Diverged(_) => true,
            Error::Gpu(_) | Error::Lost { .. } | Error::Mismatch(_) | Error::Download(_) => false,
        }
    }
}
