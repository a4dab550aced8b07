//! Checkpoints: one safetensors file with parameters, quantizer state, optimizer state and counters. The order
//! of the data and all random numbers are functions of the seed and the step, so they need no state.

use std::collections::HashMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::trainer::Trainer;
use crate::data::Dataset;
use crate::nn::{Network, Slot};
use crate::tensor::{DType, Tensor};
use crate::whole_file::write_whole;
use crate::{Error, Result};

/// Version of the layout of these files.
const FORMAT: &str = "simqat-checkpoint-1";
/// Prefix of the optimizer's tensors.
const VELOCITY: &str = "optimizer.velocity.";

/// A checkpoint that was read and checked.
pub struct Checkpoint {
    path: std::path::PathBuf,
    tensors: HashMap<String, Stored>,
    metadata: HashMap<String, String>,
}

struct Stored {
    shape: Vec<usize>,
    dtype: DType,
    bytes: Vec<u8>,
}

/// Writes the training's whole state to `path`, by way of a temporary file beside it: a file that was there
/// stays whole until the new one is.
///
/// # Errors
/// Where the loss or a value is not finite (nothing is written then), the disk is full, or the device has
/// failed.
pub fn save_training(trainer: &Trainer, path: impl AsRef<Path>, metadata: &[(String, String)]) -> Result<()> {
    trainer.check_finite()?;
    let mut tensors = network_tensors(trainer.network());
    for (name, velocity) in trainer.velocities() {
        tensors.push((format!("{VELOCITY}{name}"), velocity.clone()));
    }
    let mut all = metadata.to_vec();
    all.push(("step".into(), trainer.steps_done().to_string()));
    all.push(("seed".into(), trainer.options().seed.to_string()));
    all.push(("batch".into(), trainer.step_in_words()));
    let path = path.as_ref();
    write(path, trainer.network().name(), &tensors, all).map_err(|error| trainer.with_checkpoint(error))?;
    trainer.is_saved_at(path);
    Ok(())
}

/// Writes a network alone.
///
/// # Errors
/// As [`save_training`].
pub fn save_network(network: &Network, path: impl AsRef<Path>) -> Result<()> {
    save_network_with(network, path, &[])
}

/// Writes a network alone, and `metadata` beside it.
///
/// # Errors
/// As [`save_training`].
pub fn save_network_with(
    network: &Network,
    path: impl AsRef<Path>,
    metadata: &[(String, String)],
) -> Result<()> {
    write(path.as_ref(), network.name(), &network_tensors(network), metadata.to_vec())
}

fn network_tensors(network: &Network) -> Vec<(String, Tensor)> {
    network.parameters().iter().map(|p| (p.name.clone(), p.tensor.clone())).collect()
}

fn write(
    path: &Path,
    network: &str,
    tensors: &[(String, Tensor)],
    metadata: Vec<(String, String)>,
) -> Result<()> {
    // All reads are asked for before the first is waited for: one stop of the stream instead of many.
    let reads = tensors.iter().map(|(_, t)| t.gpu().start_read(t.buffer())).collect::<Result<Vec<_>>>()?;
    let mut bytes = Vec::new();
    for ((name, tensor), read) in tensors.iter().zip(reads) {
        let mut values = read.wait()?;
        values.truncate(tensor.count() * 4);
        if tensor.dtype() == DType::F32 && !all_finite(&values) {
            return Err(Error::Diverged(format!(
                "\"{name}\" holds values that are not finite; {} is not written",
                path.display()
            )));
        }
        bytes.push(values);
    }
    let views = tensors.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        let dtype = match tensor.dtype() {
            DType::F32 => Dtype::F32,
            DType::U32 => Dtype::U32,
        };
        let view = TensorView::new(dtype, tensor.shape().to_vec(), bytes);
        view.map(|v| (name.clone(), v)).map_err(|e| Error::bad_file(path, e.to_string()))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let mut header: HashMap<String, String> = metadata.into_iter().collect();
    header.insert("format".into(), FORMAT.into());
    header.insert("network".into(), network.into());
    header.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    let content =
        safetensors::serialize(views, Some(header)).map_err(|e| Error::bad_file(path, e.to_string()))?;
    write_whole(path, &content)
}

fn all_finite(bytes: &[u8]) -> bool {
    bytes.chunks_exact(4).all(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite())
}

impl Checkpoint {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Where it is missing, truncated, no checkpoint of this library, or holds values that are not finite.
    pub fn read(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        let content = std::fs::read(path).map_err(Error::io(path))?;
        let bad = |message: String| Error::bad_file(path, message);
        // Behind eight bytes of length, its header begins.
        if content.get(8).is_some_and(|&byte| byte != b'{') {
            return Err(bad(
                "this is no safetensors file, and so neither a checkpoint nor an int8 model".into()
            ));
        }
        let file = SafeTensors::deserialize(&content)
            .map_err(|e| bad(format!("this is no whole safetensors file ({e}); is the copy truncated?")))?;
        let (_, header) =
            SafeTensors::read_metadata(&content).map_err(|e| bad(format!("the header is damaged ({e})")))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        match metadata.get("format").map(String::as_str) {
            Some(FORMAT) => {}
            Some(other) if other.starts_with("simqat-int8-") => {
                return Err(bad(
                    "this is an int8 model, and what is asked needs the checkpoint that it was converted from".into(),
                ));
            }
            Some(other) => {
                return Err(bad(format!("its format is \"{other}\"; this program reads \"{FORMAT}\"")));
            }
            None => return Err(bad("it is a safetensors file, but not a checkpoint of this program".into())),
        }
        let mut tensors = HashMap::new();
        for (name, view) in file.tensors() {
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::U32 => DType::U32,
                other => return Err(bad(format!("\"{name}\" has type {other:?}; f32 and u32 are read"))),
            };
            if dtype == DType::F32 && !all_finite(view.data()) {
                return Err(bad(format!(
                    "\"{name}\" holds a NaN or an infinity; take an earlier checkpoint"
                )));
            }
            tensors.insert(name, Stored { shape: view.shape().to_vec(), dtype, bytes: view.data().to_vec() });
        }
        Ok(Checkpoint { path: path.to_path_buf(), tensors, metadata })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written beside the tensors.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Name of the network that was saved.
    fn network(&self) -> &str {
        self.metadata("network").unwrap_or("unnamed")
    }

    /// Steps that the training had done.
    pub fn step(&self) -> Option<usize> {
        self.metadata("step")?.parse().ok()
    }

    /// What its outputs stand for, `[classes]`; none if the file does not say.
    ///
    /// # Errors
    /// If what it says is no list of names.
    pub fn class_names(&self) -> Result<Option<Vec<String>>> {
        let Some(text) = self.metadata("class_names") else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|e| {
            Error::bad_file(&self.path, format!("its class_names are no list of names ({e}): {text}"))
        })
    }

    /// `data` with its labels in the order of the classes that this network was trained on.
    ///
    /// # Errors
    /// If they are other classes, with those that differ. A file that says no names is taken as one of the data's.
    pub fn in_its_classes(&self, data: Dataset) -> Result<Dataset> {
        match self.class_names()? {
            Some(names) => data.in_order_of(&names).map_err(|e| Error::bad_file(&self.path, e.to_string())),
            None => Ok(data),
        }
    }

    /// Fails if `data` has its classes in another order than this network.
    pub(super) fn check_classes(&self, data: &Dataset) -> Result<()> {
        match self.class_names()? {
            Some(names) if names != data.class_names => Err(Error::bad_file(
                &self.path,
                format!(
                    "its outputs stand for {names:?}, and the labels of \"{}\" for {:?}; Checkpoint::in_its_classes maps them",
                    data.name, data.class_names
                ),
            )),
            _ => Ok(()),
        }
    }

    /// True where the network that was saved had fake quantizers.
    pub fn is_quantized(&self) -> bool {
        self.tensors.keys().any(|name| Slot::is_path_of_state(name))
    }

    /// Puts the values into a network of the same layers. A float checkpoint may go into a quantized network,
    /// whose ranges then stay as they are, and the other way round.
    ///
    /// # Errors
    /// Where a parameter is missing or has another shape (nothing is changed then), or the device has failed.
    pub fn load_into(&self, network: &Network) -> Result<()> {
        let mut found = Vec::new();
        for parameter in network.parameters() {
            match self.find(&parameter.name, &parameter.tensor, network)? {
                Some(stored) => found.push((parameter, stored)),
                None if !parameter.is_of_quantizer() => return Err(self.missing(&parameter.name, network)),
                None => {}
            }
        }
        let foreign = self.tensors.keys().find(|name| {
            let ours = network.parameter(name).is_some();
            !ours && !name.starts_with(VELOCITY) && !Slot::is_path_of_state(name)
        });
        if let Some(name) = foreign {
            return Err(Error::bad_file(
                &self.path,
                format!(
                    "it is of another network ({}): {} has no \"{name}\"",
                    self.network(),
                    network.name()
                ),
            ));
        }
        found.into_iter().try_for_each(|(p, stored)| p.tensor.gpu().write(p.tensor.buffer(), &stored.bytes))
    }

    /// As [`Checkpoint::load_into`], for a training that begins; see [`Network::restart_counters`].
    ///
    /// # Errors
    /// As [`Checkpoint::load_into`].
    pub fn start(&self, network: &Network) -> Result<()> {
        self.load_into(network)?;
        network.restart_counters()
    }

    /// Goes on with the training that was saved: parameters, quantizers, optimizer and step. The learning rate is
    /// the trainer's own: lowering it is a reason to go on from a checkpoint.
    ///
    /// # Errors
    /// As [`Checkpoint::load_into`], and where any of the state is missing.
    pub fn resume(&self, trainer: &mut Trainer) -> Result<()> {
        let step = self.step().ok_or_else(|| {
            Error::bad_file(&self.path, "it holds a network alone, not a training that could go on")
        })?;
        if self.metadata("seed") != Some(&trainer.options().seed.to_string()) {
            return Err(Error::bad_file(
                &self.path,
                format!(
                    "it was trained with seed {}, and the recipe says {}; with another seed the order of the images \
                     would be another",
                    self.metadata("seed").unwrap_or("?"),
                    trainer.options().seed
                ),
            ));
        }
        let batch = trainer.step_in_words();
        if let Some(saved) = self.metadata("batch").filter(|saved| *saved != batch) {
            return Err(Error::bad_file(
                &self.path,
                format!("it was trained with steps of {saved}, and this training has steps of {batch}"),
            ));
        }
        let state = trainer.network().parameters().iter().find(|p| !self.tensors.contains_key(&p.name));
        if let Some(parameter) = state {
            return Err(self.missing(&parameter.name, trainer.network()));
        }
        let foreign = self
            .tensors
            .keys()
            .find(|name| trainer.network().parameter(name).is_none() && !name.starts_with(VELOCITY));
        if let Some(name) = foreign {
            return Err(Error::bad_file(
                &self.path,
                format!(
                    "it is of another training: {} has no \"{name}\"; its values can be loaded, but the training \
                     cannot go on with them",
                    trainer.network().name()
                ),
            ));
        }
        let mut velocities = Vec::new();
        for (name, velocity) in trainer.velocities() {
            let name = format!("{VELOCITY}{name}");
            let stored = self.find(&name, velocity, trainer.network())?;
            velocities
                .push((velocity.clone(), stored.ok_or_else(|| self.missing(&name, trainer.network()))?));
        }
        self.load_into(trainer.network())?;
        for (velocity, stored) in velocities {
            velocity.gpu().write(velocity.buffer(), &stored.bytes)?;
        }
        trainer.seek(step)?;
        trainer.is_saved_at(&self.path);
        Ok(())
    }

    fn find(&self, name: &str, tensor: &Tensor, network: &Network) -> Result<Option<&Stored>> {
        let Some(stored) = self.tensors.get(name) else { return Ok(None) };
        if stored.shape[..] == tensor.shape()[..] && stored.dtype == tensor.dtype() {
            return Ok(Some(stored));
        }
        Err(Error::bad_file(
            &self.path,
            format!(
                "it is of another network ({}): \"{name}\" is {} {:?} in it and {} {} in {}",
                self.network(),
                stored.dtype,
                stored.shape,
                tensor.dtype(),
                tensor.shape(),
                network.name()
            ),
        ))
    }

    fn missing(&self, name: &str, network: &Network) -> Error {
        let message = format!(
            "it is of another network ({}): it has no \"{name}\", which {} needs",
            self.network(),
            network.name()
        );
        Error::bad_file(&self.path, message)
    }
}
