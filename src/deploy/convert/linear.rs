//! Weights and biases as integers.

use crate::nn::{BnFold, Layer, Network, Node, NodeId, Slot};
use crate::rounding::half_away;
use crate::{Error, Result};

use super::super::model::Linear;

/// A layer's weights and biases, and what they stand for.
pub(super) struct Stored {
    /// The codes.
    pub linear: Linear,
    /// The scale of its input.
    input_scale: f32,
    /// What was changed to make them fit.
    pub note: Option<String>,
}

impl Stored {
    /// The weights of a node as its evaluation uses them, with the normalization folded in; the node's input has that scale.
    pub fn new(network: &Network, node: &Node, input_scale: f32) -> Result<Stored> {
        let steps = network.quantizer_steps(node, Slot::Weight)?;
        let (Some(steps), Some(quantizer)) = (steps, &node.quantizers.weight) else {
            return Err(Error::Invalid(
                "its weights are not quantized: take `skip` from it, and train or calibrate again".into(),
            ));
        };
        let weight = network.rounded_weight(node)?.read_f32()?;
        let outputs = node.layer.weight_channels().unwrap_or(1);
        let inputs = weight.len() / outputs;
        let affine = Affine::of(network, node, outputs)?;
        let mut linear =
            Linear { weight: Vec::new(), scale: Vec::new(), bits: quantizer.rule.bits(), bias: Vec::new() };
        let (mut clipped, mut shrunk) = (0, 0);
        // A sum of products and a bias must fit i32.
        let largest_bias = f64::from(i32::MAX) - inputs as f64 * 255.0 * 128.0;
        if largest_bias < 1.0 {
            return Err(Error::Invalid(format!(
                "a sum of its {inputs} products could pass 2^31; pool in front of it, or split it"
            )));
        }
        for output in 0..outputs {
            let step = steps[if steps.len() == 1 { 0 } else { output }].step;
            let (factor, bias) = affine.at(output);
            // The sign goes to the codes, for scales have none.
            let mut scale = f64::from(step) * factor.abs();
            let mut codes: Vec<i32> = weight[output * inputs..][..inputs]
                .iter()
                .map(|&w| if step > 0.0 { half_away((w / step).into()) as i32 } else { 0 })
                .map(|code| if factor < 0.0 { -code } else { code })
                .collect();
            if scale < f64::from(f32::MIN_POSITIVE) {
                // Nothing reaches the output but the bias, in units fine enough for it.
                codes.fill(0);
                let unit = bias.abs() / f64::from(input_scale) / f64::from(1 << 24);
                scale = if bias == 0.0 { 1.0 } else { unit.max(f32::MIN_POSITIVE.into()) };
            }
            let unit = |scale: f64| f64::from(scale as f32) * f64::from(input_scale);
            if (bias / unit(scale)).abs() > largest_bias {
                // Weights far smaller than the bias: coarser units for both change less than the output's grid can tell.
                let coarser = bias.abs() / largest_bias / f64::from(input_scale) * 1.001;
                codes
                    .iter_mut()
                    .for_each(|code| *code = half_away(f64::from(*code) * scale / coarser) as i32);
                scale = coarser;
                shrunk += 1;
            }
            if let Some(code) = codes.iter().find(|&&code| !(-128..=128).contains(&code)) {
                return Err(Error::Invalid(format!(
                    "a weight is {code} steps from zero, beyond int8: weights must be quantized symmetrically \
                     (simqat.weights.symmetric = true)"
                )));
            }
            clipped += codes.iter().filter(|&&code| code == 128).count();
            linear.weight.extend(codes.iter().map(|&code| code.min(127) as i8));
            linear.scale.push(scale as f32);
            linear.bias.push(half_away(bias / unit(scale)) as i32);
        }
        // Codes of a range that is not symmetric can need more bits than they have.
        let fits = |bits: u32| {
            let half = 1i16 << (bits - 1);
            linear.weight.iter().all(|&w| (-half..half).contains(&i16::from(w)))
        };
        linear.bits = (linear.bits..8).find(|&bits| fits(bits)).unwrap_or(8);
        let mut notes = Vec::new();
        if clipped > 0 {
            notes.push(format!(
                "{clipped} of {} weights are 128 steps above zero and were stored as 127; with simqat.weights.narrow_range = \
                 true there are none",
                linear.weight.len()
            ));
        }
        if shrunk > 0 {
            notes.push(format!(
                "{shrunk} of {outputs} outputs have a bias so much larger than their weights that their weights were stored \
                 in coarser steps"
            ));
        }
        let note = (!notes.is_empty()).then(|| notes.join("; "));
        Ok(Stored { linear, input_scale, note })
    }

    /// The numbers that the codes stand for: weights, and biases.
    fn values(&self) -> [Vec<f32>; 2] {
        let Linear { weight, scale, bias, .. } = &self.linear;
        let inputs = weight.len() / scale.len();
        let weights = weight.iter().enumerate().map(|(k, &code)| f32::from(code) * scale[k / inputs]);
        let unit = |output: usize| f64::from(scale[output]) * f64::from(self.input_scale);
        let biases = bias.iter().enumerate().map(|(output, &b)| (f64::from(b) * unit(output)) as f32);
        [weights.collect(), biases.collect()]
    }
}

/// What happens to a node's sums behind its rounded weights: `sum * factor + bias`.
struct Affine {
    factor: Vec<f64>,
    bias: Vec<f64>,
}

impl Affine {
    fn at(&self, output: usize) -> (f64, f64) {
        (self.factor[output], self.bias[output])
    }

    fn of(network: &Network, node: &Node, outputs: usize) -> Result<Affine> {
        let read = |name: &str| -> Result<Option<Vec<f64>>> {
            let values = network.parameter(name).map(|p| p.tensor.read_f32()).transpose()?;
            Ok(values.map(|values| values.into_iter().map(f64::from).collect()))
        };
        let own = read(&format!("{}.bias", node.name))?.unwrap_or_else(|| vec![0.0; outputs]);
        let Layer::Conv2dBn(layer) = &node.layer else {
            return Ok(Affine { factor: vec![1.0; outputs], bias: own });
        };
        let of = |name: &str| -> Result<Vec<f64>> {
            let path = format!("{}.{name}", layer.norm_name);
            read(&path)?.ok_or_else(|| Error::Invalid(format!("the network has no \"{path}\"")))
        };
        let (gamma, beta) = (of("gamma")?, of("beta")?);
        let (mean, var) = (of("running_mean")?, of("running_var")?);
        let slope = |c: usize| gamma[c] / (var[c] + f64::from(layer.norm.eps)).sqrt();
        Ok(Affine {
            // With a fold, the rounded weights have the slope in them.
            factor: (0..outputs)
                .map(|c| if layer.fold == BnFold::Without { slope(c) } else { 1.0 })
                .collect(),
            bias: (0..outputs).map(|c| (own[c] - mean[c]) * slope(c) + beta[c]).collect(),
        })
    }
}

/// The network with stored numbers for its weights and biases, and with no quantizers on them.
pub(super) fn simulated(network: &Network, stored: &[(NodeId, Stored)]) -> Result<Network> {
    let mut graph = network.graph().clone();
    for (id, _) in stored {
        let node = &mut graph.nodes[*id];
        node.quantizers.weight = None;
        match &mut node.layer {
            Layer::Conv2dBn(layer) => {
                let mut conv = layer.conv.clone();
                conv.bias = true;
                node.layer = Layer::Conv2d(conv);
            }
            Layer::Conv2d(conv) => conv.bias = true,
            Layer::Dense(dense) => dense.bias = true,
            _ => {}
        }
    }
    let simulated = network.with_graph(network.name(), graph)?;
    for (id, stored) in stored {
        let name = &simulated.nodes()[*id].name;
        for (own, values) in ["weight", "bias"].into_iter().zip(stored.values()) {
            let parameter = simulated.parameter(&format!("{name}.{own}"));
            let parameter =
                parameter.ok_or_else(|| Error::Invalid(format!("the network has no \"{name}.{own}\"")))?;
            parameter.tensor.write_f32(&values)?;
        }
    }
    Ok(simulated)
}
