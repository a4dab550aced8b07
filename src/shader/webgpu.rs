//! Shaders for compilers that go by WGSL's word.

use std::borrow::Cow;

/// True if a shader has operations of subgroups.
pub fn uses_subgroups(text: &str) -> bool {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split(|c: char| c != '_' && !c.is_ascii_alphanumeric())).any(|word| {
        let rest = word.strip_prefix("subgroup").or_else(|| word.strip_prefix("quad"));
        let is_function = rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
        is_function || ["subgroup_invocation_id", "subgroup_size", "num_subgroups"].contains(&word)
    })
}

/// The text of a shader for a browser. WGSL wants `enable subgroups;` ahead of a shader that has operations of subgroups;
/// naga 30 refuses that line and allows them without.
pub fn for_webgpu(text: &str) -> Cow<'_, str> {
    if uses_subgroups(text) { format!("enable subgroups;\n{text}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subgroups_are_enabled_where_they_are_used() {
        let sums = "fn f(x: f32) -> f32 { return subgroupAdd(x); }";
        assert_eq!(for_webgpu(sums), format!("enable subgroups;\n{sums}"));
        for without in ["// as subgroupAdd(x)\nfn f() {}", "let subgroups = 1u;", "let my_subgroupAdd = 1u;"]
        {
            assert_eq!(for_webgpu(without), without);
        }
        assert!(uses_subgroups("@builtin(subgroup_size) size: u32"));
        assert!(uses_subgroups("let a = quadSwapX(b);"));
    }
}
