//! Every variant of every shader, on a machine without any of the backends: validation, the layout of its
//! parameters, its demands on the device, and translation to SPIR-V (Vulkan), MSL (Metal), HLSL (DX12) and GLSL (OpenGL).
//! Then the text: its names, its numbers, and what some driver or compiler is known to choke on.

mod literals;
mod names;
mod reserved;
mod spelling;

use std::sync::OnceLock;

use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, TypeInner};
use simqat::gpu::NEEDS;
use simqat::kernel::catalogue::{Entry, catalogue};
use simqat::shader::{SOURCES, render, uses_subgroups};

struct Checked {
    entry: Entry,
    text: String,
    module: naga::Module,
    info: naga::valid::ModuleInfo,
}

/// All variants, validated; done once for all tests.
fn checked() -> &'static [Checked] {
    static ALL: OnceLock<Vec<Checked>> = OnceLock::new();
    ALL.get_or_init(|| catalogue().into_iter().map(check).collect())
}

fn check(entry: Entry) -> Checked {
    let text = render(&entry.spec).unwrap_or_else(|e| panic!("{}: {e}", entry.spec));
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|e| panic!("{}: {}\n{text}", entry.spec, e.emit_to_string(&text)));
    let capabilities = Capabilities::SUBGROUP;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}: {}\n{text}", entry.spec, e.emit_to_string(&text)));
    Checked { entry, text, module, info }
}

fn size_of(module: &naga::Module, ty: naga::Handle<naga::Type>) -> u32 {
    module.types[ty].inner.size(module.to_ctx())
}

impl Checked {
    fn spirv(&self) -> Vec<u32> {
        let options = spv::Options { lang_version: (1, 3), ..Default::default() };
        spv::write_vec(&self.module, &self.info, &options, None)
            .unwrap_or_else(|e| panic!("{} to SPIR-V: {e}", self.entry.spec))
    }

    fn msl(&self) -> String {
        let options =
            msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
        msl::write_string(&self.module, &self.info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{} to MSL: {e}", self.entry.spec))
            .0
    }

    fn hlsl(&self, shader_model: hlsl::ShaderModel) -> String {
        let options = hlsl::Options { shader_model, fake_missing_bindings: true, ..Default::default() };
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default())
            .write(&self.module, &self.info, None)
            .unwrap_or_else(|e| panic!("{} to HLSL: {e}", self.entry.spec));
        text
    }

    /// `None` for variants with subgroups, which adapters by OpenGL never get.
    fn glsl(&self) -> Option<String> {
        if uses_subgroups(&self.text) {
            return None;
        }
        let pipeline = glsl::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: "main".to_string(),
            multiview: None,
        };
        let mut text = String::new();
        let options = glsl::Options::default();
        let checks = BoundsCheckPolicies::default();
        glsl::Writer::new(&mut text, &self.module, &self.info, &options, &pipeline, checks)
            .and_then(|mut writer| writer.write())
            .unwrap_or_else(|e| panic!("{} to GLSL: {e}", self.entry.spec));
        Some(text)
    }
}

#[test]
fn every_variant_is_valid_and_translates_to_every_backend() {
    let all = checked();
    assert!(all.len() > 100, "the catalogue holds only {} variants", all.len());
    for shader in all {
        assert!(!shader.spirv().is_empty());
        assert!(shader.msl().contains("kernel"), "{}", shader.entry.spec);
        assert!(shader.hlsl(hlsl::ShaderModel::V6_0).contains("numthreads"), "{}", shader.entry.spec);
        assert!(shader.glsl().is_none_or(|text| text.contains("local_size_x")), "{}", shader.entry.spec);
    }
}

#[test]
fn every_variant_keeps_to_what_kernels_are_said_to_need() {
    for Checked { entry, module, .. } in checked() {
        let spec = &entry.spec;
        let [main] = &module.entry_points[..] else { panic!("{spec}: not exactly one entry point") };
        assert_eq!(main.name, "main", "{spec}");
        let invocations: u32 = main.workgroup_size.iter().product();
        assert!(invocations <= NEEDS.workgroup_invocations, "{spec}: {invocations} invocations");
        let in_space = |space: fn(&AddressSpace) -> bool| {
            module.global_variables.iter().filter(move |(_, v)| space(&v.space)).map(|(_, v)| v)
        };
        let shared: u32 = in_space(|s| *s == AddressSpace::WorkGroup).map(|v| size_of(module, v.ty)).sum();
        assert!(shared <= NEEDS.workgroup_bytes, "{spec}: {shared} bytes of workgroup memory");
        let storage = in_space(|s| matches!(s, AddressSpace::Storage { .. })).count();
        assert!(storage <= NEEDS.storage_buffers as usize, "{spec}: {storage} storage buffers");
    }
}

#[test]
fn bindings_are_dense_with_inputs_first_and_parameters_last() {
    for Checked { entry, module, .. } in checked() {
        let spec = &entry.spec;
        let mut bound: Vec<_> = module
            .global_variables
            .iter()
            .filter_map(|(_, v)| v.binding.map(|b| (b.group, b.binding, v.space)))
            .collect();
        bound.sort_by_key(|&(group, binding, _)| (group, binding));
        let rank = |space: AddressSpace| match space {
            AddressSpace::Storage { access } if !access.contains(naga::StorageAccess::STORE) => 0,
            AddressSpace::Storage { .. } => 1,
            _ => 2,
        };
        for (i, &(group, binding, space)) in bound.iter().enumerate() {
            assert_eq!((group, binding as usize), (0, i), "{spec}: bindings are not dense");
            assert!(i == 0 || rank(bound[i - 1].2) <= rank(space), "{spec}: binding {i} is out of order");
        }
    }
}

#[test]
fn parameter_blocks_are_the_same_in_rust_and_in_wgsl() {
    for Checked { entry, module, .. } in checked() {
        let in_shader: Vec<(String, usize)> = module
            .types
            .iter()
            .filter(|(_, t)| t.name.as_deref() == Some("Params"))
            .flat_map(|(_, t)| match &t.inner {
                TypeInner::Struct { members, .. } => members.clone(),
                _ => Vec::new(),
            })
            .map(|m| (m.name.unwrap_or_default(), m.offset as usize))
            .collect();
        // Rust's side may end in padding that the shader does not name.
        let in_rust: Vec<(String, usize)> = entry
            .params
            .iter()
            .filter(|(name, _)| *name != "unused")
            .map(|&(name, offset)| (name.to_string(), offset))
            .collect();
        assert_eq!(in_rust, in_shader, "{}", entry.spec);
    }
}

#[test]
fn every_source_is_used_by_a_variant_or_an_include() {
    let variants = catalogue();
    for (path, _) in SOURCES {
        let launched = variants.iter().any(|e| e.spec.file() == *path);
        let included = SOURCES.iter().any(|(_, text)| text.contains(&format!("include \"{path}\"")));
        assert!(launched || included, "shaders/{path} is in the table and nothing uses it");
    }
}
