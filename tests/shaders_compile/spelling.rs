//! What is valid, and still must not be written, because of a driver or a compiler that it is too much for.

use naga::back::hlsl::ShaderModel;
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
