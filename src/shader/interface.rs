//! What a shader wants to be given, read from its text: bindings and parameters.

use wgpu::naga::front::wgsl;
use wgpu::naga::proc::GlobalCtx;
use wgpu::naga::{AddressSpace, GlobalVariable, Module, ShaderStage, Span, StorageAccess, TypeInner};

use super::Shader;
use crate::{Error, Result};

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

/// What a launch binds, in the order of the bindings' numbers, and the parameters behind them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// The buffers.
    pub buffers: Vec<Slot>,
    /// The uniform parameters, the last binding, where there are such.
    pub params: Option<Slot>,
}

/// A binding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// What the text calls it.
    pub name: String,
    /// The shader stores to it.
    pub is_written: bool,
    /// The bytes that it reaches over at least: the first of an array that ends with its buffer.
    pub least: u64,
}

impl Interface {
    /// Reads it from the text of `shader`.
    ///
    /// # Errors
    /// Where the text is no WGSL, has no entry point `main` for compute, or does not keep to the conventions of [`Shader::Host`];
    /// with the line.
    pub fn read(shader: &Shader, text: &str) -> Result<Interface> {
        let wrong = |span: Option<Span>, message: String| Error::Shader {
            name: shader.to_string(),
            line: span.and_then(|span| line_of(span, text)),
            message,
        };
        let module = wgsl::parse_str(text).map_err(|e| {
            let span = e.labels().next().map(|(span, _)| span);
            let detail = e.labels().next().map_or("", |(_, label)| label);
            let told = detail.is_empty() || e.message().contains(detail);
            wrong(span, if told { e.message().to_string() } else { format!("{} ({detail})", e.message()) })
        })?;
        if !module.entry_points.iter().any(|e| e.name == "main" && e.stage == ShaderStage::Compute) {
            let others: Vec<&str> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
            let others = if others.is_empty() { "none".into() } else { others.join(", ") };
            let message = format!(
                "it has no entry point `@compute fn main`, by which it is started; its entry points: {others}"
            );
            return Err(wrong(None, message));
        }
        let mut slots = Vec::new();
        for (handle, variable) in module.global_variables.iter() {
            let Some(binding) = &variable.binding else { continue };
            let span = Some(module.global_variables.get_span(handle));
            let name = variable.name.clone().unwrap_or_default();
            if binding.group != 0 {
                let message = format!("`{name}` is in group {}; all bindings are in group 0", binding.group);
                return Err(wrong(span, message));
            }
            let (is_uniform, is_written) = match variable.space {
                AddressSpace::Uniform => (true, false),
                AddressSpace::Storage { access } => (false, access.contains(StorageAccess::STORE)),
                _ => {
                    let message =
                        format!("`{name}` is no buffer; a kernel takes storage buffers and one uniform");
                    return Err(wrong(span, message));
                }
            };
            let slot = Slot { name, is_written, least: least_bytes(&module, variable) };
            slots.push((binding.binding, is_uniform, span, slot));
        }
        slots.sort_by_key(|(number, ..)| *number);
        let mut made = Interface { buffers: Vec::new(), params: None };
        for (place, (number, is_uniform, span, slot)) in slots.into_iter().enumerate() {
            let name = &slot.name;
            if number as usize != place {
                let message = if (number as usize) < place {
                    format!("`{name}` is a second binding {number}")
                } else {
                    format!(
                        "`{name}` is binding {number}, and there is no binding {place}; they are counted from 0"
                    )
                };
                return Err(wrong(span, message));
            }
            if made.params.is_some() {
                let message =
                    format!("`{name}` comes after the uniform parameters, which must be the last binding");
                return Err(wrong(span, message));
            }
            if is_uniform {
                made.params = Some(slot);
            } else {
                made.buffers.push(slot);
            }
        }
        Ok(made)
    }

    /// All bindings, for a layout. wgpu could derive one by itself, but leaves out what a variant does not touch; then launchers
    /// would have to know which variant touches what.
    pub fn layout(&self) -> Vec<wgpu::BindGroupLayoutEntry> {
        let storage = |slot: &Slot| wgpu::BufferBindingType::Storage { read_only: !slot.is_written };
        let uniform = self.params.iter().map(|_| wgpu::BufferBindingType::Uniform);
        let types = self.buffers.iter().map(storage).chain(uniform);
        types
            .zip(0..)
            .map(|(ty, binding)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            })
            .collect()
    }
}

/// The line that a place is in, counted from 1.
pub(super) fn line_of(span: Span, text: &str) -> Option<u32> {
    let has_place = span.is_defined() && span.to_range().is_some_and(|range| range.end <= text.len());
    has_place.then(|| span.location(text).line_number)
}

/// The bytes from a variable's first to the end of its last member. What a struct is filled up with behind that need not be
/// given.
fn least_bytes(module: &Module, variable: &GlobalVariable) -> u64 {
    let context: GlobalCtx<'_> = module.to_ctx();
    let size = |inner: &TypeInner| inner.try_size(context).unwrap_or(0);
    let inner = &module.types[variable.ty].inner;
    let end = match inner {
        TypeInner::Struct { members, .. } => {
            members.last().map_or(0, |last| last.offset + size(&module.types[last.ty].inner))
        }
        other => size(other),
    };
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, text: &str) -> Shader {
        Shader::Host { name: name.into(), text: text.into() }
    }

    fn read(text: &str) -> Result<Interface> {
        Interface::read(&host("probe", text), text)
    }

    #[test]
    fn labels_are_short_and_cut_between_characters() {
        assert_eq!(label(&host("short", "")), "short");
        for name in ["x".repeat(500), "ä".repeat(300), format!("x{}", "ä".repeat(300))] {
            let label = label(&host(&name, ""));
            assert!(label.len() <= LABEL + 1 && name.starts_with(label.trim_end_matches('~')), "{label}");
        }
    }

    #[test]
    fn bindings_are_found_wherever_they_stand() {
        let text = "struct Sizes { a: u32, b: vec3<f32>, c: f32 }
            @binding(2) @group(0)
            var<uniform> sizes: Sizes; @group(0) @binding(0) var<storage> from_here: array<vec4<f32>>;
            @compute @workgroup_size(1) fn main() { to_there[0] = from_here[0].x + sizes.c; }
            /* @group(0) @binding(7) var<uniform> no: u32; */
            @group(0) @binding(1) var<storage, read_write> to_there: array<f32>;";
        let found = read(text).unwrap();
        let slot = |name: &str, is_written, least| Slot { name: name.into(), is_written, least };
        assert_eq!(found.buffers, [slot("from_here", false, 16), slot("to_there", true, 4)]);
        // a at 0, b at 16, c behind it at 28.
        assert_eq!(found.params, Some(slot("sizes", false, 32)));
        assert_eq!(found.layout().iter().map(|entry| entry.binding).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn what_cannot_be_started_is_told_with_its_line() {
        let main = "@compute @workgroup_size(1) fn main() {}";
        for (text, line, words) in [
            ("\n\n@compute @workgroup_size(1)\nfn main() { let x = 1 +; }".to_string(), Some(4), "expected"),
            ("@compute @workgroup_size(1) fn start() {}".into(), None, "its entry points: start"),
            ("@vertex fn main() {}".into(), None, "entry point"),
            (format!("{main}\n@group(1) @binding(0) var<uniform> x: u32;"), Some(2), "group 1"),
            (format!("@group(0) @binding(1) var<uniform> x: u32;\n{main}"), Some(1), "no binding 0"),
            (
                format!(
                    "@group(0) @binding(0) var<uniform> x: u32;\n@group(0) @binding(0) var<storage> y: u32;\n{main}"
                ),
                Some(2),
                "second binding 0",
            ),
            (
                format!(
                    "@group(0) @binding(1) var<storage> y: u32;\n@group(0) @binding(0) var<uniform> x: u32;{main}"
                ),
                Some(1),
                "last",
            ),
            (format!("@group(0) @binding(0) var s: sampler;{main}"), Some(1), "no buffer"),
        ] {
            match read(&text) {
                Err(Error::Shader { line: found, message, .. }) => {
                    assert!(found == line && message.contains(words), "{text}: line {found:?}, {message}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
