//! Mesa's driver for AMD, on its "null" device: it compiles for a GPU that is not there.
//!
//! The driver reads the family from the environment when it is loaded, so each family has processes of its own: this test,
//! started anew with a list.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ash::vk;

use crate::batch::{self, Job, Written};
use crate::report::{Run, conclude};
use crate::scratch;
use crate::translate::Form;

/// RDNA 3, RDNA 2, GCN.
const FAMILIES: [&str; 3] = ["NAVI31", "NAVI21", "VEGA10"];

/// Mesa's own variable. Where it is set, only that family is tried.
const FAMILY: &str = "RADV_FORCE_FAMILY";

/// The list that a started process works through.
const LIST: &str = "SIMQAT_RADV_LIST";

pub fn run() {
    if let Some(list) = std::env::var_os(LIST) {
        compile_list(Path::new(&list));
        return;
    }
    let families = std::env::var(FAMILY).map_or(FAMILIES.map(String::from).to_vec(), |named| vec![named]);
    let mut runs = Vec::new();
    for checked in [false, true] {
        let form = Form::Spirv { version: (1, 6), checked };
        runs.extend(families.iter().map(|family| compile_all(family, form)));
    }
    conclude(&runs);
}

fn compile_all(family: &str, form: Form) -> Run {
    let written = batch::write(scratch("radv").join(form.to_string()), form, |_| true);
    let mut jobs: Vec<Job> = written.jobs.clone();
    // The last one of its process, which it brings down.
    let planted = plant(&written);
    jobs.push(planted.clone());
    let start = Instant::now();
    let told = batch::run(&written.folder, &jobs, |list| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "radv", "--ignored", "--nocapture"]).env(LIST, list);
        // All drivers are asked, and none is kept from answering by what another test needs; no shader comes from a cache.
        command.env(FAMILY, family).env("MESA_SHADER_CACHE_DISABLE", "true");
        command.env_remove("VK_DRIVER_FILES").env_remove("VK_ICD_FILENAMES");
        command
    });
    let time = start.elapsed();
    Run { time, ..told.into_run("RADV", format!("{form}, {family}"), written, Some(&planted)) }
}

/// A shader that stores to a pointer which is not there.
fn plant(written: &Written) -> Job {
    const STORE: u32 = 62;
    let first = &written.jobs[0];
    let mut words = read(&written.folder.join(&first.file));
    let stores: Vec<usize> =
        instructions(&words).filter(|(_, i)| i[0] & 0xffff == STORE).map(|(at, _)| at).collect();
    words[*stores.last().unwrap() + 1] = 99_999;
    let planted = Job { file: "planted.spv".into(), ..first.clone() };
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    fs::write(written.folder.join(&planted.file), bytes).unwrap();
    planted
}

fn read(file: &Path) -> Vec<u32> {
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

/// Every instruction of a module, and where it begins.
fn instructions(words: &[u32]) -> impl Iterator<Item = (usize, &[u32])> {
    const HEADER: usize = 5;
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let count = (*words.get(at)? >> 16) as usize;
        let begin = at;
        at += count.max(1);
        Some((begin, words.get(begin..at)?))
    })
}

/// The other side of [`compile_all`].
fn compile_list(list: &Path) {
    let list = fs::read_to_string(list).unwrap_or_else(|e| panic!("{}: {e}", list.display()));
    let device = Device::open(&std::env::var(FAMILY).unwrap());
    println!("\nversion {}", device.version);
    for line in list.lines() {
        let Job { file, entry, .. } = Job::of_line(line);
        println!("at {file}");
        std::io::stdout().flush().unwrap();
        match device.compile(&read(Path::new(&file)), &entry) {
            Ok(()) => println!("ok {file}"),
            Err(message) => print!("refused {file} {}\n{message}", message.len()),
        }
    }
}

struct Device {
    raw: ash::Device,
    version: String,
    // Both must outlive the device.
    _instance: ash::Instance,
    _entry: ash::Entry,
}

impl Device {
    /// The null device of a family, with the features that wgpu asks for.
    fn open(family: &str) -> Device {
        // SAFETY: the loader is loaded once and kept; structures live until the calls that read them return.
        unsafe {
            let entry = ash::Entry::load().unwrap_or_else(|e| panic!("the Vulkan loader is missing: {e}"));
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&create, None).unwrap();
            let described = instance.enumerate_physical_devices().unwrap().into_iter().map(|physical| {
                let mut driver = vk::PhysicalDeviceDriverProperties::default();
                let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
                instance.get_physical_device_properties2(physical, &mut properties);
                let name = text(&instance.get_physical_device_properties(physical).device_name);
                (physical, name, text(&driver.driver_info))
            });
            let described: Vec<_> = described.collect();
            let names: Vec<&str> = described.iter().map(|(_, name, _)| name.as_str()).collect();
            // Its name has the family in it, such as "AMD Radeon Graphics (RADV NAVI31)".
            let named = names.iter().position(|name| name.contains("RADV") && name.contains(family));
            let (physical, _, version) = described[named.unwrap_or_else(|| {
                panic!("no null device of {family} is among {names:?}; install mesa-vulkan-drivers")
            })]
            .clone();
            let queue = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
            let mut for_12 =
                vk::PhysicalDeviceVulkan12Features::default().shader_float16(true).shader_int8(true);
            let mut for_13 = vk::PhysicalDeviceVulkan13Features::default()
                .subgroup_size_control(true)
                .shader_integer_dot_product(true)
                .maintenance4(true);
            let create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queue)
                .push_next(&mut for_12)
                .push_next(&mut for_13);
            let raw = instance.create_device(physical, &create, None).unwrap();
            Device { raw, version, _instance: instance, _entry: entry }
        }
    }

    /// Makes a pipeline and drops it.
    fn compile(&self, words: &[u32], entry: &str) -> Result<(), String> {
        let bindings = bindings(words);
        let entry = CString::new(entry).unwrap();
        let told = |what: &str, e: vk::Result| format!("{what}: {e}");
        // SAFETY: the words come from naga; every object is destroyed once, after its last use.
        unsafe {
            let create = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let set =
                self.raw.create_descriptor_set_layout(&create, None).map_err(|e| told("bindings", e))?;
            let sets = [set];
            let create = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = self.raw.create_pipeline_layout(&create, None).map_err(|e| told("layout", e))?;
            let create = vk::ShaderModuleCreateInfo::default().code(words);
            let module = self.raw.create_shader_module(&create, None).map_err(|e| told("module", e))?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&entry);
            let create = vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout);
            let made = self.raw.create_compute_pipelines(vk::PipelineCache::null(), &[create], None);
            let result = made.map(|pipelines| pipelines[0]).map_err(|(_, e)| told("pipeline", e));
            if let Ok(pipeline) = result {
                self.raw.destroy_pipeline(pipeline, None);
            }
            self.raw.destroy_shader_module(module, None);
            self.raw.destroy_pipeline_layout(layout, None);
            self.raw.destroy_descriptor_set_layout(set, None);
            result.map(|_| ())
        }
    }
}

fn text(chars: &[std::ffi::c_char]) -> String {
    // SAFETY: the driver ends the text with a zero, within the field.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().to_string()
}

/// The buffers that a module declares, read from its words.
fn bindings(words: &[u32]) -> Vec<vk::DescriptorSetLayoutBinding<'static>> {
    const VARIABLE: u32 = 59;
    const UNIFORM: u32 = 2;
    const DECORATE: u32 = 71;
    const BINDING: u32 = 33;
    let mut classes = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for (_, instruction) in instructions(words) {
        match (instruction[0] & 0xffff, instruction) {
            (VARIABLE, [_, _, variable, class, ..]) => drop(classes.insert(*variable, *class)),
            (DECORATE, [_, variable, BINDING, number]) => drop(numbers.insert(*variable, *number)),
            _ => {}
        }
    }
    let described = numbers.into_iter().map(|(variable, number)| {
        let kind = match classes.get(&variable) {
            Some(&UNIFORM) => vk::DescriptorType::UNIFORM_BUFFER,
            _ => vk::DescriptorType::STORAGE_BUFFER,
        };
        vk::DescriptorSetLayoutBinding::default()
            .binding(number)
            .descriptor_type(kind)
            .descriptor_count(1)
            .stage_flags(vk::ShaderStageFlags::COMPUTE)
    });
    described.collect()
}
