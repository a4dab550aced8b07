//! Compilers that take many shaders in one process. The process is given a list, a line `FILE<tab>ENTRY<tab>NAME` for each
//! shader, and prints `version TEXT` once, `at FILE` before each, and after it `ok FILE`, or `refused FILE BYTES` and a message of
//! so many bytes. So a shader that brings the compiler down is known, too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::Run;
use crate::translate::{Form, Variant, file_name, translate, variants};

/// No compiler here takes longer for all of them.
const PATIENCE: Duration = Duration::from_secs(900);

/// A shader in a file.
#[derive(Clone)]
pub struct Job {
    /// The file, in the folder of the form.
    pub file: String,
    /// What to compile in it.
    pub entry: String,
    /// The variant, which wgpu gives to drivers as the shader's label.
    pub name: String,
}

impl Job {
    /// A line of a list.
    #[cfg(target_os = "linux")]
    pub fn of_line(line: &str) -> Job {
        let mut parts = line.split('\t').map(str::to_string);
        let mut part = || parts.next().unwrap_or_else(|| panic!("a line of the list is cut: {line}"));
        Job { file: part(), entry: part(), name: part() }
    }

    fn line(&self) -> String {
        format!("{}\t{}\t{}\n", self.file, self.entry, self.name)
    }
}

/// All variants of one form as files.
pub struct Written {
    /// Where they are.
    pub folder: PathBuf,
    /// Each of them.
    pub jobs: Vec<Job>,
    /// Those that naga could not translate.
    pub refused: Vec<(String, String)>,
}

/// Writes all variants of `form` to `folder` that `keep` wants.
pub fn write(folder: PathBuf, form: Form, keep: impl Fn(&Variant) -> bool) -> Written {
    fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut written = Written { folder, jobs: Vec::new(), refused: Vec::new() };
    for (index, variant) in variants().iter().enumerate().filter(|(_, v)| form.takes(v) && keep(v)) {
        match translate(variant, form) {
            Ok(translated) => {
                let file = file_name(index, form);
                fs::write(written.folder.join(&file), translated.bytes).unwrap();
                written.jobs.push(Job { file, entry: translated.entry, name: variant.name.clone() });
            }
            Err(e) => written.refused.push((variant.name.clone(), format!("naga: {e}"))),
        }
    }
    written
}

/// What the processes told.
#[derive(Default)]
pub struct Told {
    /// The compiler's version.
    pub version: String,
    /// What became of each file; those that are not in it were never reached.
    pub results: BTreeMap<String, Result<(), String>>,
    /// How the processes ended, if not well.
    pub trouble: String,
}

impl Told {
    /// A run of the table, from what became of the files and which variants they are.
    ///
    /// # Panics
    /// Where the planted fault was not refused.
    pub fn into_run(mut self, compiler: &str, given: String, written: Written, planted: Option<&Job>) -> Run {
        if let Some(Job { file, .. }) = planted {
            let result = self.results.get(file);
            assert!(
                matches!(result, Some(Err(_))),
                "{compiler} ({given}) does not refuse a faulty shader: {result:?}; {}",
                self.trouble
            );
        }
        let Written { jobs, mut refused, .. } = written;
        let variants = jobs.len() + refused.len();
        for job in jobs {
            let never = || Err(format!("the compiler ended before it came to it: {}", self.trouble));
            if let Err(message) = self.results.remove(&job.file).unwrap_or_else(never) {
                refused.push((job.name, message));
            }
        }
        let version = self.version;
        Run { compiler: compiler.into(), version, given, variants, refused, time: Duration::ZERO }
    }
}

/// Runs `command` on the jobs: in as many processes as there are processors, each with a list of its own, in `folder`.
pub fn run(folder: &Path, jobs: &[Job], command: impl Fn(&Path) -> Command) -> Told {
    let processes = thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let started: Vec<Process> = (0..processes)
        .map(|part| {
            let own = jobs.iter().skip(part).step_by(processes);
            Process::start(folder, part, own, &command)
        })
        .collect();
    let mut told = Told::default();
    let deadline = Instant::now() + PATIENCE;
    for process in started {
        process.finish(deadline, &mut told);
    }
    told
}

struct Process {
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Process {
    fn start<'a>(
        folder: &Path,
        part: usize,
        jobs: impl Iterator<Item = &'a Job>,
        command: impl Fn(&Path) -> Command,
    ) -> Self {
        let name = |what: &str| PathBuf::from(format!("{what}.{part}"));
        let list = name("list");
        fs::write(folder.join(&list), jobs.map(Job::line).collect::<String>()).unwrap();
        let (output, errors) = (folder.join(name("output")), folder.join(name("errors")));
        let mut command = command(&list);
        let child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
        Process { child, output, errors }
    }

    fn finish(mut self, deadline: Instant, told: &mut Told) {
        let ending = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break (!status.success()).then(|| status.to_string());
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                break Some(format!("it was stopped after {} s", PATIENCE.as_secs()));
            }
            thread::sleep(Duration::from_millis(20));
        };
        let at = read(&fs::read(&self.output).unwrap(), told);
        if let Some(ending) = ending {
            let errors = String::from_utf8_lossy(&fs::read(&self.errors).unwrap()).trim().to_string();
            told.trouble = format!("{ending} {errors}");
            if let Some(file) = at {
                told.results.insert(file, Err(format!("the compiler broke down: {}", told.trouble)));
            }
        }
    }
}

/// Reads what a process printed; returns the file that it did not come back from.
fn read(mut output: &[u8], told: &mut Told) -> Option<String> {
    let mut at = None;
    while let Some(end) = output.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&output[..end]).trim_end().to_string();
        output = &output[end + 1..];
        match line.split_once(' ') {
            Some(("version", version)) => told.version = version.to_string(),
            Some(("at", file)) => at = Some(file.to_string()),
            Some(("ok", file)) => {
                told.results.insert(file.to_string(), Ok(()));
                at = None;
            }
            Some(("refused", rest)) => {
                let (file, bytes) = rest.rsplit_once(' ').unwrap_or_else(|| panic!("a line is cut: {line}"));
                let bytes = bytes.parse().map_or(0, |bytes: usize| bytes.min(output.len()));
                let message = String::from_utf8_lossy(&output[..bytes]).to_string();
                output = &output[bytes..];
                told.results.insert(file.to_string(), Err(message));
                at = None;
            }
            _ => {}
        }
    }
    at
}
