//! Whether the device still answers, and what it said of what was asked of it.
//!
//! A device can be lost at any time: its driver is reset, the machine sleeps, a host destroys it. wgpu tells only handlers, of
//! which a host's device has the host's, and otherwise ends the process at the next call that uses what has gone. So calls are
//! made within scopes of errors, which take nothing from a host's handlers, and the device is asked whether it is there.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use super::device::{Gpu, lock};
use crate::shader::{answer_of, in_a_line, watched};
use crate::{Error, Result};

/// What is known of a device's state.
pub(super) struct Health {
    /// A buffer that is asked for and taken back at once: a lost device refuses it.
    probe: Mutex<wgpu::Buffer>,
    /// Why the device is gone, from when that was found.
    lost: OnceLock<String>,
    /// An error after which what is in buffers is not what was asked for. Reported for ever.
    fault: Arc<Mutex<Option<String>>>,
    /// The device's handlers are this library's.
    listens: AtomicBool,
    /// Why the device was lost, as it told our handler.
    told: Arc<Mutex<Option<String>>>,
}

impl Health {
    pub fn of(device: &wgpu::Device) -> Self {
        // Nothing is wrong with a device that was lost before it came here; it is found so at the first call.
        let (probe, _) = watched(device, || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("simqat probe"),
                size: 16,
                usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
                mapped_at_creation: false,
            })
        });
        Health {
            probe: Mutex::new(probe),
            lost: OnceLock::new(),
            fault: Arc::default(),
            listens: AtomicBool::new(false),
            told: Arc::default(),
        }
    }

    /// Takes the handlers of a device that is this library's own.
    pub fn listen(&self, device: &wgpu::Device) {
        self.listens.store(true, Ordering::Relaxed);
        let fault = self.fault.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&fault).get_or_insert_with(|| in_a_line(&error));
        }));
        let told = self.told.clone();
        device.set_device_lost_callback(move |reason, message| {
            let why = if reason == wgpu::DeviceLostReason::Destroyed { DESTROYED } else { message.trim() };
            lock(&told).get_or_insert_with(|| why.to_string());
        });
    }

    /// False where the device refuses what any device can do. Does not wait.
    fn answers(&self, device: &wgpu::Device) -> bool {
        // A browser answers later, and loses its devices through its own handlers.
        if cfg!(target_arch = "wasm32") {
            return true;
        }
        let probe = lock(&self.probe);
        let refused = Arc::new(AtomicBool::new(false));
        let (answer, asker) = (refused.clone(), thread::current().id());
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        probe.map_async(wgpu::MapMode::Read, .., move |outcome| {
            // Whoever polls delivers later answers; a refusal comes at once.
            let is_refusal = outcome.is_err() && thread::current().id() == asker;
            answer.fetch_or(is_refusal, Ordering::Relaxed);
        });
        let was_refused = refused.load(Ordering::Relaxed);
        let error = answer_of(scope.pop()).flatten();
        // What is taken back is answered with an error too, and another thread's poll may be about to map it.
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        probe.unmap();
        drop(scope);
        // Of its loss alone a device says nothing to scopes. One that is there may say that the buffer is still mapped.
        !was_refused || error.is_some()
    }
}

/// As a reason.
const DESTROYED: &str = "it was destroyed";

impl Gpu {
    /// As [`Gpu::check`], without asking the device.
    pub(super) fn check_what_is_known(&self) -> Result<()> {
        let health = &self.0.health;
        if let Some(reason) = health.lost.get() {
            return Err(Error::Lost { reason: reason.clone(), checkpoint: None });
        }
        match &*lock(&health.fault) {
            Some(message) => Err(Error::Gpu(message.clone())),
            None => Ok(()),
        }
    }

    /// Fails where the device is gone, or has failed at something that was asked of it.
    pub(crate) fn check(&self) -> Result<()> {
        let health = &self.0.health;
        if health.lost.get().is_some() || health.answers(&self.0.device) {
            return self.check_what_is_known();
        }
        if health.listens.load(Ordering::Relaxed) {
            // Lets our handler hear why. A host's are called when somebody waits.
            let _ = catch_unwind(AssertUnwindSafe(|| self.0.device.poll(wgpu::PollType::Poll)));
        }
        let reason = health.lost.get_or_init(|| {
            let told = lock(&health.told).take().filter(|why| !why.is_empty());
            told.unwrap_or_else(|| format!("{DESTROYED}, or its driver was reset"))
        });
        Err(Error::Lost { reason: reason.clone(), checkpoint: None })
    }

    /// Runs calls of wgpu; what the device says against them is the error.
    pub(super) fn watch<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        match watched(&self.0.device, work) {
            (made, None) => Ok(made),
            (_, Some(error)) => Err(self.told(&error)),
        }
    }

    /// What to say of an error of the device: that it is gone, if it is.
    pub(super) fn told(&self, error: &wgpu::Error) -> Error {
        self.check().err().unwrap_or_else(|| Error::Gpu(in_a_line(error)))
    }

    /// As [`Gpu::watch`], for work behind which buffers are not what they should be if it fails: all that follows fails too.
    pub(super) fn watch_for_good<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.watch(work).inspect_err(|error| {
            lock(&self.0.health.fault).get_or_insert_with(|| error.to_string());
        })
    }

    /// Lets the device's answers arrive, or waits for them.
    pub(super) fn poll(&self, kind: wgpu::PollType) -> Result<()> {
        // wgpu panics where the driver gives up while it is waited for.
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.device.poll(kind)));
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self
                .check()
                .err()
                .unwrap_or_else(|| Error::Gpu(format!("waiting for the GPU failed: {error}")))),
            Err(panic) => match self.check() {
                Err(error) => Err(error),
                // Somebody's handler, which the device has called.
                Ok(()) => resume_unwind(panic),
            },
        }
    }
}
