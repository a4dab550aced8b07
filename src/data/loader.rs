//! Pictures that are decoded while the device computes: threads take places of the order in turn, a bounded number of
//! pictures waits, and batches come out in order. What a batch holds is a function of the order and its number alone.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use super::dataset::{Pictures, Split};
use super::order::Order;
use super::picture::{Cutter, Picture};
use super::transform::Transform;
use crate::error::{Error, Result};

/// How a [`Loader`] works; none of it changes what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Threads that decode; 0: as many as there are cores.
    pub workers: usize,
    /// Batches that are decoded ahead, at least 1.
    pub prefetch: usize,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions { workers: 0, prefetch: 4 }
    }
}

/// A batch as it goes to the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Bytes as [rows, H, W, C], not mirrored yet.
    pub pixels: Vec<u8>,
    /// `[rows]`
    pub labels: Vec<u32>,
    /// `[rows]`, whether left and right change places.
    pub flips: Vec<bool>,
}

/// A picture that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// How many pictures in a row may be damaged before the data set as a whole is taken to be.
const DAMAGED_IN_A_ROW: usize = 64;

/// Decodes a split on threads of its own, which end when it is dropped.
pub struct Loader {
    shared: Arc<Shared>,
    /// Held for a whole batch: two that ask at a time would take each other's pictures.
    asking: Mutex<()>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    split: Split,
    transform: Transform,
    channels: usize,
    size: [usize; 2],
    batch: usize,
    /// Pictures that may be decoded or under way and not yet taken.
    ahead: usize,
    state: Mutex<State>,
    /// There is room for more pictures, or the order has changed, or it is over.
    room: Condvar,
    /// A picture is ready.
    ready: Condvar,
}

/// A place in the orders that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Turn {
    order: Order,
    place: usize,
}

struct State {
    stopped: bool,
    /// The number of the first of `pictures`. Numbers only go up, so a thread that comes back with a picture that was
    /// given up meanwhile finds no place for it.
    number: u64,
    /// Whose turn the first of `pictures` is.
    first: Turn,
    /// Whose turn the next to be handed to a thread is.
    next: Turn,
    /// The order that `next` is in.
    order: Arc<Vec<u32>>,
    /// From `first` to `next`; none where it is under way.
    pictures: VecDeque<Option<Result<Ready>>>,
    /// Memory of pictures that were taken.
    spare: Vec<Vec<u8>>,
    skipped: BTreeMap<usize, Skipped>,
}

struct Ready {
    pixels: Vec<u8>,
    label: u32,
    flip: bool,
}

impl Loader {
    /// Starts decoding `split`, unshuffled, for batches of `batch` pictures of `size` [H, W] and `channels`.
    ///
    /// # Errors
    /// Where a batch, a size or the options make no sense, pictures in memory have other channels, or a thread cannot be
    /// started.
    pub fn new(
        split: Split,
        transform: Transform,
        channels: usize,
        size: [usize; 2],
        batch: usize,
        options: LoaderOptions,
    ) -> Result<Loader> {
        if batch == 0 || batch > split.len() || size.contains(&0) || options.prefetch == 0 {
            return Err(Error::Invalid(format!(
                "batches of {batch} out of {} pictures, {} ahead, of {size:?} [H, W]: none of these may be 0, and a batch \
                 not more than all",
                split.len(),
                options.prefetch
            )));
        }
        let own = split.shape().map_or(channels, |[channels, ..]| channels);
        if ![1, 3].contains(&channels) || own != channels {
            return Err(Error::Invalid(format!(
                "pictures of {own} channels cannot be decoded to {channels}: there are grey ones (1) and coloured ones (3)"
            )));
        }
        let workers = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let start = Turn { order: Order::Unshuffled, place: 0 };
        let state = State {
            stopped: false,
            number: 0,
            first: start,
            next: start,
            order: Arc::new(start.order.pictures(split.len())),
            pictures: VecDeque::new(),
            spare: Vec::new(),
            skipped: BTreeMap::new(),
        };
        let shared = Arc::new(Shared {
            transform,
            channels,
            size,
            batch,
            ahead: batch.saturating_mul(options.prefetch),
            state: Mutex::new(state),
            room: Condvar::new(),
            ready: Condvar::new(),
            split,
        });
        let mut loader = Loader { shared, asking: Mutex::new(()), threads: Vec::new() };
        for number in 0..workers {
            let shared = Arc::clone(&loader.shared);
            let thread =
                std::thread::Builder::new().name(format!("loader {number}")).spawn(move || shared.work());
            let thread = thread.map_err(|e| {
                Error::Invalid(format!("data.workers = {workers}: no thread can be started ({e})"))
            })?;
            loader.threads.push(thread);
        }
        Ok(loader)
    }

    /// Batch number `step` of an order, waiting until it is there. Batches that follow each other are decoded ahead, also
    /// into the next epoch; any other may be asked for, and takes as long as decoding it.
    ///
    /// # Errors
    /// Where the order has no such batch, a file cannot be read (damaged ones are skipped, but what the system refuses now
    /// may be there the next time), or too many pictures in a row cannot be used.
    pub fn batch(&self, order: Order, step: usize, into: &mut Batch) -> Result<()> {
        let _asking = self.asking.lock().unwrap_or_else(|e| e.into_inner());
        let shared = &*self.shared;
        let count = shared.split.len();
        let place = step.saturating_mul(shared.batch);
        if place >= count {
            return Err(Error::Invalid(format!(
                "there is no batch {step} of {} in {count} pictures",
                shared.batch
            )));
        }
        let rows = shared.batch.min(count - place);
        into.pixels.clear();
        into.labels.clear();
        into.flips.clear();
        let mut state = shared.lock();
        if state.first != (Turn { order, place }) {
            state.seek(Turn { order, place }, count);
            shared.room.notify_all();
        }
        for _ in 0..rows {
            let picture = loop {
                match state.pictures.front() {
                    Some(Some(_)) => break state.pictures.pop_front().flatten(),
                    _ => state = shared.ready.wait(state).unwrap_or_else(|e| e.into_inner()),
                }
            };
            state.number += 1;
            state.first = state.first.following(shared.batch, count);
            shared.room.notify_one();
            if let Some(ready) = picture {
                let ready = match ready {
                    Ok(ready) => ready,
                    Err(error) => {
                        // So that asking again decodes again.
                        let first = state.first;
                        state.seek(first, count);
                        return Err(error);
                    }
                };
                into.pixels.extend_from_slice(&ready.pixels);
                into.labels.push(ready.label);
                into.flips.push(ready.flip);
                state.spare.push(ready.pixels);
            }
        }
        Ok(())
    }

    /// The pictures that could not be used so far, in the order of the split.
    pub fn skipped(&self) -> Vec<Skipped> {
        self.shared.lock().skipped.values().cloned().collect()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl Turn {
    /// Whose turn it is then. A shuffled order ends with its last whole batch: what is left over waits for the next
    /// shuffle, unless it was asked for.
    fn following(self, batch: usize, count: usize) -> Turn {
        let whole = count / batch * batch;
        let end = if self.order != Order::Unshuffled && self.place < whole { whole } else { count };
        match self.place + 1 {
            place if place < end => Turn { place, ..self },
            _ => Turn { order: self.order.next(), place: 0 },
        }
    }
}

impl State {
    fn seek(&mut self, to: Turn, count: usize) {
        if self.next.order != to.order {
            self.order = Arc::new(to.order.pictures(count));
        }
        self.number += self.pictures.len() as u64;
        self.pictures.clear();
        (self.first, self.next) = (to, to);
    }
}

impl Shared {
    /// A thread that panicked while it held the lock left nothing half done: every change is one statement.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn work(&self) {
        let mut cutter = Cutter::default();
        let count = self.split.len();
        loop {
            let mut state = self.lock();
            while !state.stopped && state.pictures.len() >= self.ahead {
                state = self.room.wait(state).unwrap_or_else(|e| e.into_inner());
            }
            if state.stopped {
                return;
            }
            let (number, turn) = (state.number + state.pictures.len() as u64, state.next);
            let picture = state.order[turn.place] as usize;
            state.pictures.push_back(None);
            state.next = turn.following(self.batch, count);
            if state.next.order != turn.order {
                state.order = Arc::new(state.next.order.pictures(count));
            }
            let memory = state.spare.pop().unwrap_or_default();
            drop(state);
            // Whoever waits for the picture would wait for ever if the thread ended without one.
            let made = catch_unwind(AssertUnwindSafe(|| self.make(turn.order, picture, memory, &mut cutter)));
            let made = made.unwrap_or_else(|_| {
                cutter = Cutter::default();
                Err(Error::Invalid(format!(
                    "making picture {picture} of the data set ready panicked: a bug, whose place stands above"
                )))
            });
            let mut state = self.lock();
            if let Some(slot) = number.checked_sub(state.number) {
                state.pictures[slot as usize] = Some(made);
                self.ready.notify_one();
            }
        }
    }

    /// What a picture becomes in this epoch. One that cannot be used is noted, and the next one of the split that can
    /// stands in for it, with its own label: so an epoch has as many pictures as before, whatever is found when. That is for
    /// what stands in the files alone. A file that the system does not give this time ends it, because skipping it would
    /// make other batches of the same seed.
    fn make(&self, order: Order, picture: usize, memory: Vec<u8>, cutter: &mut Cutter) -> Result<Ready> {
        let mut pixels = memory;
        pixels.resize(self.size[0] * self.size[1] * self.channels, 0);
        let count = self.split.len();
        for offset in 0..count.min(DAMAGED_IN_A_ROW) {
            let picture = (picture + offset) % count;
            match self.usable(picture) {
                Ok(decoded) => {
                    let view = self.transform.view([decoded.height, decoded.width], order.chance(picture));
                    cutter.cut(&decoded, &view, self.size, &mut pixels)?;
                    return Ok(Ready { pixels, label: self.split.labels[picture], flip: view.flip });
                }
                Err(Error::BadFile { path, message }) => self.skip(picture, path, message),
                Err(error) => return Err(error),
            }
        }
        Err(Error::Invalid(format!(
            "{} pictures in a row cannot be used, of {count}; the first: {}",
            count.min(DAMAGED_IN_A_ROW),
            self.lock().skipped.get(&picture).map_or(String::new(), |s| format!(
                "{}: {}",
                s.path.display(),
                s.reason
            ))
        )))
    }

    /// A picture that the steps can be carried out on; [`Error::BadFile`] where what is in its file is none.
    fn usable(&self, picture: usize) -> Result<Picture> {
        // A decoder's bug must not take the training with it. The same file sets it off every time.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.picture(picture)))
            .unwrap_or_else(|_| Err(Error::bad_file(self.path(picture), "the decoder panicked")))?;
        match self.transform.refuses([decoded.height, decoded.width]) {
            Some(reason) => Err(Error::bad_file(self.path(picture), reason)),
            None => Ok(decoded),
        }
    }

    fn picture(&self, picture: usize) -> Result<Picture> {
        match &self.split.pictures {
            Pictures::Files(files) => Picture::read(&files[picture], self.channels),
            Pictures::Memory { shape: [channels, height, width], bytes } => {
                let (channels, height, width) = (*channels, *height, *width);
                let area = height * width;
                let planes = &bytes[picture * channels * area..][..channels * area];
                let mut pixels = vec![0; planes.len()];
                for (channel, plane) in planes.chunks_exact(area).enumerate() {
                    for (pixel, value) in pixels.chunks_exact_mut(channels).zip(plane) {
                        pixel[channel] = *value;
                    }
                }
                Ok(Picture { pixels, height, width, channels })
            }
        }
    }

    fn skip(&self, picture: usize, path: PathBuf, reason: String) {
        let mut state = self.lock();
        state.skipped.entry(picture).or_insert_with(|| {
            log::warn!("{}: {reason}; it is skipped", path.display());
            Skipped { path, reason }
        });
    }

    fn path(&self, picture: usize) -> PathBuf {
        match &self.split.pictures {
            Pictures::Files(files) => files[picture].clone(),
            Pictures::Memory { .. } => format!("picture {picture}").into(),
        }
    }
}
