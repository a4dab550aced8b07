//! The file of an integer network: safetensors with the graph as JSON in its metadata. docs/int8-format.md says it for writers
//! and readers in other languages.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::grid::Grid;
use super::model::{Conv2d, Function, Int8Model, Layer, Linear, Op, Padding, Table, Window};
use super::packing;
use crate::whole_file::write_whole;
use crate::{Error, Result};

/// What all versions of the format begin with.
const FAMILY: &str = "simqat-int8-";
/// The version that is written and read.
const VERSION: u32 = 1;
/// Bytes of the longest header that is looked at; ResNet-101's has some ten thousand.
const MOST_HEADER: u64 = 1 << 24;
/// Keys of the metadata that are the format's own.
const OWN: [&str; 3] = ["format", "model", "sha256"];

/// The graph as it stands in the metadata.
#[derive(Serialize, Deserialize)]
struct Header {
    name: String,
    output: usize,
    layers: Vec<LayerHeader>,
}

#[derive(Serialize, Deserialize)]
struct LayerHeader {
    name: String,
    #[serde(flatten)]
    op: OpHeader,
    inputs: Vec<usize>,
    shape: Vec<usize>,
    /// An f32, written with all the digits of an f64, so that no reader rounds.
    scale: f64,
    zero_point: i8,
    low: i8,
    high: i8,
    #[serde(default = "identity", skip_serializing_if = "is_identity")]
    activation: Function,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum OpHeader {
    Input,
    Conv2d {
        bits: u32,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        /// Top, left, bottom, right: ONNX's order.
        padding: [usize; 4],
        groups: usize,
    },
    Dense {
        bits: u32,
    },
    MaxPool2d(WindowHeader),
    AvgPool2d(WindowHeader),
    Flatten,
    Add,
    Table {
        function: Function,
    },
}

#[derive(Serialize, Deserialize)]
struct WindowHeader {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

fn identity() -> Function {
    Function::Identity
}

fn is_identity(function: &Function) -> bool {
    *function == Function::Identity
}

impl From<Window> for WindowHeader {
    fn from(Window { kernel, stride, padding }: Window) -> Self {
        WindowHeader { kernel, stride, padding }
    }
}

impl From<WindowHeader> for Window {
    fn from(WindowHeader { kernel, stride, padding }: WindowHeader) -> Self {
        Window { kernel, stride, padding }
    }
}

impl LayerHeader {
    fn of(layer: &Layer) -> LayerHeader {
        let op = match &layer.op {
            Op::Input => OpHeader::Input,
            Op::Conv2d(conv) => {
                let Padding { top, left, bottom, right } = conv.padding;
                OpHeader::Conv2d {
                    bits: conv.linear.bits,
                    kernel: conv.kernel,
                    stride: conv.stride,
                    dilation: conv.dilation,
                    padding: [top, left, bottom, right],
                    groups: conv.groups,
                }
            }
            Op::Dense(linear) => OpHeader::Dense { bits: linear.bits },
            Op::MaxPool2d(window) => OpHeader::MaxPool2d((*window).into()),
            Op::AvgPool2d(window) => OpHeader::AvgPool2d((*window).into()),
            Op::Flatten => OpHeader::Flatten,
            Op::Add => OpHeader::Add,
            Op::Table(table) => OpHeader::Table { function: table.function },
        };
        let Grid { scale, zero_point, low, high } = layer.grid;
        LayerHeader {
            name: layer.name.clone(),
            op,
            inputs: layer.inputs.clone(),
            shape: layer.shape.clone(),
            scale: scale.into(),
            zero_point,
            low,
            high,
            activation: layer.activation,
        }
    }

    /// The layer with its tensors; inputs of a row of weights follow from what stands in the file.
    fn layer(self, tensors: &Tensors) -> Result<Layer> {
        let name = self.name;
        let op = match self.op {
            OpHeader::Input => Op::Input,
            OpHeader::Conv2d { bits, kernel, stride, dilation, padding, groups } => {
                let [top, left, bottom, right] = padding;
                Op::Conv2d(Conv2d {
                    linear: tensors.linear(&name, bits)?,
                    kernel,
                    stride,
                    dilation,
                    padding: Padding { top, left, bottom, right },
                    groups,
                })
            }
            OpHeader::Dense { bits } => Op::Dense(tensors.linear(&name, bits)?),
            OpHeader::MaxPool2d(window) => Op::MaxPool2d(window.into()),
            OpHeader::AvgPool2d(window) => Op::AvgPool2d(window.into()),
            OpHeader::Flatten => Op::Flatten,
            OpHeader::Add => Op::Add,
            OpHeader::Table { function } => {
                Op::Table(Table { function, codes: tensors.codes(&name, "table")?.1 })
            }
        };
        Ok(Layer {
            name,
            op,
            inputs: self.inputs,
            shape: self.shape,
            grid: Grid {
                scale: self.scale as f32,
                zero_point: self.zero_point,
                low: self.low,
                high: self.high,
            },
            activation: self.activation,
        })
    }
}

/// The tensors of a file that was read.
struct Tensors<'a>(SafeTensors<'a>);

impl Tensors<'_> {
    fn get(&self, layer: &str, own: &str, dtype: Dtype) -> Result<TensorView<'_>> {
        let name = format!("{layer}.{own}");
        let tensor =
            self.0.tensor(&name).map_err(|_| Error::Invalid(format!("there is no tensor \"{name}\"")))?;
        if tensor.dtype() != dtype {
            return Err(Error::Invalid(format!(
                "tensor \"{name}\" has type {:?} instead of {dtype:?}",
                tensor.dtype()
            )));
        }
        Ok(tensor)
    }

    fn numbers<T>(&self, layer: &str, own: &str, dtype: Dtype, of: fn([u8; 4]) -> T) -> Result<Vec<T>> {
        let tensor = self.get(layer, own, dtype)?;
        Ok(tensor.data().chunks_exact(4).map(|b| of([b[0], b[1], b[2], b[3]])).collect())
    }

    fn codes(&self, layer: &str, own: &str) -> Result<(Vec<usize>, Vec<i8>)> {
        let tensor = self.get(layer, own, Dtype::I8)?;
        Ok((tensor.shape().to_vec(), tensor.data().iter().map(|&byte| byte as i8).collect()))
    }

    fn linear(&self, layer: &str, bits: u32) -> Result<Linear> {
        let scale = self.numbers(layer, "scale", Dtype::F32, f32::from_le_bytes)?;
        let bias = self.numbers(layer, "bias", Dtype::I32, i32::from_le_bytes)?;
        let weight = match packing::per_byte(bits) {
            1 => self.codes(layer, "weight")?.1,
            _ => {
                let tensor = self.get(layer, "weight", Dtype::U8)?;
                let row = self.numbers(layer, "row", Dtype::U32, u32::from_le_bytes)?;
                let [row] = row[..] else {
                    return Err(Error::Invalid(format!("tensor \"{layer}.row\" is not one number")));
                };
                packing::unpack(tensor.data(), scale.len(), row as usize, bits).ok_or_else(|| {
                    Error::Invalid(format!(
                        "tensor \"{layer}.weight\" has {} bytes, which are not {} rows of {row} codes of {bits} bits",
                        tensor.data().len(),
                        scale.len()
                    ))
                })?
            }
        };
        Ok(Linear { weight, scale, bits, bias })
    }
}

/// A tensor on its way into a file.
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn stored(layer: &Layer) -> Vec<Stored> {
    let of = |own: &str, dtype, shape: Vec<usize>, bytes| Stored {
        name: format!("{}.{own}", layer.name),
        dtype,
        shape,
        bytes,
    };
    let bytes_of = |codes: &[i8]| codes.iter().map(|&code| code as u8).collect::<Vec<_>>();
    let linear = |linear: &Linear, shape: Vec<usize>| {
        let outputs = linear.scale.len();
        let row = linear.weight.len() / outputs;
        let mut all = vec![
            of(
                "scale",
                Dtype::F32,
                vec![outputs],
                linear.scale.iter().flat_map(|s| s.to_le_bytes()).collect(),
            ),
            of("bias", Dtype::I32, vec![outputs], linear.bias.iter().flat_map(|b| b.to_le_bytes()).collect()),
        ];
        match packing::per_byte(linear.bits) {
            1 => all.push(of("weight", Dtype::I8, shape, bytes_of(&linear.weight))),
            _ => {
                let packed = packing::pack(&linear.weight, row, linear.bits);
                all.push(of("weight", Dtype::U8, vec![outputs, packed.len() / outputs], packed));
                all.push(of("row", Dtype::U32, vec![1], (row as u32).to_le_bytes().to_vec()));
            }
        }
        all
    };
    match &layer.op {
        Op::Conv2d(conv) => {
            let [height, width] = conv.kernel;
            linear(&conv.linear, vec![conv.linear.scale.len(), conv.channels_per_group(), height, width])
        }
        Op::Dense(dense) => {
            let outputs = dense.scale.len();
            linear(dense, vec![outputs, dense.weight.len() / outputs])
        }
        Op::Table(table) => vec![of("table", Dtype::I8, vec![256], bytes_of(&table.codes))],
        Op::Input | Op::MaxPool2d(_) | Op::AvgPool2d(_) | Op::Flatten | Op::Add => Vec::new(),
    }
}

impl Int8Model {
    /// The bytes of its file.
    ///
    /// # Errors
    /// Where it is no network that could run ([`Int8Model::check`]), or metadata uses a name of the format's own.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.check()?;
        if let Some(key) = OWN.iter().find(|key| self.metadata.contains_key(**key)) {
            return Err(Error::Invalid(format!("metadata \"{key}\" is the format's own; take another name")));
        }
        let header = Header {
            name: self.name.clone(),
            output: self.output,
            layers: self.layers.iter().map(LayerHeader::of).collect(),
        };
        let failed =
            |error: &dyn std::fmt::Display| Error::Invalid(format!("the model cannot be written: {error}"));
        let mut metadata: HashMap<String, String> =
            self.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        metadata.insert("format".into(), format!("{FAMILY}{VERSION}"));
        metadata.insert("model".into(), serde_json::to_string(&header).map_err(|e| failed(&e))?);
        let blank = "0".repeat(64);
        metadata.insert("sha256".into(), blank.clone());
        let tensors: Vec<Stored> = self.layers.iter().flat_map(stored).collect();
        let views = tensors
            .iter()
            .map(|t| TensorView::new(t.dtype, t.shape.clone(), &t.bytes).map(|view| (t.name.as_str(), view)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| failed(&e))?;
        let bytes = serialize(views, Some(metadata)).map_err(|e| failed(&e))?;
        let mut bytes = in_order(&bytes).ok_or_else(|| failed(&"its header is no JSON"))?;
        let place = checksum_place(&bytes, &blank).ok_or_else(|| failed(&"its checksum has no place"))?;
        let sum = checksum(&bytes, place);
        bytes[place..place + 64].copy_from_slice(sum.as_bytes());
        Ok(bytes)
    }

    /// Writes its file, by way of a temporary one beside it.
    ///
    /// # Errors
    /// As [`Int8Model::to_bytes`], and where the disk refuses.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), &self.to_bytes()?)
    }

    /// Reads a file and looks at all of it, so that no engine has to.
    ///
    /// # Errors
    /// Where it is missing, truncated, damaged, of a newer version, or no network that could run.
    pub fn read(path: impl AsRef<Path>) -> Result<Int8Model> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        Int8Model::from_bytes(&bytes).map_err(|e| Error::bad_file(path, e.to_string()))
    }

    /// As [`Int8Model::read`], for bytes that are already there: such as those that a program carries in itself.
    ///
    /// # Errors
    /// As [`Int8Model::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Int8Model> {
        let bad = |message: String| Error::Invalid(message);
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| bad(format!("this is no whole safetensors file ({e}); is the copy truncated?")))?;
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| bad(format!("the header is damaged ({e})")))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        check_version(metadata.get("format").map(String::as_str))?;
        let given = metadata.get("sha256").filter(|digits| digits.len() == 64);
        let fits = |digits: &String| {
            checksum_place(bytes, digits).is_some_and(|place| checksum(bytes, place) == *digits)
        };
        if !given.is_some_and(fits) {
            return Err(bad(
                "its checksum does not fit its content: the file is damaged; copy or convert it again".into(),
            ));
        }
        let model = metadata.get("model").ok_or_else(|| bad("its metadata has no \"model\"".into()))?;
        let header: Header = serde_json::from_str(model)
            .map_err(|e| bad(format!("the graph in its metadata cannot be read: {e}")))?;
        let tensors = Tensors(file);
        let layers = header.layers.into_iter().map(|layer| layer.layer(&tensors)).collect::<Result<_>>()?;
        let rest: BTreeMap<String, String> =
            metadata.into_iter().filter(|(key, _)| !OWN.contains(&key.as_str())).collect();
        let model = Int8Model { name: header.name, layers, output: header.output, metadata: rest };
        model.check()?;
        Ok(model)
    }
}

/// True for a file that says of itself that it is an int8 model, of whatever version. Whether it is whole,
/// [`Int8Model::read`] tells.
///
/// # Errors
/// Where it cannot be read.
pub fn is_int8_model(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let mut file = std::fs::File::open(path).map_err(Error::io(path))?;
    let mut start = Vec::new();
    (&mut file).take(8).read_to_end(&mut start).map_err(Error::io(path))?;
    let Ok(length) = <[u8; 8]>::try_from(&start[..]) else { return Ok(false) };
    // No header of ours is longer; what claims more is another file.
    let length = u64::from_le_bytes(length).min(MOST_HEADER);
    let mut header = Vec::new();
    (&mut file).take(length).read_to_end(&mut header).map_err(Error::io(path))?;
    let key = format!("\"format\":\"{FAMILY}");
    Ok(header.windows(key.len()).any(|window| window == key.as_bytes()))
}

fn check_version(format: Option<&str>) -> Result<()> {
    let version = format.and_then(|format| format.strip_prefix(FAMILY)).and_then(|v| v.parse::<u32>().ok());
    match (version, format) {
        (Some(VERSION), _) => Ok(()),
        (Some(other), _) => Err(Error::Invalid(format!(
            "its format is {FAMILY}{other}, and this program reads {FAMILY}{VERSION}: take a newer simqat, or convert the \
             checkpoint again"
        ))),
        (None, Some(other)) => Err(Error::Invalid(format!(
            "its format is \"{other}\", not {FAMILY}{VERSION}: int8 models are written by `simqat convert`"
        ))),
        (None, None) => Err(Error::Invalid(
            "it is a safetensors file, but not an int8 model (see `simqat convert`)".into(),
        )),
    }
}

/// The same file with the names in its header in alphabetical order: metadata comes out of a hash map, and the same model is to
/// be the same bytes.
fn in_order(bytes: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (header, data) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
    let header: serde_json::Value = serde_json::from_slice(header).ok()?;
    let mut header = header.to_string();
    // Tensors begin at a multiple of 8.
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    Some([&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat())
}

/// Where the 64 digits of the checksum stand.
fn checksum_place(bytes: &[u8], digits: &str) -> Option<usize> {
    let key = format!("\"sha256\":\"{digits}\"");
    let start = bytes.windows(key.len()).position(|window| window == key.as_bytes())?;
    Some(start + key.len() - 65)
}

/// SHA-256 of the whole file with zeros for digits of the checksum itself.
fn checksum(bytes: &[u8], place: usize) -> String {
    let mut hash = Sha256::new();
    hash.update(&bytes[..place]);
    hash.update([b'0'; 64]);
    hash.update(&bytes[place + 64..]);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
