//! Which adapter: by name, by environment, else the best real GPU, else software.

use crate::{Error, Result};

/// Environment variable that names the adapter, as `--adapter` does.
pub const ADAPTER_VARIABLE: &str = "SIMQAT_ADAPTER";

/// Which of the two families of matrix and convolution kernels runs. They differ in speed, and in the order in
/// which they sum: results agree but for rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelFamily {
    /// The one that suits the adapter.
    #[default]
    Auto,
    /// Lanes of a subgroup hand each other values: for shaders that run on a CPU's vector unit.
    Broadcast,
    /// Tiles in workgroup memory: for GPUs. Needs nothing that an adapter may lack.
    Tiled,
}

/// How to open a device.
#[derive(Clone, Debug)]
pub struct GpuOptions {
    /// Part of the wanted adapter's name, in any case. `None`: the environment variable `SIMQAT_ADAPTER`,
    /// else the best real GPU, else a software adapter.
    pub adapter: Option<String>,
    /// Keep bounds checks in the shaders. On by default in debug builds.
    pub checked: bool,
    /// Fill memory with NaN bits before it is handed out, so that a value nobody wrote is seen, and put guard zones
    /// around it, so that reading a buffer fails if a kernel stored outside of it. For tests.
    pub poison: bool,
    /// Most bytes of the device's memory that tensors may take; `None`: as much as it gives.
    pub memory_limit: Option<u64>,
    /// The family of kernels, to measure or test one that would not be chosen.
    pub kernels: KernelFamily,
}

impl Default for GpuOptions {
    fn default() -> Self {
        GpuOptions {
            adapter: None,
            checked: cfg!(debug_assertions),
            poison: false,
            memory_limit: None,
            kernels: KernelFamily::Auto,
        }
    }
}

/// What can be said of an adapter before it is opened.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// The name that `--adapter` matches against.
    pub name: String,
    /// vulkan, metal, dx12.
    pub backend: String,
    /// Discrete GPU, integrated GPU, CPU.
    pub kind: String,
    /// Driver and version.
    pub driver: String,
    /// True where shaders run on the CPU.
    pub is_software: bool,
}

impl AdapterSummary {
    pub(crate) fn of(info: &wgpu::AdapterInfo) -> Self {
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "integrated GPU",
            wgpu::DeviceType::VirtualGpu => "virtual GPU",
            wgpu::DeviceType::Cpu => "software (CPU)",
            wgpu::DeviceType::Other => "unknown kind",
        };
        AdapterSummary {
            name: info.name.clone(),
            backend: info.backend.to_string(),
            kind: kind.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
            is_software: info.device_type == wgpu::DeviceType::Cpu,
        }
    }
}

pub(super) fn instance() -> wgpu::Instance {
    // No display handle: nothing is ever shown. The environment may still narrow the backends (WGPU_BACKEND).
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    // Where the driver tells how much memory there is, the last of it is refused instead of ending the program, or, with a
    // software adapter, the machine.
    descriptor.memory_budget_thresholds =
        wgpu::MemoryBudgetThresholds { for_resource_creation: Some(95), for_device_loss: None };
    wgpu::Instance::new(descriptor)
}

/// Every adapter that answers, best first.
pub async fn adapters() -> Vec<AdapterSummary> {
    candidates(&instance()).await.iter().map(|a| AdapterSummary::of(&a.get_info())).collect()
}

async fn candidates(instance: &wgpu::Instance) -> Vec<wgpu::Adapter> {
    let mut found = instance.enumerate_adapters(wgpu::Backends::PRIMARY).await;
    found.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    found.sort_by_key(|a| match a.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    found
}

pub(super) async fn choose(instance: &wgpu::Instance, options: &GpuOptions) -> Result<wgpu::Adapter> {
    let found = candidates(instance).await;
    if found.is_empty() {
        return Err(Error::NoAdapter(
            "no GPU adapter answers: install a Vulkan driver (script/setup does it on Debian and Ubuntu; \
             the package mesa-vulkan-drivers works without a GPU)"
                .into(),
        ));
    }
    let wanted = options.adapter.clone().or_else(|| std::env::var(ADAPTER_VARIABLE).ok());
    let Some(wanted) = wanted.filter(|w| !w.is_empty()) else {
        let Some(best) = found.into_iter().next() else { unreachable!("checked above") };
        return Ok(best);
    };
    let lower = wanted.to_lowercase();
    let names: Vec<String> = found.iter().map(|a| a.get_info().name).collect();
    found.into_iter().find(|a| a.get_info().name.to_lowercase().contains(&lower)).ok_or_else(|| {
        Error::NoAdapter(format!("no adapter's name contains \"{wanted}\"; there is: {}", names.join(", ")))
    })
}
