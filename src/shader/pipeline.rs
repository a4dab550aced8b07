//! Compiled pipelines, made once per spec.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use super::interface::{Interface, label};
use super::scope::{answer_of, in_a_line, watched};
use super::{Fault, Shader, render};
use crate::{Error, Result};

/// A compiled shader with the layout of its one bind group.
pub(crate) struct Pipeline {
    /// What it was made from; also its name in profiles.
    pub shader: Shader,
    /// Tells pipelines apart in caches.
    pub id: u64,
    pub made: Compiled,
}

/// What the device has made of a shader.
pub(crate) struct Compiled {
    pub raw: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// What a launch must bind.
    pub interface: Interface,
}

/// Pipelines by shader.
#[derive(Default)]
pub(crate) struct PipelineCache {
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
    /// Where the template does not render, or the text is not one that the device takes: then nothing is kept, and the device
    /// goes on.
    pub fn get(&self, device: &wgpu::Device, shader: &Shader, checked: bool) -> Result<Arc<Pipeline>> {
        let mut made = self.lock();
        if let Some(pipeline) = made.pipelines.get(shader) {
            return Ok(pipeline.clone());
        }
        let compiled = self.compile(device, shader, checked)?;
        made.next_id += 1;
        made.names.insert(shader.to_string());
        let pipeline = Arc::new(Pipeline { shader: shader.clone(), id: made.next_id, made: compiled });
        made.pipelines.insert(shader.clone(), pipeline.clone());
        Ok(pipeline)
    }

    /// The pipeline of `shader` with its layout, made anew and not kept.
    ///
    /// # Errors
    /// As [`PipelineCache::get`].
    pub(crate) fn compile(&self, device: &wgpu::Device, shader: &Shader, checked: bool) -> Result<Compiled> {
        let text = match shader {
            Shader::Library(spec) => match &self.fault {
                Some(fault) if fault.file == spec.file() => render(spec)?.replace(fault.sound, fault.broken),
                _ => render(spec)?,
            },
            Shader::Host { text, .. } => text.clone(),
        };
        let interface = Interface::read(shader, &text)?;
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
        // SAFETY: unchecked shaders must stay in bounds and end their loops. Only this library's own go unchecked, and only
        // its launchers can start those: `Gpu::launch` is private to the crate. The launchers prove their sizes from the
        // buffers that they bind (`tests/kernels/sizes.rs` tries each with others), and the tests run all of them checked.
        let module = watched(device, || unsafe { device.create_shader_module_trusted(descriptor, checks) });
        let module = match module {
            (module, None) => module,
            (module, Some(error)) => return Err(refused(shader, &module, &error)),
        };
        let made = watched(device, || {
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(&label),
                entries: &interface.layout(),
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
            (raw, layout)
        });
        match made {
            ((raw, layout), None) => Ok(Compiled { raw, layout, interface }),
            (_, Some(error)) => Err(refused(shader, &module, &error)),
        }
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
}

/// Why the device takes no such shader, with the line if there is one.
fn refused(shader: &Shader, module: &wgpu::ShaderModule, error: &wgpu::Error) -> Error {
    let told = answer_of(module.get_compilation_info());
    let first = told.and_then(|info| info.messages.into_iter().find(|m| !m.message.is_empty()));
    let line = first.and_then(|message| message.location).map(|place| place.line_number);
    // What wgpu draws around the line is left out; what is wrong with it stands behind, from the outside to the core.
    let cause = std::iter::successors(std::error::Error::source(error), |e| e.source());
    let causes: Vec<String> = cause.map(|e| e.to_string()).filter(|text| !text.contains('\n')).collect();
    let message = match causes.len() {
        0 => in_a_line(error),
        // The first says which call it was.
        n => causes[1.min(n - 1)..].join(": "),
    };
    Error::Shader { name: shader.to_string(), line, message }
}
