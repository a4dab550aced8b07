//! How channels lie in memory, and how workgroups share them.

use super::super::extent;
use super::super::lanes::Lanes;
use crate::gpu::Gpu;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Shape, Tensor};
use crate::{Error, Result};

/// A tensor [N, C, ...] as [rows, channels, plane]. Planes are counted in elements: four values each with `vectors`.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub rows: usize,
    pub channels: usize,
    pub plane: usize,
    pub vectors: bool,
}

impl Layout {
    /// # Errors
    /// Where `x` is not f32 [N, C, ...], is empty, or is more than shaders count.
    pub fn of(x: &Tensor) -> Result<Self> {
        x.expect(DType::F32)?;
        let shape = x.shape();
        let (Some(&rows), Some(&channels), false) = (shape.first(), shape.get(1), x.count() == 0) else {
            return Err(Error::Shape(format!(
                "a normalization takes values [N, C, ...], at least one, and their shape is {shape}"
            )));
        };
        extent(x.count(), "the number of values")?;
        let plane: usize = shape[2..].iter().product();
        let vectors = plane.is_multiple_of(4);
        Ok(Layout { rows, channels, plane: if vectors { plane / 4 } else { plane }, vectors })
    }

    /// Elements of a row, of all channels.
    pub fn width(&self) -> usize {
        self.channels * self.plane
    }

    fn per_value(&self) -> usize {
        if self.vectors { 4 } else { 1 }
    }

    /// Values of a channel.
    pub fn values(&self) -> usize {
        self.rows * self.plane * self.per_value()
    }

    /// How a channel is cut up where one workgroup would take too long; `None` where it takes the whole.
    pub fn pieces(&self, gpu: &Gpu, lanes: Lanes) -> Option<Pieces> {
        let values = self.values();
        let (enough, long) = lanes.many_channels();
        let busy = self.channels >= enough && values <= long;
        if values <= lanes.a_piece() || busy || self.channels > gpu.caps().max_groups as usize {
            return None;
        }
        // Rounding to whole rows, and to whole parts of a plane, may double the number.
        let wanted =
            (lanes.a_piece() / self.per_value()).max((self.rows * self.plane).div_ceil(MOST_PIECES / 2));
        let columns = self.plane.min(wanted);
        Some(Pieces {
            rows: (wanted / columns).min(self.rows),
            columns,
            count: [self.plane.div_ceil(columns), self.rows.div_ceil((wanted / columns).min(self.rows))],
        })
    }
}

/// Most pieces of a channel.
const MOST_PIECES: usize = 4096;

/// A channel in pieces of so many rows and columns of its plane.
#[derive(Clone, Copy)]
pub(super) struct Pieces {
    pub rows: usize,
    pub columns: usize,
    /// Along the plane, and along the rows.
    pub count: [usize; 2],
}

impl Lanes {
    /// Values that one workgroup takes sooner than a second dispatch can be started.
    fn a_piece(self) -> usize {
        if self.subgroup { 16_384 } else { 8192 }
    }

    /// From how many channels on a workgroup each keeps the device busy, and up to how many values it takes then.
    fn many_channels(self) -> (usize, usize) {
        if self.subgroup { (16, 1 << 20) } else { (1024, 1 << 16) }
    }

    /// How many lanes take neighbours along a plane of so many elements; the others take the next rows.
    pub fn along(self, plane: usize) -> u32 {
        [self.count, 8].into_iter().find(|&along| along <= self.count && plane >= along as usize).unwrap_or(1)
    }

    /// Every value of [`Lanes::along`].
    pub fn alongs(self) -> Vec<u32> {
        if self.count > 8 { vec![1, 8, self.count] } else { vec![1, self.count] }
    }
}

/// What a kernel that works by channel is given of the values.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// Nothing: the running statistics are all it needs.
    Nowhere,
    /// The values themselves, a workgroup for each channel.
    Values { lanes: Lanes, along: u32, vectors: bool },
    /// What was found in the pieces of a channel.
    Pieces { lanes: Lanes },
}

impl Source {
    /// Every kind that the catalogue lists.
    pub fn all() -> Vec<Source> {
        let mut all = vec![Source::Nowhere];
        for lanes in Lanes::kinds() {
            all.push(Source::Pieces { lanes });
            for along in lanes.alongs() {
                all.extend([false, true].map(|vectors| Source::Values { lanes, along, vectors }));
            }
        }
        all
    }

    pub fn constants(self, spec: ShaderSpec) -> ShaderSpec {
        match self {
            Source::Nowhere => spec.with("source", "none"),
            Source::Values { lanes, along, vectors } => {
                lanes.give(spec).with("source", "values").with("along", along).with("vectors", vectors)
            }
            Source::Pieces { lanes } => lanes.give(spec).with("source", "pieces"),
        }
    }
}

/// Workgroups for channels, folded into two dimensions where one is too short.
///
/// # Errors
/// Where there are more than shaders count.
pub(super) fn folded(gpu: &Gpu, count: usize) -> Result<[u32; 2]> {
    let count = extent(count, "the number of workgroups")?;
    let y = count.div_ceil(gpu.caps().max_groups);
    Ok([count.div_ceil(y), y])
}

/// Fails unless `tensor` is f32 `[channels]`.
///
/// # Errors
/// With the name and the shape.
pub(super) fn expect_channels(what: &str, tensor: &Tensor, channels: usize) -> Result<()> {
    tensor.expect(DType::F32)?;
    expect_shape(what, tensor.shape(), channels)
}

/// Fails unless `shape` is `[channels]`.
///
/// # Errors
/// With the name and the shape.
pub(super) fn expect_shape(what: &str, shape: &Shape, channels: usize) -> Result<()> {
    if shape[..] == [channels] {
        return Ok(());
    }
    Err(Error::Shape(format!("{what} of {channels} channels must be [{channels}], and its shape is {shape}")))
}
