//! Every variant of every shader in the forms that drivers get: as wgpu-hal translates it for each backend, with the
//! same options.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use naga::back::{hlsl, msl, pipeline_constants, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ResourceBinding, ShaderStage, StorageAccess};
use simqat::kernel::catalogue::catalogue;
use simqat::shader::{for_webgpu, render, uses_subgroups};

const ENTRY: &str = "main";

/// A variant as text and as what naga read from it.
pub struct Variant {
    /// The source and its constants.
    pub name: String,
    /// The rendered WGSL.
    wgsl: String,
    /// Whether it can only run where there are subgroup operations.
    pub subgroups: bool,
    /// Whether it has the instruction for four products of bytes, which the library avoids where a compiler fails on it.
    pub byte_dots: bool,
    module: Module,
    info: ModuleInfo,
}

/// All variants, in the order of the catalogue.
pub fn variants() -> &'static [Variant] {
    static ALL: OnceLock<Vec<Variant>> = OnceLock::new();
    ALL.get_or_init(|| {
        let entries = catalogue();
        assert!(entries.len() > 100, "the catalogue holds only {} variants", entries.len());
        entries.into_iter().map(|entry| read(entry.spec.to_string(), render(&entry.spec).unwrap())).collect()
    })
}

/// A shader of the catalogue, or one beside it.
pub fn read(name: String, wgsl: String) -> Variant {
    let module = naga::front::wgsl::parse_str(&wgsl)
        .unwrap_or_else(|e| panic!("{name}: {}\n{wgsl}", e.emit_to_string(&wgsl)));
    let validate = |capabilities| {
        Validator::new(ValidationFlags::all(), capabilities).validate(&module).map_err(Box::new)
    };
    let (info, subgroups) = match validate(Capabilities::empty()) {
        Ok(info) => (info, false),
        Err(_) => match validate(Capabilities::SUBGROUP) {
            Ok(info) => (info, true),
            Err(e) => panic!("{name}: {}\n{wgsl}", e.emit_to_string(&wgsl)),
        },
    };
    assert_eq!(uses_subgroups(&wgsl), subgroups, "{name}: the library is wrong about subgroups in it");
    let byte_dots = wgsl.contains("dot4I8Packed(");
    Variant { name, wgsl, subgroups, byte_dots, module, info }
}

/// What a compiler is given. Checked forms have the bounds checks, loop guards and debug names of a debug build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For browsers.
    Wgsl,
    /// For Vulkan 1.1 (SPIR-V 1.3), or 1.3 (1.6).
    Spirv { version: (u8, u8), checked: bool },
    /// For DX12, by shader model.
    Hlsl { model: hlsl::ShaderModel, checked: bool },
    /// For Metal, by version of its language.
    Msl { version: (u8, u8), checked: bool },
}

impl Form {
    /// Every form that any compiler here takes, and those for which there is no compiler.
    pub fn all() -> Vec<Form> {
        use hlsl::ShaderModel;
        let mut all = vec![Form::Wgsl];
        for checked in [false, true] {
            all.extend([(1, 3), (1, 6)].map(|version| Form::Spirv { version, checked }));
            all.extend(
                [ShaderModel::V5_1, ShaderModel::V6_0, ShaderModel::V6_4]
                    .map(|model| Form::Hlsl { model, checked }),
            );
            all.extend([(2, 4), (3, 1)].map(|version| Form::Msl { version, checked }));
        }
        all
    }

    /// How its files end.
    pub fn extension(self) -> &'static str {
        match self {
            Form::Wgsl => "wgsl",
            Form::Spirv { .. } => "spv",
            Form::Hlsl { .. } => "hlsl",
            Form::Msl { .. } => "metal",
        }
    }

    /// Shader model 5.1 has no subgroup operations, and wgpu offers none there.
    pub fn takes(self, variant: &Variant) -> bool {
        !variant.subgroups || !matches!(self, Form::Hlsl { model: hlsl::ShaderModel::V5_1, .. })
    }
}

/// Also the name of the folder that it is written to.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = |checked| if checked { "checked" } else { "unchecked" };
        match *self {
            Form::Wgsl => f.write_str("wgsl"),
            Form::Spirv { version: (major, minor), checked } => {
                write!(f, "spirv-{major}.{minor}-{}", checks(checked))
            }
            Form::Hlsl { model, checked } => {
                write!(f, "hlsl-{}-{}", model.to_str().replace('_', "."), checks(checked))
            }
            Form::Msl { version: (major, minor), checked } => {
                write!(f, "msl-{major}.{minor}-{}", checks(checked))
            }
        }
    }
}

/// A shader in some form.
pub struct Translated {
    /// Text, or the words of SPIR-V.
    pub bytes: Vec<u8>,
    /// What its entry point is called there.
    pub entry: String,
}

/// Translates a variant.
///
/// # Errors
/// What naga says if it has no translation.
pub fn translate(variant: &Variant, form: Form) -> Result<Translated, String> {
    if form == Form::Wgsl {
        let bytes = for_webgpu(&variant.wgsl).into_owned().into_bytes();
        return Ok(Translated { bytes, entry: ENTRY.into() });
    }
    let stage = (ShaderStage::Compute, ENTRY);
    let (module, info) = pipeline_constants::process_overrides(
        &variant.module,
        &variant.info,
        Some(stage),
        &Default::default(),
    )
    .map_err(|e| e.to_string())?;
    match form {
        Form::Wgsl => unreachable!("done above"),
        Form::Spirv { version, checked } => to_spirv(&module, &info, version, checked),
        Form::Hlsl { model, checked } => to_hlsl(&module, &info, model, checked),
        Form::Msl { version, checked } => to_msl(&module, &info, version, checked),
    }
}

fn policies(checked: bool) -> BoundsCheckPolicies {
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    BoundsCheckPolicies {
        index: policy,
        buffer: policy,
        image_load: policy,
        binding_array: BoundsCheckPolicy::Unchecked,
    }
}

/// Vulkan 1.3 brings products of four bytes, which naga otherwise writes out.
fn to_spirv(
    module: &Module,
    info: &ModuleInfo,
    version: (u8, u8),
    checked: bool,
) -> Result<Translated, String> {
    use spv::Capability::*;
    let mut capabilities = vec![Shader, Matrix, Int8, Float16];
    capabilities.extend([GroupNonUniform, GroupNonUniformVote, GroupNonUniformArithmetic]);
    capabilities.extend([GroupNonUniformBallot, GroupNonUniformShuffle, GroupNonUniformShuffleRelative]);
    if version >= (1, 6) {
        capabilities.extend([DotProduct, DotProductInputAll, DotProductInput4x8Bit]);
        capabilities.push(DotProductInput4x8BitPacked);
    }
    let mut flags = spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE;
    flags.set(spv::WriterFlags::DEBUG, checked);
    let options = spv::Options {
        lang_version: version,
        flags,
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: policies(checked),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: ENTRY.into() };
    let words = spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|e| e.to_string())?;
    Ok(Translated { bytes: words.iter().flat_map(|word| word.to_le_bytes()).collect(), entry: ENTRY.into() })
}

/// The bindings of group 0, in their order.
fn bindings(module: &Module) -> Vec<(ResourceBinding, AddressSpace)> {
    let mut bound: Vec<_> =
        module.global_variables.iter().filter_map(|(_, v)| Some((v.binding?, v.space))).collect();
    bound.sort_by_key(|(binding, _)| binding.binding);
    bound
}

fn is_mutable(space: AddressSpace) -> bool {
    matches!(space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE))
}

/// Registers are counted by kind: constants, what is read, what is written.
fn to_hlsl(
    module: &Module,
    info: &ModuleInfo,
    model: hlsl::ShaderModel,
    checked: bool,
) -> Result<Translated, String> {
    let mut constants = hlsl::BindTarget::default();
    let mut reads = hlsl::BindTarget::default();
    let mut writes = hlsl::BindTarget::default();
    let mut binding_map = BTreeMap::new();
    for (binding, space) in bindings(module) {
        let target = match space {
            AddressSpace::Uniform => &mut constants,
            _ if is_mutable(space) => &mut writes,
            _ => &mut reads,
        };
        binding_map.insert(binding, *target);
        target.register += 1;
    }
    let options = hlsl::Options {
        shader_model: model,
        binding_map: binding_map.into_iter().collect(),
        fake_missing_bindings: false,
        special_constants_binding: Some(constants),
        zero_initialize_workgroup_memory: false,
        restrict_indexing: checked,
        force_loop_bounding: checked,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, ENTRY.into())) };
    let mut text = String::new();
    let mut reflection = hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .map_err(|e| e.to_string())?;
    let entry = reflection.entry_point_names.pop().ok_or("it has no entry point")?;
    Ok(Translated { bytes: text.into_bytes(), entry: entry.map_err(|e| e.to_string())? })
}

/// Buffers are counted, and behind them comes one with the sizes of those whose arrays have no length.
fn to_msl(
    module: &Module,
    info: &ModuleInfo,
    version: (u8, u8),
    checked: bool,
) -> Result<Translated, String> {
    let mut resources = msl::BindingMap::default();
    for (slot, (binding, space)) in (0..).zip(bindings(module)) {
        let target = msl::BindTarget { buffer: Some(slot), mutable: is_mutable(space), ..Default::default() };
        resources.insert(binding, target);
    }
    let sizes_buffer = u8::try_from(resources.len()).ok();
    let here = msl::EntryPointResources { resources, sizes_buffer, immediates_buffer: None };
    let options = msl::Options {
        lang_version: version,
        per_entry_point_map: BTreeMap::from([(ENTRY.to_string(), here)]),
        fake_missing_bindings: false,
        bounds_check_policies: policies(checked),
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: checked,
        emit_int_div_checks: checked,
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, ENTRY.into())),
        ..Default::default()
    };
    let (text, mut reflection) =
        msl::write_string(module, info, &options, &pipeline).map_err(|e| e.to_string())?;
    let entry = reflection.entry_point_names.pop().ok_or("it has no entry point")?;
    Ok(Translated { bytes: text.into_bytes(), entry: entry.map_err(|e| e.to_string())? })
}

/// The name of a variant's file within a folder of one form.
pub fn file_name(index: usize, form: Form) -> String {
    format!("{index:04}.{}", form.extension())
}

/// Writes every variant in every form to a folder for each form, and `index.tsv`: the number of each file, the variant's
/// name.
pub fn write_all(folder: &Path) -> std::io::Result<()> {
    for form in Form::all() {
        let files = folder.join(form.to_string());
        fs::create_dir_all(&files)?;
        for (index, variant) in variants().iter().enumerate().filter(|(_, v)| form.takes(v)) {
            let translated = translate(variant, form)
                .map_err(|e| std::io::Error::other(format!("{} to {form}: {e}", variant.name)))?;
            fs::write(files.join(file_name(index, form)), translated.bytes)?;
        }
    }
    let lines = variants().iter().enumerate().map(|(index, v)| format!("{index:04}\t{}\n", v.name));
    fs::write(folder.join("index.tsv"), lines.collect::<String>())
}
