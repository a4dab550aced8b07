//! How long each kernel takes, on the device's own clock where it has one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::device::{Gpu, lock};
use super::stream::{Command, encode_copy, encode_dispatch};
use crate::{Error, Result};

/// Time of one kernel, summed over its calls.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The shader and its constants.
    pub kernel: String,
    /// How often it ran.
    pub calls: u64,
    /// All calls together.
    pub total: Duration,
}

/// Collects times while it is in the stream.
#[derive(Default)]
pub(super) struct Profiler {
    times: BTreeMap<String, (u64, Duration)>,
}

impl Profiler {
    fn add(&mut self, command: &Command, time: Duration) {
        let name = match command {
            Command::Dispatch { pipeline, .. } => pipeline.shader.to_string(),
            Command::Copy { .. } => "copy".to_string(),
        };
        let entry = self.times.entry(name).or_default();
        entry.0 += 1;
        entry.1 += time;
    }

    /// Runs a batch with a pass for each dispatch, and waits for it.
    pub fn run(&mut self, gpu: &Gpu, encoder: wgpu::CommandEncoder, batch: &[Command]) -> Result<()> {
        if gpu.caps().timestamps {
            self.run_stamped(gpu, encoder, batch)
        } else {
            drop(encoder);
            self.run_waiting(gpu, batch)
        }
    }

    fn run_stamped(&mut self, gpu: &Gpu, mut encoder: wgpu::CommandEncoder, batch: &[Command]) -> Result<()> {
        let device = &gpu.0.device;
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count: 2 * batch.len() as u32,
        });
        let dispatches: Vec<&Command> =
            batch.iter().filter(|c| matches!(c, Command::Dispatch { .. })).collect();
        let mut next = 0;
        for command in batch {
            if matches!(command, Command::Copy { .. }) {
                encode_copy(&mut encoder, command);
                continue;
            }
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(next),
                    end_of_pass_write_index: Some(next + 1),
                }),
            });
            encode_dispatch(&mut pass, command);
            next += 2;
        }
        if next == 0 {
            gpu.0.queue.submit([encoder.finish()]);
            return Ok(());
        }
        let size = u64::from(next) * 8;
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let staging = buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ);
        encoder.resolve_query_set(&queries, 0..next, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, size);
        gpu.0.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        gpu.wait_for(None)?;
        let view = staging
            .get_mapped_range(..)
            .map_err(|e| Error::Gpu(format!("reading the GPU's clock failed: {e}")))?;
        let period = f64::from(gpu.0.queue.get_timestamp_period());
        for (command, pair) in dispatches.iter().zip(view.chunks_exact(16)) {
            let stamp: [u64; 2] = bytemuck::pod_read_unaligned(pair);
            let ticks = stamp[1].saturating_sub(stamp[0]);
            self.add(command, Duration::from_nanos((ticks as f64 * period) as u64));
        }
        Ok(())
    }

    /// Without a clock on the device: one submission each, timed from outside.
    fn run_waiting(&mut self, gpu: &Gpu, batch: &[Command]) -> Result<()> {
        for command in batch {
            let mut encoder = gpu.0.device.create_command_encoder(&Default::default());
            match command {
                Command::Copy { .. } => encode_copy(&mut encoder, command),
                Command::Dispatch { .. } => {
                    encode_dispatch(&mut encoder.begin_compute_pass(&Default::default()), command);
                }
            }
            let start = Instant::now();
            gpu.0.queue.submit([encoder.finish()]);
            gpu.wait_for(None)?;
            self.add(command, start.elapsed());
        }
        Ok(())
    }
}

impl Gpu {
    /// Times every kernel that `work` runs, slowest first. Runs slower than without.
    ///
    /// # Errors
    /// What `work` returns, and where the device has failed.
    pub fn profile<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(Vec<KernelTime>, T)> {
        self.wait()?;
        lock(&self.0.stream).profiler = Some(Profiler::default());
        let result = work();
        let finished = self.wait();
        let profiler = lock(&self.0.stream).profiler.take().unwrap_or_default();
        let result = result?;
        finished?;
        let mut times: Vec<KernelTime> = profiler
            .times
            .into_iter()
            .map(|(kernel, (calls, total))| KernelTime { kernel, calls, total })
            .collect();
        times.sort_by_key(|t| std::cmp::Reverse(t.total));
        Ok((times, result))
    }
}
