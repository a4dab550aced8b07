//! No name of a shader is a word that a target language reserves or declares by itself.

use std::collections::BTreeSet;

use naga::back::hlsl::ShaderModel;
use naga::{Function, Module, TypeInner};

use super::reserved::{GLSL, HLSL, Language, MSL, WGSL};
use super::{Checked, checked};

/// Every name that a shader gives to anything.
fn given(module: &Module) -> BTreeSet<&str> {
    let types = || module.types.iter().map(|(_, ty)| ty);
    let members = types().filter_map(|ty| match &ty.inner {
        TypeInner::Struct { members, .. } => Some(members.iter().filter_map(|member| member.name.as_deref())),
        _ => None,
    });
    let functions =
        module.functions.iter().map(|(_, f)| f).chain(module.entry_points.iter().map(|e| &e.function));
    types()
        .filter_map(|ty| ty.name.as_deref())
        .chain(members.flatten())
        .chain(module.constants.iter().filter_map(|(_, c)| c.name.as_deref()))
        .chain(module.global_variables.iter().filter_map(|(_, v)| v.name.as_deref()))
        .chain(functions.flat_map(names_in))
        .collect()
}

fn names_in(function: &Function) -> impl Iterator<Item = &str> {
    function
        .name
        .as_deref()
        .into_iter()
        .chain(function.arguments.iter().filter_map(|argument| argument.name.as_deref()))
        .chain(function.local_variables.iter().filter_map(|(_, v)| v.name.as_deref()))
        .chain(function.named_expressions.values().map(String::as_str))
}

/// The words of a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// The names of a shader that stand unchanged in its translation, and that the language has taken. Where the word stands there and
/// the name stands beside it with an underscore, naga knows the word, and has used it itself.
fn taken<'a>(shader: &'a Checked, text: &str, language: &Language) -> Vec<&'a str> {
    let there: BTreeSet<&str> = words(text).collect();
    given(&shader.module)
        .into_iter()
        .filter(|&name| language.reserves(name) && there.contains(name))
        .filter(|&name| !there.contains(&*format!("{name}_")))
        .collect()
}

fn refuse(shader: &Checked, text: &str, language: &Language) {
    let taken = taken(shader, text, language);
    assert!(taken.is_empty(), "{}: {} knows {taken:?} already", shader.entry.spec, language.name);
}

#[test]
fn no_name_is_taken_in_any_language() {
    for shader in checked() {
        refuse(shader, &shader.text, &WGSL);
        for model in [ShaderModel::V5_1, ShaderModel::V6_4] {
            refuse(shader, &shader.hlsl(model), &HLSL);
        }
        refuse(shader, &shader.msl(), &MSL);
        if let Some(text) = shader.glsl() {
            refuse(shader, &text, &GLSL);
        }
    }
}

/// The check itself, on a shader with names of each kind.
#[test]
fn names_that_are_taken_are_found() {
    let text = "struct vk { hlsl: f32 }
        @group(0) @binding(0) var<storage, read_write> dx: array<vk>;
        fn simd(half: f32) -> f32 { var line = half; let step = line + 1.0; return step; }
        @compute @workgroup_size(1) fn main() { dx[0].hlsl = simd(dx[0].hlsl); }";
    let entry = super::catalogue().remove(0);
    let module = naga::front::wgsl::parse_str(text).unwrap();
    let info = naga::valid::Validator::new(Default::default(), Default::default()).validate(&module).unwrap();
    let shader = Checked { entry, text: text.to_string(), module, info };
    // naga has seen to `half`, `line` and `step` by itself.
    assert_eq!(taken(&shader, &shader.hlsl(ShaderModel::V6_0), &HLSL), ["dx", "hlsl", "vk"]);
    assert_eq!(taken(&shader, &shader.msl(), &MSL), ["simd"]);
    assert_eq!(taken(&shader, &shader.glsl().unwrap(), &GLSL), [""; 0]);
    assert!(WGSL.reserves("target") && !WGSL.reserves("x_grad"));
    assert!(HLSL.reserves("float4x3") && HLSL.reserves("Technique") && !HLSL.reserves("float5"));
}
