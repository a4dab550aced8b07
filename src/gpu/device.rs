//! The handle that everything above holds: a device, its queue, and what this library keeps beside them.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use super::adapter::{self, AdapterSummary, GpuOptions, KernelFamily};
use super::health::Health;
use super::needs::NEEDS;
use super::pool::{GUARD, MemoryUse, Pool};
use super::stream::Stream;
use crate::shader::PipelineCache;
use crate::{Error, Result};

/// Lanes of software adapters' subgroups for which the broadcast kernels are made: a CPU's vectors of 128, 256 and 512
/// bits.
pub(crate) const VECTOR_LANES: [u32; 3] = [4, 8, 16];

/// What the device can do, and what that means for the choice of kernels.
#[derive(Clone, Debug)]
pub struct Caps {
    /// The adapter that was opened.
    pub adapter: AdapterSummary,
    /// The number of lanes that run in step, where it is the same for every shader and the device has
    /// subgroup operations.
    pub subgroup_size: Option<u32>,
    /// Shaders can be timed on the device.
    pub timestamps: bool,
    /// Half-precision arithmetic in shaders.
    pub f16: bool,
    /// Most bytes that one binding, and so one tensor, can have.
    pub max_binding_bytes: u64,
    /// Most workgroups in one dimension of a dispatch.
    pub max_groups: u32,
    /// Most invocations in one workgroup.
    pub max_workgroup_size: u32,
    /// As [`GpuOptions`] asked for it.
    pub kernels: KernelFamily,
}

impl Caps {
    /// Lanes for which there are broadcast kernels.
    fn has_vector_lanes(&self) -> bool {
        self.subgroup_size.is_some_and(|lanes| VECTOR_LANES.contains(&lanes))
    }

    /// True on adapters where a load costs as much as twenty multiplications and lanes can hand each other
    /// values for nothing: shaders that run on the CPU's vector unit. [`GpuOptions::kernels`] overrules it.
    pub fn prefers_broadcast(&self) -> bool {
        match self.kernels {
            KernelFamily::Auto => self.adapter.is_software && self.has_vector_lanes(),
            KernelFamily::Broadcast => true,
            KernelFamily::Tiled => false,
        }
    }

    fn of(
        info: &wgpu::AdapterInfo,
        features: wgpu::Features,
        limits: &wgpu::Limits,
        kernels: KernelFamily,
    ) -> Self {
        let fixed = info.subgroup_min_size == info.subgroup_max_size;
        let subgroups = features.contains(wgpu::Features::SUBGROUP) && fixed;
        Caps {
            adapter: AdapterSummary::of(info),
            subgroup_size: subgroups.then_some(info.subgroup_min_size),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            f16: features.contains(wgpu::Features::SHADER_F16),
            // Whole guard zones: of NVIDIA's driver wgpu says 2^31 - 4, and bindings take whole 16 bytes.
            max_binding_bytes: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / GUARD
                * GUARD,
            max_groups: limits.max_compute_workgroups_per_dimension,
            max_workgroup_size: limits.max_compute_invocations_per_workgroup,
            kernels,
        }
    }
}

/// A device and everything that belongs to it. Cloning is cheap and gives the same device.
///
/// All work goes through one stream in the order in which it was asked for; nothing waits except functions
/// that are named `read` or `wait`.
#[derive(Clone)]
pub struct Gpu(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub caps: Caps,
    pub checked: bool,
    pub poison: bool,
    pub pipelines: PipelineCache,
    pub pool: Mutex<Pool>,
    pub stream: Mutex<Stream>,
    pub health: Health,
    pub memos: Mutex<HashMap<TypeId, Box<dyn Any + Send>>>,
}

/// A panic elsewhere must not turn every later call into a second panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Gpu {
    /// Opens the best adapter: the one named by `SIMQAT_ADAPTER`, else a real GPU, else software.
    ///
    /// # Errors
    /// Where no adapter answers, or none of the wanted name (the error lists those that do), or it cannot run
    /// the kernels asked for.
    pub fn open() -> Result<Gpu> {
        Gpu::open_with(&GpuOptions::default())
    }

    /// As [`Gpu::open`], with options.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub fn open_with(options: &GpuOptions) -> Result<Gpu> {
        pollster::block_on(Gpu::open_async(options))
    }

    /// As [`Gpu::open_with`], without blocking: for hosts that have an executor, and for browsers.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    pub async fn open_async(options: &GpuOptions) -> Result<Gpu> {
        let (info, device, queue) = adapter::open(options).await?;
        let gpu = Gpu::assemble(device, queue, &info, options);
        if options.kernels == KernelFamily::Broadcast && !gpu.caps().has_vector_lanes() {
            let lanes = gpu.caps().subgroup_size.map_or("no lanes".into(), |lanes| format!("{lanes} lanes"));
            return Err(Error::Invalid(format!(
                "the broadcast kernels need subgroups of 4, 8 or 16 lanes, always as many, and \"{}\" has {lanes} of a \
                 fixed number; take the tiled ones",
                info.name
            )));
        }
        // The device is ours, so its reports are too. A host's device keeps the host's handlers.
        gpu.0.health.listen(&gpu.0.device);
        Ok(gpu)
    }

    /// Takes a device that the host made. The host keeps its error handlers and may go on using the device. If it destroys it,
    /// whatever is asked of this handle from then on answers [`Error::Lost`].
    ///
    /// Features that speed kernels up if the device has them: `SUBGROUP`. Limits: [`NEEDS`], which WebGPU's defaults
    /// exceed.
    ///
    /// # Errors
    /// If the device has less than that, with the limit's name and both numbers.
    pub fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Gpu> {
        if let Some(missing) = NEEDS.missing(&device.limits()) {
            return Err(Error::NoAdapter(format!(
                "the device was made too small: {missing}; ask for wgpu::Limits::default() or more"
            )));
        }
        let info = device.adapter_info();
        Ok(Gpu::assemble(device, queue, &info, &GpuOptions::default()))
    }

    /// A device that computes nothing: shapes, tapes and bindings can be tested without any driver.
    pub fn noop() -> Gpu {
        let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let info = device.adapter_info();
        Gpu::assemble(device, queue, &info, &GpuOptions::default())
    }

    fn assemble(
        device: wgpu::Device,
        queue: wgpu::Queue,
        info: &wgpu::AdapterInfo,
        options: &GpuOptions,
    ) -> Gpu {
        let caps = Caps::of(info, device.features(), &device.limits(), options.kernels);
        Gpu(Arc::new(Inner {
            health: Health::of(&device),
            device,
            queue,
            caps,
            checked: options.checked,
            poison: options.poison,
            pipelines: PipelineCache::with_fault(options.fault),
            pool: Mutex::new(Pool::limited_to(options.memory_limit)),
            stream: Mutex::new(Stream::default()),
            memos: Mutex::default(),
        }))
    }

    /// What this device can do.
    pub fn caps(&self) -> &Caps {
        &self.0.caps
    }

    /// The wgpu device: for a host that shares it.
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    /// The wgpu queue: for a host that shares it. Work of this library that was asked for before is only on
    /// it after [`Gpu::flush`].
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// How many compiled kernels are kept; [`Gpu::trim`] lets go of those that are not used any more.
    pub fn compiled_kernels(&self) -> usize {
        self.0.pipelines.len()
    }

    /// Names of the kernels that were compiled so far, also of those that [`Gpu::trim`] has let go.
    pub fn kernel_names(&self) -> Vec<String> {
        self.0.pipelines.names()
    }

    /// GPU memory of tensors: in use, taken from the device, and the most that was in use.
    pub fn memory(&self) -> MemoryUse {
        lock(&self.0.pool).usage()
    }

    /// What `make` gave for this key the first time: for choices that upper floors make once per shape.
    pub(crate) fn memo<K, V>(&self, key: K, make: impl FnOnce(&K) -> V) -> Arc<V>
    where
        K: Eq + Hash + Send + 'static,
        V: Send + Sync + 'static,
    {
        let mut memos = lock(&self.0.memos);
        let any = memos
            .entry(TypeId::of::<(K, V)>())
            .or_insert_with(|| Box::new(HashMap::<K, Arc<V>>::new()) as Box<dyn Any + Send>);
        let Some(table) = any.downcast_mut::<HashMap<K, Arc<V>>>() else {
            unreachable!("tables are kept by their own type")
        };
        if let Some(found) = table.get(&key) {
            return found.clone();
        }
        let made = Arc::new(make(&key));
        table.insert(key, made.clone());
        made
    }

    /// Two handles of one device.
    pub fn same(&self, other: &Gpu) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({}, {})", self.caps().adapter.name, self.caps().adapter.backend)
    }
}
