//! What takes codes one by one: sums of two tensors, look-ups, another layout.

use super::codes::Codes;
use super::{Factor, Target, threads_of};
use crate::gpu::Gpu;
use crate::kernel::catalogue::{Entry, entry};
use crate::kernel::extent;
use crate::kernel::params::params;
use crate::shader::ShaderSpec;
use crate::tensor::Tensor;
use crate::{Error, Result};

params!(AddParams {
    invocations: u32,
    left_zero_point: i32,
    right_zero_point: i32,
    left_mantissa: u32,
    right_mantissa: u32,
    shift: u32,
    zero_point: i32,
    low: i32,
    high: i32,
});
params!(TableParams { invocations: u32 });
params!(FlattenParams { invocations: u32, in_words: u32, out_words: u32, features: u32, area: u32 });

fn add_shader(threads: u32, vector: bool) -> ShaderSpec {
    ShaderSpec::new("deploy/add.wgsl").with("threads", threads).with("vector", vector)
}

fn table_shader(threads: u32) -> ShaderSpec {
    ShaderSpec::new("deploy/table.wgsl").with("threads", threads)
}

fn flatten_shader(threads: u32) -> ShaderSpec {
    ShaderSpec::new("deploy/flatten.wgsl").with("threads", threads)
}

/// Sum of two tensors of codes of one shape: `code - zero point` of each times its factor, added up, and rounded once. Both
/// factors have the same shift.
///
/// # Errors
/// Where shapes or shifts differ, or the device has failed.
pub fn add(
    [left, right]: [&Codes; 2],
    zero_points: [i8; 2],
    factors: [Factor; 2],
    target: Target,
) -> Result<Codes> {
    if left.shape() != right.shape() || factors[0].shift != factors[1].shift {
        return Err(Error::Shape(format!(
            "codes of shapes {:?} and {:?} with {factors:?} do not add up: shapes and shifts must be the same",
            left.shape(),
            right.shape()
        )));
    }
    let output = Codes::empty(left.gpu(), left.shape())?;
    let words = output.words().count();
    let vector = words.is_multiple_of(4);
    let invocations = if vector { words / 4 } else { words };
    let threads = threads_of(left.gpu());
    left.gpu()
        .launch(add_shader(threads, vector))
        .bind(left.words().buffer())
        .bind(right.words().buffer())
        .bind(output.words().buffer())
        .params(&AddParams {
            invocations: extent(invocations, "the number of words")?,
            left_zero_point: zero_points[0].into(),
            right_zero_point: zero_points[1].into(),
            left_mantissa: factors[0].mantissa,
            right_mantissa: factors[1].mantissa,
            shift: factors[0].shift,
            zero_point: target.zero_point.into(),
            low: target.ends[0].into(),
            high: target.ends[1].into(),
        })
        .threads(invocations as u64, threads)?;
    Ok(output)
}

/// A function of a code, on the device.
pub struct Table(Tensor);

impl Table {
    /// 256 codes: entry `code + 128` is that of `code`.
    ///
    /// # Errors
    /// Where there are not 256, or the device has failed.
    pub fn upload(gpu: &Gpu, codes: &[i8]) -> Result<Table> {
        let words: Vec<u32> = codes.iter().map(|&code| i32::from(code) as u32).collect();
        Tensor::from_u32(gpu, [256], &words).map(Table)
    }

    /// Its entry for each code.
    ///
    /// # Errors
    /// Where the device has failed.
    pub fn look_up(&self, x: &Codes) -> Result<Codes> {
        let output = Codes::empty(x.gpu(), x.shape())?;
        let words = output.words().count();
        let threads = threads_of(x.gpu());
        x.gpu()
            .launch(table_shader(threads))
            .bind(x.words().buffer())
            .bind(self.0.buffer())
            .bind(output.words().buffer())
            .params(&TableParams { invocations: extent(words, "the number of words")? })
            .threads(words as u64, threads)?;
        Ok(output)
    }
}

/// The same codes as [N, C * H * W, 1, 1].
///
/// # Errors
/// Where the device has failed.
pub fn flatten(x: &Codes) -> Result<Codes> {
    let [n, c, h, w] = x.shape();
    let features = c * h * w;
    let output = Codes::empty(x.gpu(), [n, features, 1, 1])?;
    let words = output.words().count();
    let threads = threads_of(x.gpu());
    x.gpu()
        .launch(flatten_shader(threads))
        .bind(x.words().buffer())
        .bind(output.words().buffer())
        .params(&FlattenParams {
            invocations: extent(words, "the number of words")?,
            in_words: extent(c.div_ceil(4), "the number of channels")?,
            out_words: extent(features.div_ceil(4), "the number of features")?,
            features: extent(features, "the number of features")?,
            area: extent(h * w, "a plane")?,
        })
        .threads(words as u64, threads)?;
    Ok(output)
}

pub(super) fn variants(threads: u32) -> Vec<Entry> {
    vec![
        entry(add_shader(threads, true), AddParams::LAYOUT),
        entry(add_shader(threads, false), AddParams::LAYOUT),
        entry(table_shader(threads), TableParams::LAYOUT),
        entry(flatten_shader(threads), FlattenParams::LAYOUT),
    ]
}
