//! The decisions of `script/setup`, taken by its own functions over made-up machines. Nothing gets installed.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// A folder that stands for /etc/apt and for whatever else a test lays down.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(files: &[(&str, &str)]) -> Machine {
        let machine = Machine(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = machine.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        machine
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_string()
    }

    /// What a line of bash prints after the script was sourced, and whether it ended well.
    fn bash(&self, line: &str, variables: &[(&str, &str)]) -> (String, bool) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("script/setup");
        let output = Command::new("bash")
            // Not as $0: by that the script would take itself for called, not sourced.
            .args(["-c", &format!(". \"$1\"; {line}"), "test", script.to_str().unwrap()])
            .env("SIMQAT_APT_DIR", self.0.path())
            .env_remove("VK_DRIVER_FILES")
            .env_remove("VK_ICD_FILENAMES")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }
}

const DEB822: &str = "\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
  http://second.example/debian
Suites: bookworm
# a comment inside
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/own.gpg

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm-backports
";

#[test]
fn sources_of_both_formats_are_read() {
    let machine = Machine::new(&[
        (
            "sources.list",
            "# deb http://off.example x main\ndeb http://old.example/debian bookworm main # why\n",
        ),
        (
            "sources.list.d/a.list",
            "deb [arch=amd64 signed-by=/k.gpg] http://keyed.example stable main\ndeb-src http://src.example s main\n",
        ),
        ("sources.list.d/b.sources", DEB822),
        ("sources.list.d/c.sources.disabled", "Types: deb\nURIs: http://off.example\nSuites: bookworm\n"),
    ]);
    let key = "/usr/share/keyrings/own.gpg";
    let expected = [
        "http://old.example/debian bookworm -",
        "http://keyed.example stable /k.gpg",
        &format!("http://mirror.example/debian bookworm {key}"),
        &format!("http://mirror.example/debian bookworm-updates {key}"),
        &format!("http://second.example/debian bookworm {key}"),
        &format!("http://second.example/debian bookworm-updates {key}"),
    ];
    let (found, ok) = machine.bash("apt_sources", &[]);
    assert!(ok);
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    assert!(!machine.bash("has_backports", &[]).1, "a source that is switched off does not count");
}

#[test]
fn backports_come_from_the_mirror_in_use() {
    let machine = Machine::new(&[("sources.list.d/debian.sources", DEB822)]);
    let (text, ok) = machine.bash("backports_source", &[]);
    assert!(ok);
    for line in [
        "Types: deb",
        "URIs: http://mirror.example/debian",
        "Suites: bookworm-backports",
        "Signed-By: /usr/share/keyrings/own.gpg",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }

    let configured =
        Machine::new(&[("sources.list", "deb http://m.example/debian bookworm-backports main\n")]);
    assert!(configured.bash("has_backports", &[]).1);
    let elsewhere = Machine::new(&[("sources.list", "deb http://m.example/ubuntu noble main\n")]);
    assert!(!elsewhere.bash("backports_source", &[]).1);
}

#[test]
fn a_driver_counts_only_with_its_library() {
    let json = |library: &str| format!("{{\n \"ICD\": {{ \"library_path\": \"{library}\" }}\n}}\n");
    let machine = Machine::new(&[
        ("icd/gone.json", &json("/nowhere/libvulkan_gone.so")),
        ("icd/unknown.json", &json("libvulkan_of_no_one.so")),
        ("icd/beside.json", &json("./libvulkan_mine.so")),
        ("icd/system.json", &json("libc.so.6")),
        ("icd/libvulkan_mine.so", ""),
    ]);
    let has_driver = |names: &[&str]| {
        let list = names.iter().map(|name| machine.path(name)).collect::<Vec<_>>().join(":");
        machine.bash("has_driver", &[("VK_DRIVER_FILES", &list)]).1
    };
    assert!(!has_driver(&["icd/gone.json", "icd/unknown.json", "icd/absent.json"]));
    assert!(has_driver(&["icd/gone.json", "icd/beside.json"]));
    assert!(has_driver(&["icd/system.json"]));
}

#[test]
fn only_debian_12_takes_backports() {
    let is = |text: &str| {
        let machine = Machine::new(&[("os-release", text)]);
        machine.bash("is_debian_12", &[("SIMQAT_OS_RELEASE", &machine.path("os-release"))]).1
    };
    assert!(is("ID=debian\nVERSION_ID=\"12\"\n"));
    assert!(!is("ID=debian\nVERSION_ID=\"13\"\n"));
    assert!(!is("ID=ubuntu\nVERSION_ID=\"24.04\"\n"));
    assert!(!is("ID=arch\n"));
}

#[test]
fn an_unknown_option_is_wrong_usage() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("script/setup");
    let output = Command::new("bash").arg(script).arg("--everything").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn other_packages_are_wanted_until_they_are_there() {
    let machine = Machine::new(&[]);
    // The one is installed, the other is not, and a removed package's settings may remain.
    let dpkg = "dpkg() { [[ $2 == there ]] && echo 'Status: install ok installed' || echo 'Status: deinstall ok config-files'; }";
    let line = format!("{dpkg}; also=(there removed); wanted_packages");
    let (wanted, _) = machine.bash(&line, &[]);
    assert!(wanted.lines().any(|package| package == "removed"), "{wanted}");
    assert!(!wanted.lines().any(|package| package == "there"), "{wanted}");
}

#[test]
fn python_is_wanted_where_it_was_asked_for() {
    let machine = Machine::new(&[]);
    let wanted =
        |line: &str| machine.bash(&format!("{line}; wanted_packages"), &[]).0.contains("python3-venv");
    assert!(wanted("has_venv() { false; }; python=yes"));
    assert!(!wanted("has_venv() { true; }; python=yes"));
    assert!(!wanted("has_venv() { false; }"));
}

#[test]
fn what_windows_needs_is_wanted_where_it_was_asked_for() {
    let machine = Machine::new(&[]);
    let all = ["rustc-web", "cargo-web", "rust-web-src", "gcc-mingw-w64-x86-64", "wine64", "xvfb"];
    let wanted = |line: &str| {
        let (text, ok) = machine.bash(&format!("{line}; wanted_packages"), &[]);
        assert!(ok, "{line}");
        all.into_iter().filter(|package| text.lines().any(|line| line == *package)).collect::<Vec<_>>()
    };
    // No program is found but what bash has itself.
    let bare = "has_windows_rust() { false; }; has_wine() { false; }; command() { false; }";
    assert_eq!(wanted(&format!("{bare}; windows=yes")), all);
    assert!(wanted(bare).is_empty());
    assert!(!wanted(&format!("{bare}; has_windows_rust() {{ true; }}; windows=yes")).contains(&"rustc-web"));
    assert!(!wanted(&format!("{bare}; has_wine() {{ true; }}; windows=yes")).contains(&"wine64"));
}
