//! The engine on a GPU: a model's layers as kernels.

mod layer;

use super::engine::Engine;
use super::model::{Int8Model, Op};
use crate::gpu::{Gpu, Recording};
use crate::kernel::int8::Codes;
use crate::{Error, Result};
use layer::Step;

/// Batch sizes whose recordings are kept. A data set has two: its batches', and what is left over.
const RECORDED: usize = 4;

/// Runs an integer network on a GPU. Its kernels are recorded at the first batch of each size; from then on a run is one
/// write, one submission and one read. Recording is [`Gpu::record`]: what other threads ask of the device at that time would end
/// up in it, so they should not, or a first batch should come before they begin.
///
/// ```no_run
/// # fn main() -> simqat::Result<()> {
/// use simqat::deploy::{Engine, GpuEngine, Int8Model};
/// # let (bytes, image) = (Vec::new(), Vec::new());
/// let gpu = simqat::gpu::Gpu::open()?;
/// let mut engine = GpuEngine::new(&gpu, &Int8Model::from_bytes(&bytes)?)?;
/// let logits = engine.predict(&image)?;
/// # Ok(())
/// # }
/// ```
pub struct GpuEngine {
    gpu: Gpu,
    model: Int8Model,
    /// One for each layer.
    steps: Vec<Step>,
    /// What a run does instead, where it need not know every layer's codes.
    joined: Vec<Option<Step>>,
    /// The layer after which nobody needs a layer's codes.
    last_use: Vec<usize>,
    /// The one used last stands last.
    recorded: Vec<Recorded>,
}

/// A network's kernels for batches of one size.
struct Recorded {
    images: usize,
    input: Codes,
    output: Codes,
    recording: Recording,
}

impl GpuEngine {
    /// Uploads the weights of a model.
    ///
    /// # Errors
    /// Where the model does not hold together ([`Int8Model::check`]), a layer is too large for the device, with its name, or
    /// the device has failed.
    pub fn new(gpu: &Gpu, model: &Int8Model) -> Result<GpuEngine> {
        model.check()?;
        let steps = layer::steps(gpu, model)?;
        let joined = layer::joined(model, &steps);
        let mut last_use: Vec<usize> = (0..model.layers.len()).collect();
        for (id, layer) in model.layers.iter().enumerate() {
            layer.inputs.iter().for_each(|&input| last_use[input] = id);
        }
        last_use[model.output] = model.layers.len();
        Ok(GpuEngine {
            gpu: gpu.clone(),
            model: model.clone(),
            steps,
            joined,
            last_use,
            recorded: Vec::new(),
        })
    }

    /// The device that it runs on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The input's place on the device.
    fn input(&self, images: usize) -> Result<Codes> {
        let [c, h, w] = self.model.input().planes();
        Codes::empty(&self.gpu, [images, c, h, w])
    }

    /// Codes of every layer; with `keep`, of all, else of the output alone.
    fn layers(&self, input: &Codes, keep: bool) -> Result<Vec<Option<Codes>>> {
        let mut codes: Vec<Option<Codes>> = Vec::with_capacity(self.steps.len());
        for (id, own) in self.steps.iter().enumerate() {
            let step = self.joined[id].as_ref().filter(|_| !keep).unwrap_or(own);
            let layer = &self.model.layers[id];
            let of = |index: usize| {
                let missing =
                    || Error::Gpu(format!("layer \"{}\" lost its input; please report this", layer.name));
                codes[layer.inputs[index]].as_ref().ok_or_else(missing)
            };
            let made = if matches!(layer.op, Op::Input) { input.clone() } else { step.run(of)? };
            codes.push(Some(made));
            if !keep {
                // What nobody needs any more gives its memory to the next.
                for &other in layer.inputs.iter().chain([&id]) {
                    if self.last_use[other] <= id {
                        codes[other] = None;
                    }
                }
            }
        }
        Ok(codes)
    }

    fn record(&self, images: usize) -> Result<Recorded> {
        let input = self.input(images)?;
        let (recording, output) = self.gpu.record(|| {
            let mut codes = self.layers(&input, false)?;
            codes[self.model.output].take().ok_or_else(|| Error::Gpu("a network lost its output".into()))
        })?;
        Ok(Recorded { images, input, output, recording })
    }
}

impl Engine for GpuEngine {
    fn model(&self) -> &Int8Model {
        &self.model
    }

    fn run(&mut self, codes: &[i8], output: &mut Vec<i8>) -> Result<()> {
        let images = self.model.images_in(codes.len())?;
        let run = match self.recorded.iter().position(|run| run.images == images) {
            Some(place) => self.recorded.remove(place),
            None => {
                if self.recorded.len() == RECORDED {
                    self.recorded.remove(0);
                }
                self.record(images)?
            }
        };
        run.input.write(codes)?;
        run.recording.replay()?;
        *output = run.output.read()?;
        self.recorded.push(run);
        Ok(())
    }

    fn trace(&mut self, codes: &[i8]) -> Result<Vec<Vec<i8>>> {
        let input = self.input(self.model.images_in(codes.len())?)?;
        input.write(codes)?;
        self.layers(&input, true)?.iter().flatten().map(Codes::read).collect()
    }
}
