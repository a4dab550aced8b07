//! The stream: launches are queued, encoded in batches, and submitted with a bound on what is in flight.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::device::{Gpu, lock};
use super::pool::Buffer;
use super::profile::Profiler;
use super::recording::Capture;
use crate::shader::{Interface, Pipeline, Shader, ShaderSpec};
use crate::{Error, Result};

/// Dispatches per submission: enough to hide its cost, few enough to keep the GPU fed and drivers calm.
const BATCH: usize = 64;
/// Submissions that may be under way before the host waits for the oldest.
const IN_FLIGHT: usize = 4;
/// Cached bind groups and parameter blocks, after which the caches start afresh.
const CACHED: usize = 8192;

/// One entry of the stream.
#[derive(Clone)]
pub(super) enum Command {
    Dispatch { pipeline: Arc<Pipeline>, bindings: wgpu::BindGroup, groups: [u32; 3] },
    Copy { from: wgpu::Buffer, from_offset: u64, to: wgpu::Buffer, to_offset: u64, bytes: u64 },
}

#[derive(Default)]
pub(super) struct Stream {
    pending: Vec<Command>,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    bind_groups: HashMap<BindKey, wgpu::BindGroup>,
    params: HashMap<Vec<u8>, (u64, wgpu::Buffer)>,
    /// What is being recorded, by the thread that does.
    pub captures: HashMap<ThreadId, Capture>,
    pub profiler: Option<Profiler>,
}

/// A pipeline, the slabs with the places and sizes bound, the parameter block.
type BindKey = (u64, Vec<[u64; 3]>, u64);

impl Stream {
    /// Bind groups keep their buffers alive; whoever wants those freed calls this first.
    pub fn forget_bind_groups(&mut self) {
        self.bind_groups.clear();
    }

    /// True if nothing waits to be handed to the device.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    fn params_buffer(&mut self, gpu: &Gpu, params: &[u8]) -> Result<(u64, wgpu::Buffer)> {
        if let Some(found) = self.params.get(params) {
            return Ok(found.clone());
        }
        if self.params.len() >= CACHED {
            self.params.clear();
            self.bind_groups.clear();
        }
        let raw = gpu.watch(|| {
            let raw = gpu.0.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("simqat params"),
                size: params.len().next_multiple_of(16) as u64,
                usage: wgpu::BufferUsages::UNIFORM,
                mapped_at_creation: true,
            });
            if let Ok(mut view) = raw.get_mapped_range_mut(..) {
                view.slice(..params.len()).copy_from_slice(params);
            }
            raw.unmap();
            raw
        })?;
        let made = (self.params.len() as u64 + 1, raw);
        self.params.insert(params.to_vec(), made.clone());
        Ok(made)
    }

    /// The bind group of a launch. Only one that is new is asked of the device.
    fn bind(
        &mut self,
        gpu: &Gpu,
        pipeline: &Pipeline,
        buffers: &[Buffer],
        params: &[u8],
    ) -> Result<wgpu::BindGroup> {
        let block = (!params.is_empty()).then(|| self.params_buffer(gpu, params)).transpose()?;
        let block_id = block.as_ref().map_or(0, |(id, _)| *id);
        let key = (pipeline.id, buffers.iter().map(|b| [b.id(), b.offset(), b.bytes()]).collect(), block_id);
        if let Some(found) = self.bind_groups.get(&key) {
            return Ok(found.clone());
        }
        if self.bind_groups.len() >= CACHED {
            self.bind_groups.clear();
        }
        let resources =
            buffers.iter().map(Buffer::binding).chain(block.as_ref().map(|(_, raw)| raw.as_entire_binding()));
        let entries: Vec<_> = resources
            .enumerate()
            .map(|(i, resource)| wgpu::BindGroupEntry { binding: i as u32, resource })
            .collect();
        let made = gpu.watch(|| {
            gpu.0.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &pipeline.made.layout,
                entries: &entries,
            })
        })?;
        self.bind_groups.insert(key, made.clone());
        Ok(made)
    }

    fn push(&mut self, gpu: &Gpu, command: Command, buffers: &[Buffer]) -> Result<()> {
        if let Some(capture) = self.captures.get_mut(&thread::current().id()) {
            capture.push(command, buffers);
            return Ok(());
        }
        self.pending.push(command);
        if self.pending.len() >= BATCH { self.flush(gpu) } else { Ok(()) }
    }

    pub fn flush(&mut self, gpu: &Gpu) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.submit(gpu, &pending)
    }

    pub fn submit(&mut self, gpu: &Gpu, commands: &[Command]) -> Result<()> {
        for batch in commands.chunks(BATCH) {
            let inner = &gpu.0;
            if let Some(profiler) = &mut self.profiler {
                gpu.watch_for_good(|| {
                    profiler.run(gpu, inner.device.create_command_encoder(&Default::default()), batch)
                })??;
                continue;
            }
            self.in_flight.push_back(gpu.watch_for_good(|| {
                let mut encoder = inner.device.create_command_encoder(&Default::default());
                encode(&mut encoder, batch);
                inner.queue.submit([encoder.finish()])
            })?);
            if self.in_flight.len() > IN_FLIGHT {
                gpu.wait_for(self.in_flight.pop_front())?;
            }
        }
        Ok(())
    }
}

/// Neighbouring dispatches share a compute pass; wgpu puts the barriers between them.
fn encode(encoder: &mut wgpu::CommandEncoder, commands: &[Command]) {
    let is_copy = |c: &Command| matches!(c, Command::Copy { .. });
    for run in commands.chunk_by(|a, b| is_copy(a) == is_copy(b)) {
        if is_copy(&run[0]) {
            run.iter().for_each(|c| encode_copy(encoder, c));
        } else {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            run.iter().for_each(|c| encode_dispatch(&mut pass, c));
        }
    }
}

pub(super) fn encode_copy(encoder: &mut wgpu::CommandEncoder, command: &Command) {
    if let Command::Copy { from, from_offset, to, to_offset, bytes } = command {
        encoder.copy_buffer_to_buffer(from, *from_offset, to, *to_offset, *bytes);
    }
}

pub(super) fn encode_dispatch(pass: &mut wgpu::ComputePass<'_>, command: &Command) {
    if let Command::Dispatch { pipeline, bindings, groups: [x, y, z] } = command {
        pass.set_pipeline(&pipeline.made.raw);
        pass.set_bind_group(0, bindings, &[]);
        pass.dispatch_workgroups(*x, *y, *z);
    }
}

/// A kernel call in the making: bind the buffers in the order of the shader's bindings, inputs first, then
/// the parameters, then say how many workgroups.
#[must_use = "nothing runs before `groups` or `threads`"]
pub struct Launch<'a> {
    gpu: &'a Gpu,
    shader: Shader,
    buffers: Vec<Buffer>,
    params: Vec<u8>,
}

impl<'a> Launch<'a> {
    /// The next binding.
    pub fn bind(mut self, buffer: &Buffer) -> Self {
        self.buffers.push(buffer.clone());
        self
    }

    /// The parameters, as the last binding.
    pub fn params(mut self, params: &impl bytemuck::NoUninit) -> Self {
        self.params = bytemuck::bytes_of(params).to_vec();
        self
    }

    /// The parameters as bytes; none where they are empty.
    pub fn param_bytes(mut self, params: &[u8]) -> Self {
        self.params = params.to_vec();
        self
    }

    /// Runs so many workgroups.
    ///
    /// # Errors
    /// Where the shader cannot be made, what is bound is not what it takes, or the device has failed.
    pub fn groups(self, groups: [u32; 3]) -> Result<()> {
        if groups.contains(&0) {
            return Ok(());
        }
        let most = self.gpu.caps().max_groups;
        if groups.iter().any(|&g| g > most) {
            return Err(Error::Gpu(format!(
                "{} needs {groups:?} workgroups and the device takes {most} in each dimension; \
                 use a smaller batch",
                self.shader
            )));
        }
        if let Some(other) = self.buffers.iter().find(|b| !b.gpu().same(self.gpu)) {
            return Err(Error::Gpu(format!("{}: {}", self.shader, self.gpu.foreign(other))));
        }
        let inner = &self.gpu.0;
        let pipeline = match inner.pipelines.get(&inner.device, &self.shader, inner.checked) {
            Ok(pipeline) => pipeline,
            // A device that is gone takes no shader.
            Err(error) => return Err(self.gpu.check().err().unwrap_or(error)),
        };
        self.check_bound(&pipeline.made.interface)?;
        let mut stream = lock(&inner.stream);
        let bindings = stream.bind(self.gpu, &pipeline, &self.buffers, &self.params)?;
        stream.push(self.gpu, Command::Dispatch { pipeline, bindings, groups }, &self.buffers)
    }

    /// Fails unless what is bound is what the shader declares.
    fn check_bound(&self, interface: &Interface) -> Result<()> {
        let wrong =
            |message: String| Err(Error::Shader { name: self.shader.to_string(), line: None, message });
        let (wanted, bound) = (&interface.buffers, &self.buffers);
        if wanted.len() != bound.len() {
            let names: Vec<&str> = wanted.iter().map(|slot| slot.name.as_str()).collect();
            return wrong(format!(
                "it has {} buffers ({}), and {} were bound",
                wanted.len(),
                names.join(", "),
                bound.len()
            ));
        }
        for (place, (slot, buffer)) in wanted.iter().zip(bound).enumerate() {
            if buffer.bound_bytes() < slot.least {
                let (name, bytes) = (&slot.name, buffer.bytes());
                return wrong(format!(
                    "`{name}` has {} bytes at least, and a buffer of {bytes} bytes was bound",
                    slot.least
                ));
            }
            // A device lets no buffer be stored to in one place and be read only in another.
            let other = (0..place)
                .find(|&other| bound[other].same(buffer) && wanted[other].is_written != slot.is_written);
            if let Some(other) = other {
                let (one, two) = (&wanted[other].name, &slot.name);
                return wrong(format!(
                    "`{one}` and `{two}` were bound to one buffer, and one of them is stored to; give one of them a copy"
                ));
            }
        }
        match (&interface.params, self.params.len()) {
            (None, 0) => Ok(()),
            (None, given) => wrong(format!("it has no parameters, and {given} bytes of them were given")),
            (Some(slot), given) if (given as u64) < slot.least => wrong(format!(
                "its parameters `{}` have {} bytes, and {given} were given",
                slot.name, slot.least
            )),
            (Some(_), _) => Ok(()),
        }
    }

    /// Runs at least `threads` invocations in workgroups of `size`, folded into two dimensions where one is
    /// too short. The shader finds its place with `linear_index` of `common/index.wgsl`.
    ///
    /// # Errors
    /// As [`Launch::groups`].
    pub fn threads(self, threads: u64, size: u32) -> Result<()> {
        let groups = fold(threads.div_ceil(size.into()), self.gpu.caps().max_groups);
        self.groups(groups)
    }
}

/// `count` workgroups as [x, y, 1] with x * y >= count and neither over `most`.
fn fold(count: u64, most: u32) -> [u32; 3] {
    let y = count.div_ceil(most.into()).max(1);
    let x = count.div_ceil(y);
    [x as u32, y.try_into().unwrap_or(u32::MAX), 1]
}

impl Gpu {
    /// Starts a call of one of the library's kernels, which runs without bounds checks: whoever calls this proves that all sizes
    /// are those of the buffers.
    pub(crate) fn launch(&self, spec: ShaderSpec) -> Launch<'_> {
        Launch { gpu: self, shader: spec.into(), buffers: Vec::new(), params: Vec::new() }
    }

    /// Starts a call of a host's own kernel, WGSL in the library's conventions; see [`Shader::Host`]. It is
    /// compiled once for each text, and always with bounds checks. A text that is wrong, or does not fit what is bound, is an
    /// [`Error::Shader`] of [`Launch::groups`], and the device goes on.
    pub fn launch_source(&self, name: &str, text: &str) -> Launch<'_> {
        let shader = Shader::Host { name: name.into(), text: text.into() };
        Launch { gpu: self, shader, buffers: Vec::new(), params: Vec::new() }
    }

    /// Copies all of `from` to the place `offset` (in bytes, a multiple of 4) of `to`.
    ///
    /// # Errors
    /// Where it does not fit there, or one of them is on another device.
    pub fn copy(&self, from: &Buffer, to: &Buffer, offset: u64) -> Result<()> {
        self.refuse_foreign(from)?;
        self.refuse_foreign(to)?;
        if offset.checked_add(from.bytes()).is_none_or(|end| end > to.bytes())
            || !offset.is_multiple_of(4)
            || from.same(to)
        {
            return Err(Error::Gpu(format!(
                "{} bytes do not fit at offset {offset} of a buffer of {} bytes",
                from.bytes(),
                to.bytes()
            )));
        }
        let command = Command::Copy {
            from: from.raw().clone(),
            from_offset: from.offset(),
            to: to.raw().clone(),
            to_offset: to.offset() + offset,
            bytes: from.bytes(),
        };
        lock(&self.0.stream).push(self, command, &[from.clone(), to.clone()])
    }

    fn foreign(&self, buffer: &Buffer) -> String {
        format!("a tensor lives on {:?}, the work is for {self:?}; move it first", buffer.gpu())
    }

    pub(super) fn refuse_foreign(&self, buffer: &Buffer) -> Result<()> {
        if buffer.gpu().same(self) { Ok(()) } else { Err(Error::Gpu(self.foreign(buffer))) }
    }

    /// Hands everything that was asked for to the device, without waiting for it.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn flush(&self) -> Result<()> {
        lock(&self.0.stream).flush(self)?;
        self.check()
    }

    /// Waits until everything that was asked for is done.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn wait(&self) -> Result<()> {
        self.flush()?;
        self.wait_for(None)?;
        self.check()
    }

    pub(super) fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        self.poll(wgpu::PollType::Wait { submission_index, timeout: None })
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn folding_covers_every_count_within_the_limit() {
        for count in [1u64, 2, 65_535, 65_536, 65_537, 1_000_003, 4_000_000_000] {
            let [x, y, _] = fold(count, 65_535);
            assert!(u64::from(x) * u64::from(y) >= count && x <= 65_535 && y <= 65_535, "{count}: {x} x {y}");
        }
    }
}
