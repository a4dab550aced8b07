//! A layer of a model as a kernel with what it needs on the device.

use crate::deploy::model::{self, Conv2d, Int8Model, Layer, Linear, Op};
use crate::deploy::multiplier::Multiplier;
use crate::gpu::Gpu;
use crate::kernel::int8::{self, Codes, Conv, ConvNumbers, Factor, Target};
use crate::kernel::pool::Window;
use crate::{Error, Result};

/// What happens on the device in a layer.
pub(super) enum Step {
    /// Nothing: codes stay where they are. A flat tensor lies as it did before it was flat, and whoever takes it knows.
    Stay,
    Conv(Conv),
    Max(Window),
    Mean {
        zero_point: i8,
        window: Window,
        factor: Factor,
        target: Target,
    },
    /// `relaid`: the inputs lie differently, and both are brought into the plain order of features.
    Add {
        relaid: bool,
        zero_points: [i8; 2],
        factors: [Factor; 2],
        target: Target,
    },
    Table(int8::Table),
}

impl Step {
    /// The layer's codes, from those of its inputs.
    pub fn run<'a>(&self, input: impl Fn(usize) -> Result<&'a Codes>) -> Result<Codes> {
        let x = input(0)?;
        match self {
            Step::Stay => Ok(x.clone()),
            Step::Conv(conv) => conv.forward(x),
            Step::Max(window) => int8::max(x, window),
            Step::Mean { zero_point, window, factor, target } => {
                int8::mean(x, *zero_point, window, *factor, *target)
            }
            Step::Add { relaid: false, zero_points, factors, target } => {
                int8::add([x, input(1)?], *zero_points, *factors, *target)
            }
            Step::Add { relaid: true, zero_points, factors, target } => {
                let [a, b] = [int8::flatten(x)?, int8::flatten(input(1)?)?];
                int8::add([&a, &b], *zero_points, *factors, *target)
            }
            Step::Table(table) => table.look_up(x),
        }
    }
}

/// A step for each layer of a checked model.
pub(super) fn steps(gpu: &Gpu, model: &Int8Model) -> Result<Vec<Step>> {
    // How each layer's codes lie on the device: [C, H, W].
    let mut lie: Vec<[usize; 3]> = Vec::new();
    let mut steps = Vec::new();
    for layer in &model.layers {
        let made = step(gpu, model, layer, &lie);
        let (step, planes) = made.map_err(|e| match e {
            Error::Memory { message, asked, limit } => {
                Error::Memory { message: format!("layer \"{}\": {message}", layer.name), asked, limit }
            }
            other => other,
        })?;
        steps.push(step);
        lie.push(planes);
    }
    Ok(steps)
}

/// Steps in which max pooling is done by the convolution before it; none where a layer is as it was. The convolution's own codes
/// are never made, so this is only for where nobody else takes them.
pub(super) fn joined(model: &Int8Model, steps: &[Step]) -> Vec<Option<Step>> {
    let mut joined: Vec<Option<Step>> = steps.iter().map(|_| None).collect();
    for (id, step) in steps.iter().enumerate() {
        let Step::Max(window) = step else { continue };
        let source = model.layers[id].inputs[0];
        let users =
            model.layers.iter().flat_map(|layer| &layer.inputs).filter(|&&input| input == source).count();
        if let (Step::Conv(conv), 1, true) = (&steps[source], users, model.output != source)
            && let Some(conv) = conv.pooled(window)
        {
            joined[source] = Some(Step::Conv(conv));
            joined[id] = Some(Step::Stay);
        }
    }
    joined
}

fn step(gpu: &Gpu, model: &Int8Model, layer: &Layer, lie: &[[usize; 3]]) -> Result<(Step, [usize; 3])> {
    let from = |index: usize| lie[layer.inputs[index]];
    let zero_point = |index: usize| model.layers[layer.inputs[index]].grid.zero_point;
    let target = Target { zero_point: layer.grid.zero_point, ends: layer.ends() };
    let planes = layer.planes();
    Ok(match &layer.op {
        Op::Input => (Step::Stay, planes),
        Op::Flatten => (Step::Stay, from(0)),
        Op::Conv2d(Conv2d { linear, kernel, stride, dilation, padding, groups }) => {
            let factors = factors(model, layer)?;
            let numbers = ConvNumbers {
                stride: *stride,
                dilation: *dilation,
                pad: [padding.top, padding.left],
                groups: *groups,
                ..dense(linear, from(0), planes, *kernel, zero_point(0), &factors, target)
            };
            (Step::Conv(Conv::upload(gpu, &numbers)?), planes)
        }
        Op::Dense(linear) => {
            let (factors, [c, h, w]) = (factors(model, layer)?, from(0));
            let numbers = dense(linear, [c, h, w], planes, [h, w], zero_point(0), &factors, target);
            (Step::Conv(Conv::upload(gpu, &numbers)?), planes)
        }
        Op::MaxPool2d(w) => (Step::Max(window(w)), planes),
        Op::AvgPool2d(w) => {
            let factor = factor(model.mean_multiplier(layer, w)?);
            (Step::Mean { zero_point: zero_point(0), window: window(w), factor, target }, planes)
        }
        Op::Add => {
            let factors = model.add_multipliers(layer)?.map(factor);
            let relaid = from(0) != from(1);
            let step = Step::Add { relaid, zero_points: [zero_point(0), zero_point(1)], factors, target };
            (step, if relaid { planes } else { from(0) })
        }
        Op::Table(table) => (Step::Table(int8::Table::upload(gpu, &table.codes)?), from(0)),
    })
}

/// A dense layer is a convolution whose kernel is the plane.
fn dense<'a>(
    linear: &'a Linear,
    input: [usize; 3],
    output: [usize; 3],
    kernel: [usize; 2],
    zero_point: i8,
    factors: &'a [Factor],
    target: Target,
) -> ConvNumbers<'a> {
    ConvNumbers {
        input,
        output,
        weight: &linear.weight,
        kernel,
        stride: [1; 2],
        dilation: [1; 2],
        pad: [0; 2],
        groups: 1,
        pool: [1; 2],
        zero_point,
        bias: &linear.bias,
        factors,
        target,
    }
}

fn factors(model: &Int8Model, layer: &Layer) -> Result<Vec<Factor>> {
    Ok(model.linear_multipliers(layer)?.into_iter().map(factor).collect())
}

fn factor(Multiplier { mantissa, shift }: Multiplier) -> Factor {
    Factor { mantissa, shift }
}

fn window(window: &model::Window) -> Window {
    Window { kernel: window.kernel, stride: window.stride, padding: window.padding }
}
