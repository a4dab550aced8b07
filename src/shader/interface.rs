//! What a device is told of a shader beside its text: a label, and the bindings.

use super::Shader;

/// The most bytes of a label: drivers of OpenGL end a longer one with a complaint.
const LABEL: usize = 200;

/// What a debugger or a driver calls the shader; profiles have the whole name.
pub(super) fn label(shader: &Shader) -> String {
    let mut label = shader.to_string();
    if label.len() > LABEL {
        let end = (0..=LABEL).rev().find(|&at| label.is_char_boundary(at)).unwrap_or(0);
        label.truncate(end);
        label.push('~');
    }
    label
}

/// The bindings that a shader declares, each on a line of the form `@group(0) @binding(N) var<KIND> ...`.
///
/// wgpu could derive a layout by itself, but leaves out what a variant does not touch; then launchers would
/// have to know which variant touches what.
pub(super) fn bindings(text: &str) -> Vec<wgpu::BindGroupLayoutEntry> {
    let declared = text.lines().filter_map(|line| {
        let (number, rest) = line.trim_start().strip_prefix("@group(0) @binding(")?.split_once(')')?;
        let kind = rest.trim_start().strip_prefix("var<")?.split_once('>')?.0.replace(' ', "");
        let ty = match kind.as_str() {
            "uniform" => wgpu::BufferBindingType::Uniform,
            "storage,read_write" => wgpu::BufferBindingType::Storage { read_only: false },
            _ => wgpu::BufferBindingType::Storage { read_only: true },
        };
        Some(wgpu::BindGroupLayoutEntry {
            binding: number.trim().parse().ok()?,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        })
    });
    declared.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_cut_between_characters() {
        let host = |name: &str| Shader::Host { name: name.into(), text: String::new() };
        assert_eq!(label(&host("short")), "short");
        for name in ["x".repeat(500), "ä".repeat(300), format!("x{}", "ä".repeat(300))] {
            let label = label(&host(&name));
            assert!(label.len() <= LABEL + 1 && name.starts_with(label.trim_end_matches('~')), "{label}");
        }
    }
}
