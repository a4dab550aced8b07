//! Tint, the compiler of Chrome and other browsers that are made of Chromium: a page asks it for every variant.
//!
//! This is compiling as WebGPU means it: reading and validating WGSL. The driver behind it is not asked.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::report::{Run, conclude};
use crate::scratch;
use crate::translate::{Form, translate, variants};

const PATIENCE: Duration = Duration::from_secs(300);

/// Above f32's largest number, which is 3.40282347e38. naga takes it all the same.
const PLANTED: &str = "var<private> planted: f32;\n\
                       @compute @workgroup_size(1) fn main() { planted = 3.4028235e38; }\n";

pub fn run() {
    let program = std::env::var("SIMQAT_CHROMIUM").unwrap_or_else(|_| "chromium".into());
    let version = version(&program);
    // The last one is faulty.
    let text = |variant| translate(variant, Form::Wgsl).map(|t| String::from_utf8(t.bytes).unwrap()).unwrap();
    let shaders: Vec<String> = variants().iter().map(text).chain([PLANTED.to_string()]).collect();
    let planted = shaders.len() - 1;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let page = format!("http://{}/", listener.local_addr().unwrap());
    let mut browser = Browser::open(&program, &page);
    let result = serve(&listener, &serde_json::to_vec(&shaders).unwrap(), &mut browser);

    assert!(result["trouble"].is_null(), "{version} could not try: {}", result["trouble"]);
    assert_eq!(result["compiled"], shaders.len(), "{version} was not given all shaders");
    let mut refused: Vec<(usize, String)> = serde_json::from_value(result["refused"].clone()).unwrap();
    let found = refused.iter().position(|(number, _)| *number == planted);
    refused.remove(found.unwrap_or_else(|| panic!("{version} does not refuse a faulty shader")));
    let named = refused.into_iter().map(|(number, message)| (variants()[number].name.clone(), message));
    conclude(&[Run {
        compiler: "Tint".into(),
        version,
        given: Form::Wgsl.to_string(),
        variants: variants().len(),
        refused: named.collect(),
        time: Duration::from_secs_f64(result["seconds"].as_f64().unwrap()),
    }]);
}

/// "Chromium 156.0.8078.108".
fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let output = output.unwrap_or_else(|e| panic!("{program} does not start ({e}); install chromium"));
    let told = String::from_utf8_lossy(&output.stdout);
    let until = told.find(|c: char| c.is_ascii_digit()).and_then(|digit| {
        let length = told[digit..].find(|c: char| !c.is_ascii_digit() && c != '.')?;
        Some(digit + length)
    });
    told[..until.unwrap_or(told.len())].trim().to_string()
}

/// A browser without a window, and a profile of its own. It ends with this value.
struct Browser {
    child: Child,
    log: std::path::PathBuf,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(program: &str, page: &str) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let folder = scratch("tint");
        std::fs::create_dir_all(&folder).unwrap();
        let log = folder.join("browser.log");
        let child = Command::new(program)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            // The sandbox does not start for root or in most containers, and the page is our own.
            .args(["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--enable-unsafe-webgpu", "--enable-features=Vulkan,WebGPU"])
            .arg("--use-webgpu-adapter=swiftshader")
            .arg(page)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("{program} does not start: {e}"));
        Browser { child, log, _profile: profile }
    }

    /// Why there is no result.
    fn trouble(&self, why: &str) -> String {
        format!("{why}; its log is {}", self.log.display())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers the page until it sends its result.
fn serve(listener: &TcpListener, shaders: &[u8], browser: &mut Browser) -> Value {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                // A connection that the browser opens ahead and never uses must not hold up the others.
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                if let Ok(Some(result)) = answer(&stream, shaders) {
                    return result;
                }
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
        if let Some(status) = browser.child.try_wait().unwrap() {
            panic!("{}", browser.trouble(&format!("the browser ended ({status})")));
        }
    }
    panic!("{}", browser.trouble(&format!("the browser sent nothing for {} s", PATIENCE.as_secs())));
}

fn answer(mut stream: &TcpStream, shaders: &[u8]) -> std::io::Result<Option<Value>> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, kind, content): (_, _, &[u8]) = match request.split(' ').nth(1) {
        Some("/") => ("200 OK", "text/html", include_bytes!("tint.html")),
        Some("/shaders") => ("200 OK", "application/json", shaders),
        Some("/result") => ("200 OK", "text/plain", b""),
        _ => ("404 Not Found", "text/plain", b""),
    };
    let length = content.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(content)?;
    Ok(request.starts_with("POST /result").then(|| serde_json::from_slice(&body).unwrap_or_default()))
}
