//! Which of the adapters that answer are tried, in which order, and what is said if none will do. Nothing here asks a
//! driver, so it is tested without one.

use super::adapter::AdapterSummary;
use crate::{Error, Result};

/// The order in which adapters are tried: real GPUs, then software, then whatever only OpenGL reaches. A GPU's own
/// OpenGL driver so never wins over its Vulkan or DX12 one.
pub(super) fn rank(backend: wgpu::Backend, kind: wgpu::DeviceType) -> u8 {
    let by_kind = match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    if backend == wgpu::Backend::Gl { by_kind + 5 } else { by_kind }
}

/// The names of a backend in `--adapter`.
fn backend_called(name: &str) -> Option<&'static str> {
    match name {
        "vulkan" | "vk" => Some("vulkan"),
        "metal" | "mtl" => Some("metal"),
        "dx12" | "d3d12" => Some("dx12"),
        "opengl" | "gles" | "gl" => Some("opengl"),
        _ => None,
    }
}

/// What a user asked for: a part of a name, a backend, or `BACKEND/part of a name`; `#2` after it is the second of
/// those that fit.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    text: &'a str,
    backend: Option<&'static str>,
    part: String,
    /// From 0 on.
    which: usize,
}

impl<'a> Wanted<'a> {
    /// `None` for an empty text: the best adapter is meant.
    pub fn new(text: &'a str) -> Option<Self> {
        let lower = text.trim().to_lowercase();
        if lower.is_empty() {
            return None;
        }
        let numbered =
            lower.rsplit_once('#').and_then(|(rest, number)| Some((rest, number.parse::<usize>().ok()?)));
        let (lower, which) = match numbered {
            Some((rest, number)) if number > 0 => (rest.trim_end().to_string(), number - 1),
            _ => (lower, 0),
        };
        if let Some(backend) = backend_called(&lower) {
            return Some(Wanted { text, backend: Some(backend), part: String::new(), which });
        }
        // Names may have slashes of their own.
        let (backend, part) = match lower.split_once('/') {
            Some((first, rest)) if backend_called(first).is_some() => {
                (backend_called(first), rest.to_string())
            }
            _ => (None, lower),
        };
        Some(Wanted { text, backend, part, which })
    }

    /// The place among those found. Whole names go before parts of names, so that every adapter can be named.
    fn place(&self, found: &[AdapterSummary]) -> Option<usize> {
        let fitting = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
            (0..found.len())
                .filter(|&i| self.backend.is_none_or(|backend| backend == found[i].backend))
                .filter(|&i| fits(&found[i].name.to_lowercase()))
                .collect()
        };
        let whole = fitting(&|name| name == self.part);
        let places = if whole.is_empty() { fitting(&|name| name.contains(&self.part)) } else { whole };
        places.get(self.which).copied()
    }
}

/// Opens the first adapter that can be opened, in the order given; what is wrong with those before it goes to `refusals`.
/// If one was named, it is the only one that is tried.
///
/// # Errors
/// If the one that was named cannot be opened, with its reason.
pub(super) async fn first_that_opens<T>(
    found: &[AdapterSummary],
    wanted: Option<&Wanted<'_>>,
    refusals: &mut Vec<String>,
    mut open: impl AsyncFnMut(usize) -> Result<T>,
) -> Result<Option<T>> {
    if let Some(wanted) = wanted {
        return match wanted.place(found) {
            Some(index) => open(index).await.map(Some),
            None => Ok(None),
        };
    }
    for index in 0..found.len() {
        match open(index).await {
            Ok(opened) => return Ok(Some(opened)),
            Err(refusal) => refusals.push(refusal.to_string()),
        }
    }
    Ok(None)
}

/// What stands in the way if nothing could be opened.
#[derive(Clone, Copy)]
pub(super) struct Failure<'a> {
    /// All adapters that answer.
    pub found: &'a [AdapterSummary],
    /// The one that was asked for.
    pub wanted: Option<&'a Wanted<'a>>,
    /// Why those that were tried cannot be used.
    pub refusals: &'a [String],
    /// The environment variable that narrows the backends, if it is set.
    pub backend_variable: Option<&'a str>,
    /// The backends that this build can use on this system.
    pub backends: &'a [&'a str],
    /// As `std::env::consts::OS` has it.
    pub system: &'a str,
}

impl Failure<'_> {
    /// One sentence: what was wrong, and what to do.
    pub fn error(&self) -> Error {
        Error::NoAdapter(self.sentence())
    }

    fn sentence(&self) -> String {
        let narrowed = self
            .backend_variable
            .map(|value| format!("the environment variable WGPU_BACKEND is \"{value}\""));
        let names: Vec<String> = self.found.iter().map(AdapterSummary::full_name).collect();
        match (&narrowed, self.wanted) {
            (Some(narrowed), _) if self.found.is_empty() => format!(
                "{narrowed}, and no GPU adapter answers there: unset it, or name another backend of this system ({})",
                self.backends.join(", ")
            ),
            (None, _) if self.found.is_empty() => format!("no GPU adapter answers: {}", advice(self.system)),
            (_, Some(wanted)) => {
                let why = narrowed.map_or(String::new(), |narrowed| format!(", and {narrowed}"));
                format!("no adapter is called \"{}\"; there is: {}{why}", wanted.text, names.join(", "))
            }
            _ => format!("no adapter can be used: {}; {}", self.refusals.join("; "), advice(self.system)),
        }
    }
}

/// What gets a system a working adapter.
fn advice(system: &str) -> &'static str {
    match system {
        "linux" => {
            "install a Vulkan driver (script/setup does it on Debian and Ubuntu; the package mesa-vulkan-drivers works \
             without a GPU)"
        }
        "windows" => {
            "install the current driver of the GPU's maker, or Windows 10 or newer for its software adapter (WARP)"
        }
        "macos" => "this needs macOS 10.15 or newer, on a Mac or in a virtual machine that has Metal",
        _ => "install a driver for Vulkan",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(name: &str, backend: &str) -> AdapterSummary {
        AdapterSummary {
            name: name.into(),
            backend: backend.into(),
            kind: "made up".into(),
            driver: String::new(),
            is_software: false,
        }
    }

    fn machine() -> Vec<AdapterSummary> {
        vec![
            adapter("Radeon RX 6600", "vulkan"),
            adapter("Radeon RX 6600", "dx12"),
            adapter("llvmpipe (LLVM 15, 256 bits)", "vulkan"),
            adapter("ANGLE (AMD, Radeon/RX)", "opengl"),
        ]
    }

    /// Which of the machine's adapters opens if those in `broken` give no device, and how many were refused.
    fn opened(wanted: &str, broken: &[usize]) -> (Result<Option<usize>>, usize) {
        let mut refusals = Vec::new();
        let open = async |index: usize| match broken.contains(&index) {
            true => Err(Error::NoAdapter(format!("{index} gives no device"))),
            false => Ok(index),
        };
        let wanted = Wanted::new(wanted);
        let result = pollster::block_on(first_that_opens(&machine(), wanted.as_ref(), &mut refusals, open));
        (result, refusals.len())
    }

    #[test]
    fn an_adapter_is_named_by_a_part_of_its_name_by_its_backend_or_by_both() {
        let cases = [
            ("", Some(0)),
            ("radeon", Some(0)),
            ("LLVM", Some(2)),
            ("dx12", Some(1)),
            ("opengl", Some(3)),
            ("GL", Some(3)),
            ("dx12/radeon", Some(1)),
            ("vulkan/llvmpipe", Some(2)),
            ("Radeon/RX", Some(3)),
            ("dx12/llvmpipe", None),
            ("metal", None),
            ("nothing of this", None),
        ];
        for (text, expected) in cases {
            assert_eq!(opened(text, &[]).0.unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn twins_and_names_that_begin_alike_can_all_be_named() {
        let names = ["RTX 3080 Ti", "RTX 3080", "RTX 3080", "Card #7"];
        let found = names.map(|name| adapter(name, "vulkan"));
        let cases = [
            ("rtx 3080", Some(1)),
            ("vulkan/RTX 3080#1", Some(1)),
            ("vulkan/RTX 3080#2", Some(2)),
            ("RTX 3080#3", None),
            ("3080 Ti", Some(0)),
            ("rtx", Some(0)),
            ("rtx #3", Some(2)),
            ("vulkan/card #7#1", Some(3)),
            ("vulkan#4", Some(3)),
        ];
        for (text, expected) in cases {
            assert_eq!(Wanted::new(text).unwrap().place(&found), expected, "{text}");
        }
    }

    #[test]
    fn an_adapter_that_gives_no_device_is_passed_over_unless_it_was_named() {
        let (result, refused) = opened("", &[0, 1]);
        assert_eq!((result.unwrap(), refused), (Some(2), 2));
        let error = opened("dx12", &[1]).0.unwrap_err().to_string();
        assert_eq!(error, "1 gives no device");
        let (result, refused) = opened("", &[0, 1, 2, 3]);
        assert_eq!((result.unwrap(), refused), (None, 4));
    }

    #[test]
    fn opengl_comes_after_everything_else() {
        use wgpu::{Backend, DeviceType};
        let mut all = vec![
            (Backend::Gl, DeviceType::DiscreteGpu),
            (Backend::Vulkan, DeviceType::Cpu),
            (Backend::Dx12, DeviceType::DiscreteGpu),
            (Backend::Gl, DeviceType::Cpu),
            (Backend::Vulkan, DeviceType::IntegratedGpu),
        ];
        all.sort_by_key(|&(backend, kind)| rank(backend, kind));
        let expected = [
            (Backend::Dx12, DeviceType::DiscreteGpu),
            (Backend::Vulkan, DeviceType::IntegratedGpu),
            (Backend::Vulkan, DeviceType::Cpu),
            (Backend::Gl, DeviceType::DiscreteGpu),
            (Backend::Gl, DeviceType::Cpu),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn errors_name_the_variable_the_adapters_and_what_fits_the_system() {
        let machine = machine();
        let failure = Failure {
            found: &[],
            wanted: None,
            refusals: &[],
            backend_variable: None,
            backends: &["vulkan", "opengl"],
            system: "linux",
        };
        let on = |system| Failure { system, ..failure }.sentence();
        assert!(on("linux").contains("mesa-vulkan-drivers"));
        for system in ["windows", "macos", "freebsd"] {
            let text = on(system);
            assert!(!text.contains("Debian") && !text.contains("mesa"), "{system}: {text}");
        }
        let text = Failure { backend_variable: Some("dx12"), ..failure }.sentence();
        assert!(text.contains("WGPU_BACKEND is \"dx12\"") && text.contains("vulkan, opengl"), "{text}");
        let wanted = Wanted::new("GeForce");
        let text = Failure { found: &machine, wanted: wanted.as_ref(), ..failure }.sentence();
        assert!(text.contains("\"GeForce\"") && text.contains("dx12/Radeon RX 6600"), "{text}");
        let text =
            Failure { found: &machine, wanted: wanted.as_ref(), backend_variable: Some("vk"), ..failure }
                .sentence();
        assert!(text.contains("WGPU_BACKEND is \"vk\""), "{text}");
        let refusals = ["the first is too small".to_string(), "the second is gone".to_string()];
        let text = Failure { found: &machine, refusals: &refusals, ..failure }.sentence();
        assert!(text.contains("too small; the second is gone"), "{text}");
    }
}
