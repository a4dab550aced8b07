//! A mirror for tests: serves a few files from memory, understands ranges, and misbehaves on demand.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How the mirror treats a request.
#[derive(Clone, Copy, Default)]
pub struct Manners {
    /// Closes the connection after so many bytes of content.
    pub breaks_after: Option<usize>,
    /// Answers every range with the whole file, as plain servers do.
    pub ignores_ranges: bool,
    /// Answers with a range that starts elsewhere.
    pub shifts_ranges: bool,
}

/// A mirror on a free port of this machine. Its thread ends with the test program.
pub struct Server {
    /// The address to which a file's name is appended.
    pub mirror: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(files: &[(&str, &[u8])], manners: Manners) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mirror = format!("http://{}/some/folder/", listener.local_addr().unwrap());
        let files: HashMap<String, Vec<u8>> =
            files.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up early is part of some tests.
                let _ = answer(stream, &files, manners, &log);
            }
        });
        Server { mirror, requests }
    }

    /// Every request so far: `NAME` or `NAME from OFFSET`.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn answer(
    stream: TcpStream,
    files: &HashMap<String, Vec<u8>>,
    manners: Manners,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut from = 0;
    let mut name = String::new();
    for line in BufReader::new(&stream).lines() {
        let line = line?;
        if let Some(path) = line.strip_prefix("GET ") {
            name =
                path.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_string();
        }
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(if from == 0 { name.clone() } else { format!("{name} from {from}") });

    let mut stream = &stream;
    let Some(bytes) = files.get(&name) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    if manners.ignores_ranges {
        from = 0;
    }
    if from > 0 && from >= bytes.len() {
        return stream.write_all(
            b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let told = if manners.shifts_ranges { from + 1 } else { from };
    let (status, range) = match from {
        0 => ("200 OK", String::new()),
        _ => {
            let range = format!("Content-Range: bytes {told}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            ("206 Partial Content", range)
        }
    };
    let content = &bytes[from..];
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{range}Connection: close\r\n\r\n", content.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&content[..content.len().min(manners.breaks_after.unwrap_or(usize::MAX))])
}
