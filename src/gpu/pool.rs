//! Buffers that are used again: dropping one gives its memory to the next of its size.
//!
//! This is safe without waiting because all work goes through one stream: whoever gets the memory next can
//! only write to it behind everything that read it. A recording must be alone with its memory, since replaying
//! it writes there again; so what its thread allocates while recording belongs to the recording's arena for as long
//! as that lives, and is handed out again only within it. This reuse is the whole memory plan of graph mode.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::device::{Gpu, lock};
use super::mebibytes;
use crate::shader::answer_of;
use crate::{Error, MemoryLimit, Result};

/// Bytes of GPU memory that tensors take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// In use now.
    pub live: u64,
    /// Taken from the device, in use or waiting for reuse.
    pub reserved: u64,
    /// The most that was ever in use.
    pub peak: u64,
}

/// One allocation of the device.
pub(super) struct Slab {
    pub raw: wgpu::Buffer,
    pub bytes: u64,
    pub id: u64,
}

pub(super) type ArenaId = u64;
/// A NaN that no arithmetic makes.
pub(crate) const POISON: u32 = 0x7fc0_dead;
/// Bytes on either side of a poisoned buffer that no kernel may touch: what every alignment rule of WebGPU divides.
pub(super) const GUARD: u64 = 256;

type FreeList = HashMap<u64, Vec<Slab>>;

#[derive(Default)]
pub(super) struct Pool {
    free: FreeList,
    arenas: HashMap<ArenaId, FreeList>,
    /// The arena of the recording that a thread makes.
    current: HashMap<ThreadId, ArenaId>,
    usage: MemoryUse,
    next_id: u64,
    /// Most bytes to take from the device.
    limit: Option<u64>,
}

impl Pool {
    pub fn limited_to(limit: Option<u64>) -> Self {
        Pool { limit, ..Pool::default() }
    }

    pub fn usage(&self) -> MemoryUse {
        self.usage
    }

    /// From here on, this thread's allocations belong to a new arena.
    pub fn enter_arena(&mut self) -> ArenaId {
        self.next_id += 1;
        self.arenas.insert(self.next_id, FreeList::new());
        self.current.insert(thread::current().id(), self.next_id);
        self.next_id
    }

    pub fn leave_arena(&mut self) {
        self.current.remove(&thread::current().id());
    }

    /// Where this thread's allocations belong.
    fn home(&self) -> Option<ArenaId> {
        self.current.get(&thread::current().id()).copied()
    }

    /// The recording is gone: what it does not still lend out may serve anybody.
    pub fn dissolve(&mut self, arena: ArenaId) {
        for (class, slabs) in self.arenas.remove(&arena).into_iter().flatten() {
            self.free.entry(class).or_default().extend(slabs);
        }
    }

    /// `None` where the device has no memory left.
    fn take(&mut self, device: &wgpu::Device, class: u64) -> Option<Slab> {
        let arena = self.home().and_then(|a| self.arenas.get_mut(&a));
        let reused = arena
            .and_then(|a| a.get_mut(&class).and_then(Vec::pop))
            .or_else(|| self.free.get_mut(&class).and_then(Vec::pop));
        let slab = match reused {
            Some(slab) => slab,
            None => {
                if self.limit.is_some_and(|limit| self.usage.reserved + class > limit) {
                    return None;
                }
                let raw = create(device, class)?;
                self.next_id += 1;
                self.usage.reserved += class;
                Slab { raw, bytes: class, id: self.next_id }
            }
        };
        self.usage.live += slab.bytes;
        self.usage.peak = self.usage.peak.max(self.usage.live);
        Some(slab)
    }

    fn give(&mut self, slab: Slab, home: Option<ArenaId>) {
        self.usage.live -= slab.bytes;
        let list = home.and_then(|a| self.arenas.get_mut(&a)).unwrap_or(&mut self.free);
        list.entry(slab.bytes).or_default().push(slab);
    }

    fn trim(&mut self) {
        for (class, slabs) in self.free.drain() {
            self.usage.reserved -= class * slabs.len() as u64;
        }
    }
}

/// A buffer, unless the device says at once that it has no memory for it. (A browser says so later, to whoever
/// listens to the device.)
fn create(device: &wgpu::Device, bytes: u64) -> Option<wgpu::Buffer> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let raw = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("simqat pool"),
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    match answer_of(scope.pop()).flatten() {
        Some(_) => None,
        None => Some(raw),
    }
}

/// Sizes are rounded up so that near sizes share memory: to four steps per doubling, and to 256 bytes, which
/// every alignment rule of WebGPU divides.
fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(1).next_multiple_of(256);
    let step = (bytes.next_power_of_two() / 8).max(256);
    bytes.next_multiple_of(step)
}

/// GPU memory that goes back to the pool when the last handle is dropped.
#[derive(Clone)]
pub struct Buffer(Arc<Shared>);

struct Shared {
    gpu: Gpu,
    bytes: u64,
    /// Where its bytes begin in the slab: after a guard zone if it has one.
    offset: u64,
    slab: Option<Slab>,
    home: Option<ArenaId>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(slab) = self.slab.take() {
            lock(&self.gpu.0.pool).give(slab, self.home);
        }
    }
}

impl Buffer {
    /// Length in bytes, a multiple of 4.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// The device that it is on.
    pub fn gpu(&self) -> &Gpu {
        &self.0.gpu
    }

    /// Two handles of the same memory.
    pub fn same(&self, other: &Buffer) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn home(&self) -> Option<ArenaId> {
        self.0.home
    }

    fn slab(&self) -> &Slab {
        match &self.0.slab {
            Some(slab) => slab,
            None => unreachable!("the slab leaves only when the last handle is dropped"),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.slab().id
    }

    /// The wgpu buffer behind it, which may be longer than [`Buffer::bytes`]: for a host that shares the device.
    /// The bytes begin at [`Buffer::offset`].
    pub fn raw(&self) -> &wgpu::Buffer {
        &self.slab().raw
    }

    /// The place of the first byte in [`Buffer::raw`]: 0, but on a device with [`GpuOptions::poison`](super::GpuOptions::poison).
    pub fn offset(&self) -> u64 {
        self.0.offset
    }

    /// What a binding takes: the length, rounded up to the 16 bytes that a shader reads at once. What follows is other
    /// tensors' past or a guard zone, and a checked shader cannot see it.
    pub(super) fn bound_bytes(&self) -> u64 {
        self.0.bytes.next_multiple_of(16)
    }

    pub(super) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: self.raw(),
            offset: self.0.offset,
            size: wgpu::BufferSize::new(self.bound_bytes()),
        })
    }
}

impl Gpu {
    /// Memory for `bytes` bytes (rounded up to a multiple of 4), with whatever was in it before.
    ///
    /// # Errors
    /// Where one binding cannot be as large on this adapter, the device has no memory left, or it has failed.
    pub fn alloc(&self, bytes: u64) -> Result<Buffer> {
        let bytes = bytes.next_multiple_of(4).max(4);
        let most = self.caps().max_binding_bytes;
        if bytes > most {
            let message = format!(
                "a buffer of {} was asked for, and \"{}\" binds at most {}",
                mebibytes::asked(bytes as f64),
                self.caps().adapter.name,
                mebibytes::available(most)
            );
            return Err(Error::Memory { message, asked: bytes, limit: MemoryLimit::Tensor(most) });
        }
        // What waits is asked about when it is handed over, so in the middle of a step the device is not asked at each tensor.
        let is_alone = lock(&self.0.stream).is_idle();
        if is_alone {
            self.check()?
        } else {
            self.check_what_is_known()?
        }
        let mut pool = lock(&self.0.pool);
        let home = pool.home();
        // A recording's memory cannot be filled from here, so it has neither poison nor guard zones.
        let poisoned = self.0.poison && home.is_none();
        let guard = if poisoned && bytes + 2 * GUARD <= most { GUARD } else { 0 };
        // The last size class may lie above the limit, where the exact size does not.
        let class = size_class(bytes.next_multiple_of(16) + 2 * guard).min(most.max(256));
        let mut slab = pool.take(&self.0.device, class);
        if slab.is_none() {
            // What waits for reuse in other sizes may make room.
            drop(pool);
            self.give_memory_back();
            pool = lock(&self.0.pool);
            slab = pool.take(&self.0.device, class);
        }
        let usage = pool.usage();
        drop(pool);
        let slab = slab.ok_or_else(|| {
            let message = format!(
                "out of GPU memory: {} more were asked for beside {} in use",
                mebibytes::asked(bytes as f64),
                mebibytes::available(usage.live)
            );
            Error::Memory { message, asked: bytes, limit: MemoryLimit::Device(usage.live) }
        })?;
        let whole = slab.bytes;
        let buffer =
            Buffer(Arc::new(Shared { gpu: self.clone(), bytes, offset: guard, slab: Some(slab), home }));
        if poisoned {
            // The queue would put the write before what is not submitted yet, and that may still use this memory.
            self.flush()?;
            let poison = POISON.to_le_bytes().repeat((whole / 4) as usize);
            self.watch(|| self.0.queue.write_buffer(buffer.raw(), 0, &poison))?;
        }
        Ok(buffer)
    }

    /// Gives memory that waits for reuse back to the device, and lets go of compiled kernels that neither a recording nor
    /// work under way holds: on some drivers each takes megabytes. Those that are needed again are compiled again.
    pub fn trim(&self) {
        self.give_memory_back();
        self.0.pipelines.trim();
        // What the device is done with goes now, and not at the next submission. This does not wait.
        let _ = self.poll(wgpu::PollType::Poll);
    }

    fn give_memory_back(&self) {
        lock(&self.0.stream).forget_bind_groups();
        lock(&self.0.pool).trim();
    }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_hold_the_size_and_waste_less_than_a_quarter() {
        for bytes in (1u64..100_000).step_by(37).chain([1 << 20, (1 << 20) + 1, 600_000_001]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(256));
            assert!(class <= (bytes + bytes / 4).max(bytes + 255), "{bytes} -> {class}");
        }
    }
}
