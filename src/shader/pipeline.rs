//! Compiled pipelines, made once per spec.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use super::interface::{bindings, label};
use super::{Fault, Shader, render};
use crate::Result;

/// A compiled shader with the layout of its one bind group.
pub struct Pipeline {
    /// What it was made from; also its name in profiles.
    pub shader: Shader,
    /// Tells pipelines apart in caches.
    pub id: u64,
    pub(crate) raw: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// Pipelines by shader.
#[derive(Default)]
pub struct PipelineCache {
    made: Mutex<Made>,
    /// Put into shaders on purpose, to see that a check finds it.
    fault: Option<Fault>,
}

#[derive(Default)]
struct Made {
    pipelines: HashMap<Shader, Arc<Pipeline>>,
    names: BTreeSet<String>,
    /// Never given twice, also when pipelines have gone: bind groups are cached by it.
    next_id: u64,
}

impl PipelineCache {
    /// An empty cache, whose shaders get this fault if there is one.
    pub fn with_fault(fault: Option<Fault>) -> Self {
        PipelineCache { fault, ..PipelineCache::default() }
    }

    /// The pipeline of `shader`, compiled on its first use.
    ///
    /// `checked` keeps wgpu's bounds checks and loop guards in the shader; tests want them, and they cost up
    /// to 1.6 times on kernels that live in workgroup memory.
    ///
    /// # Errors
    /// Where the template does not render. A shader that does not compile is reported by the device.
    pub fn get(&self, device: &wgpu::Device, shader: &Shader, checked: bool) -> Result<Arc<Pipeline>> {
        let mut made = self.lock();
        if let Some(pipeline) = made.pipelines.get(shader) {
            return Ok(pipeline.clone());
        }
        let (raw, layout) = self.compile(device, shader, checked)?;
        made.next_id += 1;
        made.names.insert(shader.to_string());
        let pipeline = Arc::new(Pipeline { shader: shader.clone(), id: made.next_id, raw, layout });
        made.pipelines.insert(shader.clone(), pipeline.clone());
        Ok(pipeline)
    }

    /// The pipeline of `shader` with its layout, made anew and not kept.
    ///
    /// # Errors
    /// As [`PipelineCache::get`].
    pub(crate) fn compile(
        &self,
        device: &wgpu::Device,
        shader: &Shader,
        checked: bool,
    ) -> Result<(wgpu::ComputePipeline, wgpu::BindGroupLayout)> {
        let text = match shader {
            Shader::Library(spec) => match &self.fault {
                Some(fault) if fault.file == spec.file() => render(spec)?.replace(fault.sound, fault.broken),
                _ => render(spec)?,
            },
            Shader::Host { text, .. } => text.clone(),
        };
        let entries = bindings(&text);
        let label = label(shader);
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        };
        // A planted fault is a caller's text.
        let is_altered = matches!((shader, &self.fault), (Shader::Library(spec), Some(fault)) if fault.file == spec.file());
        let checks = if checked || is_altered || matches!(shader, Shader::Host { .. }) {
            wgpu::ShaderRuntimeChecks::checked()
        } else {
            wgpu::ShaderRuntimeChecks::unchecked()
        };
        // SAFETY: unchecked shaders must stay in bounds and end their loops. Only this library's own go unchecked:
        // launchers derive their sizes from the buffers, and the tests run all of them checked.
        let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&label),
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let raw = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        Ok((raw, layout))
    }

    /// What was compiled so far, also if it has gone.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Lets go of pipelines that only this cache still holds. One that is asked for again is compiled again.
    pub fn trim(&self) {
        self.lock().pipelines.retain(|_, pipeline| Arc::strong_count(pipeline) > 1);
    }

    /// How many pipelines are kept.
    pub fn len(&self) -> usize {
        self.lock().pipelines.len()
    }

    /// True before the first kernel ran, and if all have gone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
