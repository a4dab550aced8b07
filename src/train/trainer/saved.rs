//! The newest checkpoint of a training: what a training that has lost its device goes on from.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::Trainer;
use crate::Error;

/// Where the training was saved last.
#[derive(Default)]
pub(super) struct Saved(Mutex<Option<PathBuf>>);

impl Trainer {
    /// From now on, `path` holds this training.
    pub(in crate::train) fn is_saved_at(&self, path: &Path) {
        *self.saved.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(path.to_path_buf());
    }

    /// `error`; where the device is lost, with the checkpoint that is left.
    pub(in crate::train) fn with_checkpoint(&self, error: Error) -> Error {
        match error {
            Error::Lost { reason, checkpoint: None } => {
                let checkpoint = self.saved.0.lock().unwrap_or_else(|e| e.into_inner()).clone();
                Error::Lost { reason, checkpoint }
            }
            other => other,
        }
    }
}
