//! Ctrl-C: the first ends a training after its step, the second ends the program.

use simqat::train::StopFlag;
use simqat::{Error, Result};

/// 128 + SIGINT, as shells say it: a script can tell "interrupted" from "failed".
pub const INTERRUPTED: u8 = 130;

/// A flag that Ctrl-C (or a polite kill) raises. Until this is called, Ctrl-C ends the program as usual.
pub fn stop_flag() -> Result<StopFlag> {
    let stop = StopFlag::default();
    let raised = stop.clone();
    ctrlc::set_handler(move || {
        if raised.is_stopped() {
            std::process::exit(INTERRUPTED.into());
        }
        raised.stop();
        eprintln!("\nstopping after this step, with a checkpoint; press Ctrl-C again to stop at once");
    })
    .map_err(|e| Error::Invalid(format!("Ctrl-C cannot be watched: {e}")))?;
    Ok(stop)
}
