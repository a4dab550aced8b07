//! The WGSL sources, and how a template becomes a shader.
//!
//! Templates stay WGSL that an editor can read: statements are comments (`//% for i in range(tile)`), values
//! stand between `/*{` and `}*/`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

use super::{Constant, ShaderSpec};
use crate::{Error, Result};

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        /// Every WGSL file of the library, by its path under `shaders/`.
        pub const SOURCES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../shaders/", $path)))),*];
    };
}

sources![
    "augment/gather.wgsl",
    "augment/unpack.wgsl",
    "common/counter.wgsl",
    "common/freeze.wgsl",
    "common/index.wgsl",
    "common/quotient.wgsl",
    "common/sum_parts.wgsl",
    "conv/forward.wgsl",
    "conv/input_grad.wgsl",
    "conv/subgroup.wgsl",
    "conv/tile.wgsl",
    "conv/weight_grad.wgsl",
    "conv/weight_grad_subgroup.wgsl",
    "deploy/add.wgsl",
    "deploy/byte_dot.wgsl",
    "deploy/conv.wgsl",
    "deploy/depthwise.wgsl",
    "deploy/flatten.wgsl",
    "deploy/grouped.wgsl",
    "deploy/grouped_params.wgsl",
    "deploy/outputs.wgsl",
    "deploy/pool.wgsl",
    "deploy/requantize.wgsl",
    "deploy/table.wgsl",
    "elementwise/binary.wgsl",
    "elementwise/binary_ops.wgsl",
    "elementwise/broadcast.wgsl",
    "elementwise/fill.wgsl",
    "elementwise/unary.wgsl",
    "gemm/subgroup.wgsl",
    "gemm/tile.wgsl",
    "loss/softmax_cross_entropy.wgsl",
    "loss/softmax_cross_entropy_wide.wgsl",
    "loss/tally.wgsl",
    "loss/target.wgsl",
    "norm/affine.wgsl",
    "norm/fold_weight.wgsl",
    "norm/fold_weight_grad.wgsl",
    "norm/gradient_sums.wgsl",
    "norm/input_grad.wgsl",
    "norm/lanes.wgsl",
    "norm/moments.wgsl",
    "norm/normalize.wgsl",
    "norm/observe.wgsl",
    "norm/part.wgsl",
    "norm/place.wgsl",
    "norm/ratio.wgsl",
    "norm/rule.wgsl",
    "norm/share.wgsl",
    "norm/slopes.wgsl",
    "norm/statistics.wgsl",
    "norm/sums.wgsl",
    "norm/value.wgsl",
    "optim/accumulate.wgsl",
    "optim/clip.wgsl",
    "optim/momentum.wgsl",
    "optim/settle.wgsl",
    "optim/square_sums.wgsl",
    "pool/average.wgsl",
    "pool/max_backward.wgsl",
    "pool/max_forward.wgsl",
    "pool/max_pairs_backward.wgsl",
    "pool/max_pairs_forward.wgsl",
    "quant/channels.wgsl",
    "quant/fake_quant.wgsl",
    "quant/grid.wgsl",
    "quant/learned.wgsl",
    "quant/learned_apply.wgsl",
    "quant/learned_channels.wgsl",
    "quant/learned_gradient.wgsl",
    "quant/learned_sums.wgsl",
    "quant/nearest.wgsl",
    "quant/observe.wgsl",
    "quant/range.wgsl",
    "quant/round.wgsl",
    "quant/straight_through.wgsl",
    "quant/sum_lanes.wgsl",
    "quant/update_range.wgsl",
    "random/fill.wgsl",
    "random/philox.wgsl",
    "reduce/serial.wgsl",
    "reduce/tree.wgsl",
];

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .line_statement_prefix("//%")
            .variable_delimiters("/*{", "}*/")
            .build()
            .expect("the delimiters are constants that do not collide");
        environment.set_syntax(syntax);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        for (path, text) in SOURCES {
            environment
                .add_template(path, text)
                .unwrap_or_else(|e| panic!("shaders/{path} is not a template: {e:#}"));
        }
        environment
    })
}

/// The WGSL text of a shader.
///
/// # Errors
/// Where there is no such source, or the template asks for a constant that the spec does not give.
pub fn render(spec: &ShaderSpec) -> Result<String> {
    let describe = |e: minijinja::Error| Error::Gpu(format!("shader {spec}: {e:#}"));
    let constants: BTreeMap<&'static str, Value> = spec
        .constants()
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Constant::Int(v) => Value::from(*v),
                Constant::Bool(v) => Value::from(*v),
                Constant::Name(v) => Value::from(*v),
                Constant::List(v) => Value::from(v.clone()),
                Constant::Table(v) => v.iter().map(|row| Value::from(row.clone())).collect(),
            };
            (*name, value)
        })
        .collect();
    environment().get_template(spec.file()).and_then(|t| t.render(Value::from(constants))).map_err(describe)
}
