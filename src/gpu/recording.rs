//! Recording a run of the stream, and running it again without the host's work.

use std::thread;

use super::device::{Gpu, lock};
use super::pool::{ArenaId, Buffer};
use super::stream::Command;
use crate::{Error, Result};

/// What a recording collects.
pub(super) struct Capture {
    arena: ArenaId,
    commands: Vec<Command>,
    /// Buffers from outside: they must not be reused by others while the recording can be replayed. Those
    /// of the recording's own arena may, and must, be reused within it.
    outside: Vec<Buffer>,
}

impl Capture {
    pub fn push(&mut self, command: Command, buffers: &[Buffer]) {
        self.commands.push(command);
        for buffer in buffers {
            let ours = buffer.home() == Some(self.arena);
            if !ours && !self.outside.iter().any(|b| b.same(buffer)) {
                self.outside.push(buffer.clone());
            }
        }
    }
}

/// Dispatches that can be submitted again, with the memory that they use.
///
/// What should differ from one replay to the next (the batch, the learning rate, counters) must be data in
/// buffers: sizes and constants are fixed.
pub struct Recording {
    gpu: Gpu,
    arena: ArenaId,
    commands: Vec<Command>,
    _outside: Vec<Buffer>,
}

impl Recording {
    /// Runs everything recorded once more.
    ///
    /// # Errors
    /// Where the device has failed, or this thread is making another recording.
    pub fn replay(&self) -> Result<()> {
        self.gpu.check()?;
        let mut stream = lock(&self.gpu.0.stream);
        if stream.captures.contains_key(&thread::current().id()) {
            return Err(Error::Gpu("a recording cannot be replayed while another is being made".into()));
        }
        stream.flush(&self.gpu)?;
        stream.submit(&self.gpu, &self.commands)?;
        Ok(())
    }

    /// Dispatches and copies in it.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// True where nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        lock(&self.gpu.0.pool).dissolve(self.arena);
    }
}

impl Gpu {
    /// Records what `work` asks of this device, instead of running it.
    ///
    /// `work` may not read or write from the host. Its results get their values at the first replay, and new
    /// ones at each. A recording is its thread's: what other threads ask of the device meanwhile runs as ever, also where
    /// `work` has started them.
    ///
    /// # Errors
    /// What `work` returns, or where this thread is making a recording already, or the device has failed.
    pub fn record<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(Recording, T)> {
        {
            self.check()?;
            let mut stream = lock(&self.0.stream);
            let thread = thread::current().id();
            if stream.captures.contains_key(&thread) {
                return Err(Error::Gpu("recordings cannot be nested".into()));
            }
            stream.flush(self)?;
            let arena = lock(&self.0.pool).enter_arena();
            let capture = Capture { arena, commands: Vec::new(), outside: Vec::new() };
            stream.captures.insert(thread, capture);
        }
        let stop = StopOnDrop(self);
        let result = work();
        let capture = stop.finish().ok_or_else(|| Error::Gpu("the recording was lost".into()))?;
        let recording = Recording {
            gpu: self.clone(),
            arena: capture.arena,
            commands: capture.commands,
            _outside: capture.outside,
        };
        Ok((recording, result?))
    }

    fn stop_recording(&self) -> Option<Capture> {
        let mut stream = lock(&self.0.stream);
        lock(&self.0.pool).leave_arena();
        stream.captures.remove(&thread::current().id())
    }

    pub(super) fn refuse_while_recording(&self, what: &str) -> Result<()> {
        if lock(&self.0.stream).captures.contains_key(&thread::current().id()) {
            return Err(Error::Gpu(format!("{what} is not possible inside a recording")));
        }
        Ok(())
    }
}

/// Ends the recording also when `work` panics, so that the device stays usable.
struct StopOnDrop<'a>(&'a Gpu);

impl StopOnDrop<'_> {
    /// Once only: there is nothing to end a second time.
    fn finish(self) -> Option<Capture> {
        let gpu = self.0;
        std::mem::forget(self);
        gpu.stop_recording()
    }
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(capture) = self.0.stop_recording() {
            lock(&self.0.0.pool).dissolve(capture.arena);
        }
    }
}
