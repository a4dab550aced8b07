//! Weights from and for PyTorch: safetensors files with the names of a state dict, as torchvision's models have them.
//!
//! A layer's path and `weight` and `bias` of convolutions and dense layers are named alike on both sides. Normalizations have
//! other words there: `weight` for `gamma`, `bias` for `beta`, `num_batches_tracked` for `steps`.

use std::collections::HashMap;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use wildmatch::WildMatch;

use crate::kernel::counter::FROZEN;
use crate::nn::Network;
use crate::tensor::{DType, Tensor};
use crate::whole_file::write_whole;
use crate::{Error, Result};

/// A parameter under PyTorch's name.
struct Entry {
    name: String,
    tensor: Tensor,
    /// A network without it starts from what it has: files from elsewhere often leave it out.
    is_optional: bool,
}

/// The parameters of a network under the names of a state dict. State of quantizers has no such name.
fn entries(network: &Network) -> Vec<Entry> {
    let norms: Vec<&str> = network.norms().map(|(path, _)| path).collect();
    let named = |own: &str| match own {
        "gamma" => "weight".to_string(),
        "beta" => "bias".to_string(),
        "steps" => "num_batches_tracked".to_string(),
        other => other.to_string(),
    };
    let entry = |name: &str| match name.rsplit_once('.') {
        Some((path, own)) if norms.contains(&path) => format!("{path}.{}", named(own)),
        _ => name.to_string(),
    };
    let parameters = network.parameters().iter().filter(|p| !p.is_of_quantizer());
    let all = parameters.map(|p| Entry {
        name: entry(&p.name),
        tensor: p.tensor.clone(),
        is_optional: p.tensor.dtype() == DType::U32,
    });
    all.collect()
}

/// What [`import`] took and left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Tensors that the network took.
    pub taken: usize,
    /// Parameters that were skipped and keep the values they had.
    pub skipped: Vec<String>,
}

/// A state dict that was read.
pub struct StateDict {
    path: std::path::PathBuf,
    tensors: HashMap<String, (Vec<usize>, Values)>,
}

enum Values {
    F32(Vec<f32>),
    Count(Vec<i64>),
}

impl StateDict {
    /// Reads a safetensors file: f32, f64, f16 and bf16 values become f32; whole numbers are counts.
    ///
    /// # Errors
    /// Where the file is missing, truncated, or holds a type that is no number, with the tensor's name.
    pub fn read(path: impl AsRef<Path>) -> Result<StateDict> {
        let path = path.as_ref();
        let content = std::fs::read(path).map_err(Error::io(path))?;
        let file = SafeTensors::deserialize(&content).map_err(|e| {
            Error::bad_file(
                path,
                format!(
                    "this is no whole safetensors file ({e}); a state dict is written to one by \
                     safetensors.torch.save_file(model.state_dict(), path)"
                ),
            )
        })?;
        let mut tensors = HashMap::new();
        for (name, view) in file.tensors() {
            let values = values_of(&view).ok_or_else(|| {
                Error::bad_file(
                    path,
                    format!("\"{name}\" has type {:?}; f32, f64, f16, bf16 and i64 are read", view.dtype()),
                )
            })?;
            tensors.insert(name, (view.shape().to_vec(), values));
        }
        Ok(StateDict { path: path.to_path_buf(), tensors })
    }

    /// The shape of the tensor `name`.
    pub fn shape_of(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|(shape, _)| &shape[..])
    }

    /// Puts the values into a network of the same layers. Parameters whose names in the file match one of the patterns
    /// in `skip` (`fc.*`) keep the values they have: for a head with other classes.
    ///
    /// # Errors
    /// Where a tensor is missing, left over, of another shape or not finite, with its name (nothing is changed then), a
    /// pattern matches nothing, or the device has failed.
    pub fn load_into(&self, network: &Network, skip: &[String]) -> Result<Imported> {
        let bad = |message: String| Err(Error::bad_file(&self.path, message));
        let patterns: Vec<WildMatch> = skip.iter().map(|pattern| WildMatch::new(pattern)).collect();
        let is_skipped = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
        let entries = entries(network);
        if let Some((text, _)) =
            skip.iter().zip(&patterns).find(|(_, p)| !entries.iter().any(|e| p.matches(&e.name)))
        {
            return Err(Error::Invalid(format!(
                "nothing to skip is named \"{text}\" in {}; its tensors are {} ... {}",
                network.name(),
                entries.first().map_or("", |e| &e.name),
                entries.last().map_or("", |e| &e.name),
            )));
        }
        let mut imported = Imported::default();
        let mut found = Vec::new();
        for entry in &entries {
            if is_skipped(&entry.name) {
                imported.skipped.push(entry.name.clone());
                continue;
            }
            match self.tensors.get(&entry.name) {
                Some((shape, values)) => {
                    found.push((&entry.tensor, self.bytes(entry, shape, values, network)?))
                }
                None if entry.is_optional => {}
                None => {
                    return bad(format!("it has no \"{}\", which {} needs", entry.name, network.name()));
                }
            }
        }
        let known = |name: &String| entries.iter().any(|e| e.name == *name);
        if let Some(name) = self.tensors.keys().filter(|name| !known(name) && !is_skipped(name)).min() {
            return bad(format!("{} has no \"{name}\"; it is of another network", network.name()));
        }
        imported.taken = found.len();
        for (tensor, bytes) in found {
            tensor.gpu().write(tensor.buffer(), &bytes)?;
        }
        Ok(imported)
    }

    fn bytes(&self, entry: &Entry, shape: &[usize], values: &Values, network: &Network) -> Result<Vec<u8>> {
        let Entry { name, tensor, .. } = entry;
        let bad = |message: String| Err(Error::bad_file(&self.path, message));
        // A counter is one number there, and one for each channel here.
        let is_count = shape.is_empty() && tensor.dtype() == DType::U32;
        if shape != &tensor.shape()[..] && !is_count {
            return bad(format!(
                "\"{name}\" has shape {shape:?} in it and {} in {}; with another number of classes, skip the last layer",
                tensor.shape(),
                network.name()
            ));
        }
        match (values, tensor.dtype()) {
            (Values::F32(values), DType::F32) => match values.iter().position(|v| !v.is_finite()) {
                Some(place) => bad(format!("\"{name}\" holds {} at place {place}", values[place])),
                None => Ok(bytemuck::cast_slice(values).to_vec()),
            },
            (Values::Count(values), DType::U32) => {
                // No training takes more steps than that.
                let most = i64::from(FROZEN - 1);
                let counts = values.iter().map(|&v| v.clamp(0, most) as u32).cycle();
                Ok(bytemuck::cast_slice(&counts.take(tensor.count()).collect::<Vec<u32>>()).to_vec())
            }
            _ => bad(format!("\"{name}\" does not hold the kind of numbers that {} wants", tensor.dtype())),
        }
    }
}

fn values_of(view: &TensorView<'_>) -> Option<Values> {
    fn each<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
    }
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F32 => Values::F32(each(bytes, f32::from_le_bytes)),
        Dtype::F64 => Values::F32(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        Dtype::F16 => Values::F32(each(bytes, |b| f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Values::F32(each(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        Dtype::I64 => Values::Count(each(bytes, i64::from_le_bytes)),
        Dtype::I32 => Values::Count(each(bytes, |b| i64::from(i32::from_le_bytes(b)))),
        _ => return None,
    })
}

/// Reads the state dict at `path` into a network; see [`StateDict::load_into`].
///
/// # Errors
/// As [`StateDict::read`] and [`StateDict::load_into`].
pub fn import(path: impl AsRef<Path>, network: &Network, skip: &[String]) -> Result<Imported> {
    StateDict::read(path)?.load_into(network, skip)
}

/// Writes a network's parameters and running statistics as a state dict, which
/// `model.load_state_dict(safetensors.torch.load_file(path))` takes. State of quantizers is left out: how many tensors that
/// are is returned.
///
/// # Errors
/// Where the file cannot be written, or the device has failed.
pub fn export(network: &Network, path: impl AsRef<Path>) -> Result<usize> {
    let path = path.as_ref();
    let entries = entries(network);
    let mut content = Vec::new();
    for entry in &entries {
        content.push(match entry.tensor.dtype() {
            DType::F32 => (Dtype::F32, entry.tensor.shape().to_vec(), bytes_of(&entry.tensor.read_f32()?)),
            DType::U32 => {
                // All channels count alike.
                let count = entry.tensor.read_u32()?.first().map_or(0, |count| i64::from(count & !FROZEN));
                (Dtype::I64, Vec::new(), bytes_of(&[count]))
            }
        });
    }
    let bad = |e: safetensors::SafeTensorError| Error::bad_file(path, e.to_string());
    let views = entries.iter().zip(&content).map(|(entry, (dtype, shape, bytes))| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (entry.name.as_str(), view)).map_err(bad)
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    // The word by which PyTorch's reader knows that the file is for it.
    let header = HashMap::from([("format".to_string(), "pt".to_string())]);
    write_whole(path, &serialize(views, Some(header)).map_err(bad)?)?;
    Ok(network.parameters().len() - entries.len())
}

fn bytes_of<T: bytemuck::NoUninit>(values: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}
