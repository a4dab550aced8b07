//! Passes over all values: normalizing them, and their gradients.

use super::super::catalogue::{Entry, entry};
use super::super::params::params;
use super::super::same_shape;
use super::gradient::Shares;
use super::layout::{Layout, expect_channels, folded};
use crate::gpu::Launch;
use crate::shader::ShaderSpec;
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

params!(ApplyParams { rows: u32, width: u32, plane: u32 });

/// Elements of a plane from which on workgroups stay within one plane.
const LONG_PLANE: usize = 128;

/// How invocations find their values. Short planes share workgroups: then their extent is a constant, so that a
/// channel is found without a division.
#[derive(Clone, Copy)]
struct Place {
    vectors: bool,
    /// `None` where planes are long.
    plane: Option<u32>,
    unroll: u32,
}

impl Place {
    fn of(layout: &Layout, most_groups: u32) -> Self {
        let long = layout.plane >= LONG_PLANE && layout.channels <= most_groups as usize;
        Place {
            vectors: layout.vectors,
            plane: (!long).then_some(layout.plane as u32),
            unroll: if layout.rows >= 4 { 4 } else { 1 },
        }
    }

    fn size(self) -> u32 {
        if self.plane.is_some() { 64 } else { 32 }
    }

    fn shader(self, file: &'static str) -> ShaderSpec {
        let spec = ShaderSpec::new(file)
            .with("vectors", self.vectors)
            .with("planes", self.plane.is_none())
            .with("unroll", self.unroll)
            .with("size", self.size());
        self.plane.into_iter().fold(spec, |spec, plane| spec.with("plane", plane))
    }

    fn start(self, launch: Launch<'_>, x: &Tensor, layout: &Layout) -> Result<()> {
        let most = x.gpu().caps().max_groups;
        let blocks = layout.rows.div_ceil(self.unroll as usize).min(most as usize) as u32;
        let size = self.size() as usize;
        let [along, channels] = if self.plane.is_some() {
            folded(x.gpu(), layout.width().div_ceil(size))?
        } else {
            [layout.plane.div_ceil(size) as u32, layout.channels as u32]
        };
        launch
            .params(&ApplyParams {
                rows: layout.rows as u32,
                width: layout.width() as u32,
                plane: layout.plane as u32,
            })
            .groups([along, channels, blocks])
    }
}

fn normalize_shader(place: Place, relu: bool) -> ShaderSpec {
    place.shader("norm/normalize.wgsl").with("relu", relu)
}

/// y = (x - center) * factor + beta by the rules of [`super::rules`], cut at zero where `relu`. x is [N, C, ...].
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn normalize(x: &Tensor, rules: &Tensor, beta: &Tensor, relu: bool) -> Result<Tensor> {
    let layout = Layout::of(x)?;
    expect_rules(rules, &layout)?;
    expect_channels("beta", beta, layout.channels)?;
    let gpu = x.gpu();
    let place = Place::of(&layout, gpu.caps().max_groups);
    let y = Tensor::empty(gpu, x.shape(), DType::F32)?;
    let launch = gpu
        .launch(normalize_shader(place, relu))
        .bind(x.buffer())
        .bind(rules.buffer())
        .bind(beta.buffer())
        .bind(y.buffer());
    place.start(launch, x, &layout)?;
    Ok(y)
}

/// Fails unless there are rules, or shares, for the channels of `layout`.
pub(super) fn expect_rules(rules: &Tensor, layout: &Layout) -> Result<()> {
    rules.expect(DType::F32)?;
    if rules.shape()[..] == [layout.channels, 8] {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "rules for {} channels must be [{0}, 8], and their shape is {}",
        layout.channels,
        rules.shape()
    )))
}

/// What a gradient kernel reads and writes.
#[derive(Clone, Copy)]
struct Parts {
    /// The gradient of the normalized values.
    first: bool,
    /// What comes through the statistics is theirs too.
    own: bool,
    /// It goes to the values of the unfolded convolution.
    second: bool,
    relu: bool,
}

fn grad_shader(place: Place, parts: Parts) -> ShaderSpec {
    place
        .shader("norm/input_grad.wgsl")
        .with("first", parts.first)
        .with("own", parts.own)
        .with("second", parts.second)
        .with("relu", parts.relu && parts.first)
}

/// Writes the gradients that `parts` names to `outputs`, in their order.
fn launch_grad(
    dy: &Tensor,
    x: &Tensor,
    unfolded: Option<&Tensor>,
    shares: &Shares,
    parts: Parts,
    outputs: &[&Tensor],
) -> Result<()> {
    let layout = Layout::of(dy)?;
    expect_rules(&shares.0, &layout)?;
    same_shape("the gradient of a normalization", dy.shape(), x.shape())?;
    x.expect(DType::F32)?;
    let gpu = dy.gpu();
    let place = Place::of(&layout, gpu.caps().max_groups);
    let mut launch = gpu.launch(grad_shader(place, parts));
    if parts.first {
        launch = launch.bind(dy.buffer());
        if parts.relu || parts.own {
            launch = launch.bind(x.buffer());
        }
    }
    if let Some(unfolded) = unfolded {
        same_shape("the unfolded convolution", unfolded.shape(), x.shape())?;
        unfolded.expect(DType::F32)?;
        launch = launch.bind(unfolded.buffer());
    }
    launch = launch.bind(shares.0.buffer());
    for output in outputs {
        launch = launch.bind(output.buffer());
    }
    place.start(launch, dy, &layout)
}

/// Gradient of [`normalize`] with respect to `x`, all of it with `own`: also what goes through the statistics, where
/// they are those of `x`. `relu` as there.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn input_grad(dy: &Tensor, x: &Tensor, shares: &Shares, relu: bool, own: bool) -> Result<Tensor> {
    let dx = Tensor::empty(dy.gpu(), dy.shape(), DType::F32)?;
    launch_grad(dy, x, None, shares, Parts { first: true, own, second: false, relu }, &[&dx])?;
    Ok(dx)
}

/// Gradients with respect to `x` and to `unfolded`, the values that the statistics are of. Where the first is not
/// wanted, it is not computed.
///
/// # Errors
/// Where shapes disagree, or the device has failed.
pub fn input_grads(
    dy: &Tensor,
    x: &Tensor,
    unfolded: &Tensor,
    shares: &Shares,
    relu: bool,
    first: bool,
) -> Result<(Option<Tensor>, Tensor)> {
    let output = || Tensor::empty(dy.gpu(), dy.shape(), DType::F32);
    let (dx, d_unfolded) = (first.then(output).transpose()?, output()?);
    let outputs: Vec<&Tensor> = dx.iter().chain([&d_unfolded]).collect();
    let parts = Parts { first, own: false, second: true, relu };
    launch_grad(dy, x, Some(unfolded), shares, parts, &outputs)?;
    Ok((dx, d_unfolded))
}

pub(super) fn variants() -> Vec<Entry> {
    let mut all = Vec::new();
    for flags in 0..4 {
        let [vectors, many] = [1, 2].map(|bit| flags & bit != 0);
        // A plane of one value, one of 7 x 7, and long ones.
        for plane in [Some(1), Some(49), None] {
            let place = Place { vectors, plane, unroll: if many { 4 } else { 1 } };
            for relu in [false, true] {
                all.push(entry(normalize_shader(place, relu), ApplyParams::LAYOUT));
                for [first, own, second] in [[true, false, false], [true, true, false], [true, false, true]] {
                    let spec = grad_shader(place, Parts { first, own, second, relu });
                    all.push(entry(spec, ApplyParams::LAYOUT));
                }
            }
            let spec = grad_shader(place, Parts { first: false, own: false, second: true, relu: false });
            all.push(entry(spec, ApplyParams::LAYOUT));
        }
    }
    all
}
