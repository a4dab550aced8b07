//! Who hears what: people on stderr, results on stdout.

use std::io::{ErrorKind, IsTerminal, Write};

use simqat::{Error, Result};

use super::Global;

/// Where text goes.
pub struct Console {
    pub json: bool,
    quiet: bool,
}

impl Console {
    pub fn new(global: &Global) -> Console {
        Console { json: global.json, quiet: global.quiet }
    }

    /// A line for who watches.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            to_stderr(text.as_ref());
        }
    }

    /// A line that also a quiet program prints.
    pub fn insist(&self, text: impl AsRef<str>) {
        to_stderr(text.as_ref());
    }

    /// Something that may surprise later.
    pub fn warn(&self, text: impl AsRef<str>) {
        to_stderr(&format!("warning: {}", text.as_ref()));
    }

    /// What ended the program.
    pub fn error(&self, error: &Error) {
        to_stderr(&format!("error: {error}"));
    }

    /// Results as people read them: on stdout, or beside it where a program reads that.
    pub fn result(&self, text: &str) -> Result<()> {
        if self.json {
            self.say(text);
            return Ok(());
        }
        to_stdout(text)
    }

    /// Results as one line for programs, where that was asked for.
    pub fn result_json(&self, value: &impl serde::Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string(value)
            .map_err(|e| Error::Invalid(format!("the results are no JSON: {e}")))?;
        to_stdout(&text)
    }

    /// True where a bar can be drawn and is wanted.
    pub fn draws(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }
}

fn to_stderr(text: &str) {
    // Nobody is left to be told that stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn to_stdout(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        // Who closed the pipe (`| head`) has read enough.
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Error::io("<stdout>")),
    }
}
