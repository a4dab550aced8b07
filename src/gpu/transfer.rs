//! Bytes to the device and back. Reading does not stop the stream: a [`Readback`] is asked for now and
//! looked at later.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::device::{Gpu, lock};
use super::pool::{Buffer, POISON};
use crate::{Error, Result};

/// Bytes on their way from the device.
pub struct Readback {
    gpu: Gpu,
    staging: wgpu::Buffer,
    /// Where the bytes that were asked for lie in what was copied; around them are guard zones, if there are any.
    place: std::ops::Range<usize>,
    submission: wgpu::SubmissionIndex,
    answer: Arc<Answer>,
}

/// Where the device's answer is put, by whichever thread polls.
#[derive(Default)]
struct Answer {
    state: Mutex<MapState>,
    arrived: Condvar,
}

/// How long an answer may be in another thread's hands after the device is done.
const HANDOVER: Duration = Duration::from_secs(10);

#[derive(Default)]
struct MapState {
    outcome: Option<Result<(), wgpu::BufferAsyncError>>,
    waker: Option<Waker>,
}

impl Readback {
    /// The bytes if they have arrived. Never waits.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn try_take(&mut self) -> Result<Option<Vec<u8>>> {
        self.gpu.poll(wgpu::PollType::Poll)?;
        self.take()
    }

    /// Waits for the bytes, and not for what was asked for after them.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn wait(mut self) -> Result<Vec<u8>> {
        self.gpu.wait_for(Some(self.submission.clone()))?;
        // Another thread that waited too may have been given this answer, and be about to deliver it.
        let state = lock(&self.answer.state);
        let delivered = self.answer.arrived.wait_timeout_while(state, HANDOVER, |s| s.outcome.is_none());
        drop(delivered);
        self.take()?.ok_or_else(|| Error::Gpu("the GPU is done and has not answered a read".into()))
    }

    fn take(&mut self) -> Result<Option<Vec<u8>>> {
        let outcome = lock(&self.answer.state).outcome.take();
        let Some(outcome) = outcome else { return self.gpu.check().map(|()| None) };
        self.gpu.check()?;
        outcome.map_err(|e| Error::Gpu(format!("reading from the GPU failed: {e}")))?;
        let view = self.staging.get_mapped_range(..);
        let view = view.map_err(|e| Error::Gpu(format!("reading from the GPU failed: {e}")))?;
        intact(&view, &self.place)?;
        Ok(Some(view[self.place.clone()].to_vec()))
    }
}

/// Nothing was stored outside of the bytes at `place`: what lies around them is still poison.
fn intact(copied: &[u8], place: &std::ops::Range<usize>) -> Result<()> {
    // A shader that stores four values at once may reach to the end of the binding.
    let behind = place.end.next_multiple_of(16).min(copied.len());
    let around = (0..place.start).chain(behind..copied.len());
    let poison = POISON.to_le_bytes();
    match around.into_iter().find(|&at| copied[at] != poison[at % 4]) {
        None => Ok(()),
        Some(at) => Err(Error::Mismatch(format!(
            "a kernel stored outside of its buffer: at byte {} of a buffer of {} bytes",
            at as i64 - place.start as i64,
            place.len()
        ))),
    }
}

impl Future for Readback {
    type Output = Result<Vec<u8>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.try_take() {
            Ok(Some(bytes)) => Poll::Ready(Ok(bytes)),
            Err(e) => Poll::Ready(Err(e)),
            Ok(None) => {
                lock(&self.answer.state).waker = Some(context.waker().clone());
                // Native devices make progress only when they are polled; browsers do it by themselves.
                #[cfg(not(target_arch = "wasm32"))]
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Gpu {
    /// A buffer with these bytes in it (padded with zeros to a multiple of 4).
    ///
    /// # Errors
    /// As [`Gpu::alloc`] and [`Gpu::write`].
    pub fn upload(&self, bytes: &[u8]) -> Result<Buffer> {
        let buffer = self.alloc(bytes.len() as u64)?;
        self.write(&buffer, bytes)?;
        Ok(buffer)
    }

    /// Replaces the content of `buffer`, behind everything asked for before.
    ///
    /// # Errors
    /// Where `bytes` is longer than the buffer, and inside a recording.
    pub fn write(&self, buffer: &Buffer, bytes: &[u8]) -> Result<()> {
        self.refuse_foreign(buffer)?;
        self.refuse_while_recording("writing from the host")?;
        if bytes.len() as u64 > buffer.bytes() {
            return Err(Error::Gpu(format!(
                "{} bytes were written to a buffer of {} bytes",
                bytes.len(),
                buffer.bytes()
            )));
        }
        // The queue would put the write before what is not submitted yet.
        self.flush()?;
        let whole = bytes.len() / 4 * 4;
        self.watch(|| {
            if whole > 0 {
                self.0.queue.write_buffer(buffer.raw(), buffer.offset(), &bytes[..whole]);
            }
            if whole < bytes.len() {
                let mut last = [0u8; 4];
                last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
                self.0.queue.write_buffer(buffer.raw(), buffer.offset() + whole as u64, &last);
            }
        })
    }

    /// Asks for the content of `buffer` as it is after everything asked for before.
    ///
    /// # Errors
    /// Where the device has failed, and inside a recording.
    pub fn start_read(&self, buffer: &Buffer) -> Result<Readback> {
        self.refuse_foreign(buffer)?;
        self.refuse_while_recording("reading")?;
        // A buffer between guard zones is read with them.
        let guard = buffer.offset();
        let tail = if guard > 0 { buffer.bound_bytes() - buffer.bytes() + guard } else { 0 };
        let copied = guard + buffer.bytes() + tail;
        self.flush()?;
        let answer = Arc::new(Answer::default());
        let shared = answer.clone();
        let (staging, submission) = self.watch(|| {
            let staging = self.0.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("simqat read"),
                size: copied,
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                mapped_at_creation: false,
            });
            let mut encoder = self.0.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(buffer.raw(), 0, &staging, 0, copied);
            let submission = self.0.queue.submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, .., move |outcome| {
                let mut state = lock(&shared.state);
                state.outcome = Some(outcome);
                shared.arrived.notify_all();
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            });
            (staging, submission)
        })?;
        let place = guard as usize..(guard + buffer.bytes()) as usize;
        Ok(Readback { gpu: self.clone(), staging, place, submission, answer })
    }

    /// Reads `buffer`, waiting for everything asked for before.
    ///
    /// # Errors
    /// Where the device has failed, and inside a recording.
    pub fn read(&self, buffer: &Buffer) -> Result<Vec<u8>> {
        self.start_read(buffer)?.wait()
    }
}
