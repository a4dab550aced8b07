//! Printing a network, in the manner of MindSpore and its Golden Stick.

use std::fmt;

use super::graph::Node;
use super::layer::Layer;
use super::linear::{Conv2d, Dense};
use super::network::Network;
use super::norm::{BatchNorm2d, BnFold};
use super::quantizer::{FakeQuantizer, QuantizerRule, Slot};
use crate::kernel::counter::NEVER;
use crate::kernel::geometry::Padding;
use crate::kernel::pool::Window;
use crate::kernel::quantize::RangeObserver;

fn yes_no(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn pair([y, x]: [usize; 2]) -> String {
    format!("({y}, {x})")
}

impl fmt::Display for Conv2d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mode, padding) = match self.geometry.padding {
            Padding::Valid => ("valid", "0".to_string()),
            Padding::Same => ("same", "0".to_string()),
            Padding::Explicit { top, bottom, left, right } => {
                ("pad", format!("({top}, {bottom}, {left}, {right})"))
            }
        };
        write!(
            f,
            "in_channels={}, out_channels={}, kernel_size={}, stride={}, pad_mode={mode}, padding={padding}, \
             dilation={}, group={}, has_bias={}",
            self.in_channels,
            self.out_channels,
            pair(self.kernel),
            pair(self.geometry.stride),
            pair(self.geometry.dilation),
            self.geometry.groups,
            yes_no(self.bias)
        )
    }
}

impl fmt::Display for Dense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (i, o) = (self.in_features, self.out_features);
        write!(f, "input_channels={i}, output_channels={o}, has_bias={}", yes_no(self.bias))
    }
}

impl fmt::Display for BatchNorm2d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (features, eps, momentum) = (self.channels, self.eps, self.momentum);
        let affine = yes_no(self.affine);
        write!(f, "num_features={features}, eps={eps:e}, momentum={momentum}, affine={affine}")?;
        if self.freeze < NEVER { write!(f, ", freeze_bn={}", self.freeze) } else { Ok(()) }
    }
}

impl fmt::Display for FakeQuantizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.per_channel { "PerChannel" } else { "PerLayer" };
        let per_channel = yes_no(self.per_channel);
        match &self.rule {
            QuantizerRule::Range(rule) => write!(
                f,
                "SimulatedFakeQuantizer{kind}<bit_num={}, symmetric={}, narrow_range={}, ema={}, \
                 per_channel={per_channel}, quant_delay={}>",
                rule.bits,
                yes_no(rule.symmetric),
                yes_no(rule.narrow_range),
                yes_no(rule.observer == RangeObserver::MovingAverage),
                rule.delay
            ),
            QuantizerRule::LearnedStep(rule) => write!(
                f,
                "LearnedStepSizeFakeQuantizer{kind}<bit_num={}, signed={}, narrow_range={}, \
                 per_channel={per_channel}, quant_delay={}>",
                rule.bits,
                yes_no(rule.signed),
                yes_no(rule.narrow_range),
                rule.delay
            ),
        }
    }
}

impl Layer {
    /// The class name with quantized weights, in Golden Stick's words.
    fn quantized_name(&self) -> String {
        match self {
            Layer::Conv2dBn(layer) => match layer.fold {
                BnFold::Without => "Conv2dBnWithoutFoldQuant".into(),
                BnFold::OneConv => "Conv2dBnFoldQuantOneConv".into(),
                BnFold::TwoConv => "Conv2dBnFoldQuant".into(),
            },
            other => format!("{}Quant", other.describe().0),
        }
    }

    /// The class name, and what stands between its angle brackets.
    fn describe(&self) -> (String, String) {
        let window = |w: &Window| {
            let (kernel, stride) = (pair(w.kernel), pair(w.stride));
            format!("kernel_size={kernel}, stride={stride}, padding={}", pair(w.padding))
        };
        let named = |name: &str, options: String| (name.to_string(), options);
        let split = |text: String| match text.split_once('<') {
            Some((name, rest)) => (name.to_string(), rest.trim_end_matches('>').to_string()),
            None => (text, String::new()),
        };
        match self {
            Layer::Input => named("Input", String::new()),
            Layer::Conv2d(conv) => named("Conv2d", conv.to_string()),
            Layer::Dense(dense) => named("Dense", dense.to_string()),
            Layer::BatchNorm2d(norm) => named("BatchNorm2d", norm.to_string()),
            Layer::Conv2dBn(layer) => named("Conv2dBn", layer.conv.to_string()),
            Layer::Activation(kind) => split(kind.to_string()),
            Layer::MaxPool2d(w) => named("MaxPool2d", window(w)),
            Layer::AvgPool2d { window: w, count_padding } => {
                named("AvgPool2d", format!("{}, count_include_pad={}", window(w), yes_no(*count_padding)))
            }
            Layer::Flatten => named("Flatten", String::new()),
            Layer::Add => named("Add", String::new()),
            Layer::Custom(custom) => split(custom.describe()),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}<", self.name())?;
        for (id, node) in self.nodes().iter().enumerate().filter(|(_, n)| !matches!(n.layer, Layer::Input)) {
            // A chain needs no arrows; whatever takes its input from elsewhere says from where.
            let branches = node.inputs != [id - 1];
            let from: Vec<&str> = node.inputs.iter().map(|&i| self.nodes()[i].name.as_str()).collect();
            let from = if branches { format!(" <- {}", from.join(", ")) } else { String::new() };
            write_node(f, node, &from)?;
        }
        write!(f, ">")
    }
}

fn write_node(f: &mut fmt::Formatter<'_>, node: &Node, from: &str) -> fmt::Result {
    let (class, options) = node.layer.describe();
    // What a joined layer took in.
    let part = match &node.layer {
        Layer::Conv2dBn(layer) => Some(format!("({}): BatchNorm2d<{}>", layer.norm_name, layer.norm)),
        _ => None,
    };
    if node.quantizers.is_empty() {
        return match part {
            None => writeln!(f, "  ({}): {class}<{options}>{from}", node.name),
            Some(part) => {
                writeln!(f, "  ({}): {class}<{options}{from}", node.name)?;
                writeln!(f, "    {part}\n  >")
            }
        };
    }
    writeln!(f, "  ({}): QuantizeWrapperCell<{from}", node.name)?;
    match node.quantizers.get(Slot::Weight) {
        Some(weight) => {
            writeln!(f, "    (_handler): {}<{options}", node.layer.quantized_name())?;
            if let Some(part) = part {
                writeln!(f, "      {part}")?;
            }
            writeln!(f, "      (fake_quant_weight): {weight}")?;
            writeln!(f, "    >")?;
        }
        None => writeln!(f, "    (_handler): {class}<{options}>")?,
    }
    for slot in Slot::ALL.into_iter().filter(|slot| *slot != Slot::Weight) {
        if let Some(quantizer) = node.quantizers.get(slot) {
            writeln!(f, "    (_{}): {quantizer}", slot.name())?;
        }
    }
    writeln!(f, "  >")
}
