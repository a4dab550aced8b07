//! What is valid, and still must not be written, because of a driver or a compiler that it is too much for.

use std::collections::BTreeSet;

use naga::back::hlsl::ShaderModel;
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{BinaryOperator, Expression, Function, Module, ScalarKind};
use simqat::shader::Constant;

use super::checked;
use super::literals::code;

/// Files where the right side of a condition must not be computed if the left side decides; with the reason.
const SHORT_CIRCUIT: [(&str, &str); 0] = [];

/// Each `&&` and `||` is a branch with two blocks and a variable. Conditions that were unrolled by the dozen kept SwiftShader's
/// compiler busy for more than a minute and 5 GB, where `&` and `|` take it 0.2 s.
#[test]
fn conditions_are_joined_without_branches() {
    for shader in checked() {
        let file = shader.entry.spec.file();
        if SHORT_CIRCUIT.iter().any(|(path, _)| *path == file) {
            continue;
        }
        for line in code(&shader.text).lines() {
            let branches = line.contains("&&") || line.contains("||");
            assert!(!branches, "{}: write & or | in «{}»", shader.entry.spec, line.trim());
        }
    }
}

/// From shader model 6.4 on, naga 30 writes `dot4add_i8packed(a, b, 0)`, where DXC before 1.8 takes the 0 for 64 bits wide. Only
/// shaders that a device has been asked about may have it, and each of them has a form without.
#[test]
fn products_of_bytes_have_a_form_that_every_compiler_takes() {
    let (mut packed, mut spelled) = (0, 0);
    for shader in checked() {
        let spec = &shader.entry.spec;
        let uses = shader.hlsl(ShaderModel::V6_4).contains("dot4add_");
        let asked = spec.constants().get("packed") == Some(&Constant::Bool(true));
        assert!(asked || !uses, "{spec}: asks for products of bytes, and no constant tells that");
        if uses {
            packed += 1;
            let other = spec.clone().with("packed", false);
            assert!(checked().iter().any(|s| s.entry.spec == other), "{spec}: {other} is missing");
        } else if asked || spec.constants().contains_key("packed") {
            spelled += 1;
        }
    }
    assert!(packed > 0 && packed == spelled, "{packed} with the instruction, {spelled} without");
}

/// Files that divide numbers of f32, and why a quotient may be off there in its last bits.
const DIVIDES: [(&str, &str); 18] = [
    ("augment/gather.wgsl", "weights of a resize"),
    ("elementwise/binary.wgsl", "quotients as such, and slopes"),
    ("elementwise/broadcast.wgsl", "the same"),
    ("elementwise/unary.wgsl", "activations"),
    ("loss/softmax_cross_entropy.wgsl", "shares of exponentials, and means"),
    ("loss/softmax_cross_entropy_wide.wgsl", "the same"),
    ("loss/tally.wgsl", "the mean loss"),
    ("norm/fold_weight.wgsl", "by a square root, which is off as well"),
    ("norm/observe.wgsl", "means"),
    ("norm/statistics.wgsl", "means and square roots"),
    ("optim/clip.wgsl", "by the norm, a sum and a square root"),
    ("pool/average.wgsl", "means"),
    // Before what decides.
    ("quant/channels.wgsl", "the first guess of a code"),
    ("quant/fake_quant.wgsl", "the first guess of a code"),
    ("quant/learned_apply.wgsl", "the first guess of a code"),
    ("quant/learned_channels.wgsl", "the first guess of a code"),
    ("quant/learned_gradient.wgsl", "the first guess of a code, and terms of a sum"),
    ("quant/learned_sums.wgsl", "nothing: it includes the others' functions"),
];

fn divides(module: &Module, info: &ModuleInfo) -> bool {
    let in_function = |function: &Function, info: &FunctionInfo| {
        function.expressions.iter().any(|(handle, expression)| {
            let Expression::Binary { op: BinaryOperator::Divide, .. } = expression else { return false };
            info[handle].ty.inner_with(&module.types).scalar_kind() == Some(ScalarKind::Float)
        })
    };
    module.functions.iter().any(|(handle, function)| in_function(function, &info[handle]))
        || (0..module.entry_points.len())
            .any(|i| in_function(&module.entry_points[i].function, info.get_entry_point(i)))
}

/// WGSL lets a quotient be 2.5 units of the last place off. Whoever makes codes of one, or whatever else has to be the same on
/// every adapter, takes `common/quotient.wgsl` or `quant/nearest.wgsl`.
#[test]
fn quotients_are_taken_only_where_their_last_bits_may_differ() {
    let found: BTreeSet<&str> = checked()
        .iter()
        .filter(|shader| divides(&shader.module, &shader.info))
        .map(|shader| shader.entry.spec.file())
        .collect();
    let known: BTreeSet<&str> = DIVIDES.iter().map(|(file, _)| *file).collect();
    assert_eq!(found, known);
}
