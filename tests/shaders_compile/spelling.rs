//! What is valid, and still must not be written, because of a driver or a compiler that it is too much for.

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
