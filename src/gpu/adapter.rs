//! Asking the drivers: which adapters there are, and a device from one of them.

use super::choice::{self, Failure, Wanted};
use super::needs::NEEDS;
use crate::shader::Fault;
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
    /// Part of the wanted adapter's name in any case, its backend (vulkan, metal, dx12, opengl), or both:
    /// `dx12/radeon`. `None`: the environment variable `SIMQAT_ADAPTER`, else the best real GPU, else a software
    /// adapter, else one that only OpenGL reaches.
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
    /// Ask for no more than WebGPU's default limits, and for none of the features that speed kernels up: to measure
    /// or test what a lesser adapter would do.
    pub least: bool,
    /// Planted in the library's shaders, to see that a test finds it; such a shader keeps its bounds checks.
    #[doc(hidden)]
    pub fault: Option<Fault>,
}

impl Default for GpuOptions {
    fn default() -> Self {
        GpuOptions {
            adapter: None,
            checked: cfg!(debug_assertions),
            poison: false,
            memory_limit: None,
            kernels: KernelFamily::Auto,
            least: false,
            fault: None,
        }
    }
}

/// What can be said of an adapter before it is opened.
#[derive(Clone, Debug)]
pub struct AdapterSummary {
    /// The name that `--adapter` matches against.
    pub name: String,
    /// vulkan, metal, dx12, opengl.
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
            backend: backend_name(info.backend).to_string(),
            kind: kind.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
            is_software: info.device_type == wgpu::DeviceType::Cpu,
        }
    }

    /// Backend and name, `vulkan/llvmpipe (...)`: names this adapter to [`GpuOptions::adapter`] also where the same
    /// one answers through several backends.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.backend, self.name)
    }
}

fn backend_name(backend: wgpu::Backend) -> &'static str {
    if backend == wgpu::Backend::Gl { "opengl" } else { backend.to_str() }
}

/// The environment variable by which wgpu's users narrow the backends.
const BACKEND_VARIABLE: &str = "WGPU_BACKEND";

/// Backends in the order in which they are asked. OpenGL is only asked if the others have nothing: loading its driver
/// takes time, and nobody gains by it.
const TIERS: [wgpu::Backends; 2] = [wgpu::Backends::PRIMARY, wgpu::Backends::SECONDARY];

/// Adapters of one tier that answer, best first, as far as the environment lets them.
async fn candidates(tier: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let allowed = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
    let backends = tier & allowed & wgpu::Instance::enabled_backend_features();
    if backends.is_empty() {
        return Vec::new();
    }
    // No display handle: nothing is ever shown.
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    descriptor.backends = backends;
    // Where the driver tells how much memory there is, the last of it is refused instead of ending the program, or, with a
    // software adapter, the machine.
    descriptor.memory_budget_thresholds =
        wgpu::MemoryBudgetThresholds { for_resource_creation: Some(95), for_device_loss: None };
    let mut found = wgpu::Instance::new(descriptor).enumerate_adapters(backends).await;
    found.sort_by_key(|a| choice::rank(a.get_info().backend, a.get_info().device_type));
    found
}

fn summaries(found: &[wgpu::Adapter]) -> Vec<AdapterSummary> {
    found.iter().map(|a| AdapterSummary::of(&a.get_info())).collect()
}

/// Every adapter that answers, best first. Not all of them need be able to run the kernels.
pub async fn adapters() -> Vec<AdapterSummary> {
    let mut all = Vec::new();
    for tier in TIERS {
        all.extend(summaries(&candidates(tier).await));
    }
    all
}

/// A device of the best adapter, or of the one that was asked for. An adapter that answers and then gives no device is
/// told in the log, and the next one is tried.
pub(super) async fn open(options: &GpuOptions) -> Result<(wgpu::AdapterInfo, wgpu::Device, wgpu::Queue)> {
    let wanted = options.adapter.clone().or_else(|| std::env::var(ADAPTER_VARIABLE).ok()).unwrap_or_default();
    let wanted = Wanted::new(&wanted);
    let (mut seen, mut refusals) = (Vec::new(), Vec::new());
    for tier in TIERS {
        let found = candidates(tier).await;
        let names = summaries(&found);
        let opened = choice::first_that_opens(&names, wanted.as_ref(), &mut refusals, async |index| {
            device(&found[index], options).await
        });
        if let Some(opened) = opened.await? {
            for refusal in refusals {
                log::warn!("{refusal}; \"{}\" is used instead", opened.0.name);
            }
            return Ok(opened);
        }
        seen.extend(names);
    }
    let enabled = wgpu::Instance::enabled_backend_features() & (wgpu::Backends::all() - wgpu::Backends::NOOP);
    let backends: Vec<&str> =
        wgpu::Backend::ALL.into_iter().filter(|&b| enabled.contains(b.into())).map(backend_name).collect();
    let variable = std::env::var(BACKEND_VARIABLE).ok();
    let failure = Failure {
        found: &seen,
        wanted: wanted.as_ref(),
        refusals: &refusals,
        backend_variable: variable.as_deref(),
        backends: &backends,
        system: std::env::consts::OS,
    };
    Err(failure.error())
}

async fn device(
    adapter: &wgpu::Adapter,
    options: &GpuOptions,
) -> Result<(wgpu::AdapterInfo, wgpu::Device, wgpu::Queue)> {
    let info = adapter.get_info();
    let refused = |why: String| {
        Error::NoAdapter(format!("the adapter \"{}\" ({}) {why}", info.name, backend_name(info.backend)))
    };
    let flags = adapter.get_downlevel_capabilities().flags;
    if !flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
        return Err(refused("runs no compute shaders".into()));
    }
    if let Some(missing) = NEEDS.missing(&adapter.limits()) {
        return Err(refused(format!("is too small: {missing}")));
    }
    // Wanted where they are there; every kernel has a variant that needs none of them.
    let wanted = wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16;
    let (features, limits) = if options.least {
        (wgpu::Features::empty(), wgpu::Limits::default().or_worse_values_from(&adapter.limits()))
    } else {
        (adapter.features() & wanted, adapter.limits())
    };
    let (device, queue) = adapter
        .request_device(&wgpu::DeviceDescriptor {
            label: Some("simqat"),
            required_features: features,
            required_limits: limits,
            ..Default::default()
        })
        .await
        .map_err(|e| refused(format!("gives no device: {e}")))?;
    Ok((info, device, queue))
}
