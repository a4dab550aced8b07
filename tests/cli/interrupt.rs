//! Ctrl-C, as a terminal would send it to the program.

use std::process::{Child, Command};

#[cfg(unix)]
mod system {
    use super::*;

    pub fn prepare(_: &mut Command) {}

    pub fn press(child: &Child) {
        let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill: {status}");
    }
}

#[cfg(windows)]
mod system {
    use std::os::windows::process::CommandExt;

    use super::*;

    unsafe extern "system" {
        safe fn AttachConsole(process: u32) -> i32;
        safe fn FreeConsole() -> i32;
        safe fn GenerateConsoleCtrlEvent(event: u32, group: u32) -> i32;
        fn SetConsoleCtrlHandler(handler: *const std::ffi::c_void, add: i32) -> i32;
    }

    /// Names the process whose console the key is to be pressed in.
    const TARGET: &str = "SIMQAT_TEST_INTERRUPT";

    /// Ctrl-C reaches every process of a console, so the program gets one of its own.
    pub fn prepare(command: &mut Command) {
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        command.creation_flags(CREATE_NO_WINDOW);
    }

    /// A process has one console. So this program is started once more, to join that of `child`.
    pub fn press(child: &Child) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "interrupt::system::the_key_is_pressed", "--include-ignored", "--nocapture"])
            .env(TARGET, child.id().to_string())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    }

    #[test]
    #[ignore = "not a test by itself: `press` starts it"]
    fn the_key_is_pressed() {
        const CTRL_C: u32 = 0;
        let Some(process) = std::env::var_os(TARGET) else { return };
        let process = process.to_str().unwrap().parse().unwrap();
        let done = |what: &str, result: i32| {
            assert!(result != 0, "{what}: {}", std::io::Error::last_os_error());
        };
        FreeConsole(); // fails where there is none
        done("AttachConsole", AttachConsole(process));
        // SAFETY: without a handler, it makes this process deaf to the key.
        done("SetConsoleCtrlHandler", unsafe { SetConsoleCtrlHandler(std::ptr::null(), 1) });
        done("GenerateConsoleCtrlEvent", GenerateConsoleCtrlEvent(CTRL_C, 0));
    }
}

pub use system::{prepare, press};
