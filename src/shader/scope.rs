//! What a device says of the calls of one thread, caught where they are made.
//!
//! Scopes of errors belong to a thread and nest, so they take nothing from handlers that a host has set: an error in here is
//! simply none that the host hears of. Without them a device ends its process at the first error if nobody has set a handler.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What `work` gives, and the first error that the device reported meanwhile to this thread.
///
/// A browser says later what it thinks, and not in here: there the answer is `None`.
pub(crate) fn watched<T>(device: &wgpu::Device, work: impl FnOnce() -> T) -> (T, Option<wgpu::Error>) {
    let filters =
        [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let made = work();
    let mut first = None;
    // All of them, in reverse order.
    for scope in scopes.into_iter().rev() {
        let said = answer_of(scope.pop()).flatten();
        first = first.or(said);
    }
    (made, first)
}

/// What a future holds that is ready at once.
pub(crate) fn answer_of<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// A device's error in a line: what it says of it over several.
pub(crate) fn in_a_line(error: &wgpu::Error) -> String {
    let whole = match error {
        wgpu::Error::OutOfMemory { .. } => return "the device has no memory left".into(),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            description
        }
    };
    let lines = whole.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = lines.filter(|line| !["Validation Error", "Internal Error", "Caused by:"].contains(line));
    telling.collect::<Vec<_>>().join(": ")
}
