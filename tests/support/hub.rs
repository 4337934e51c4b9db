//! A small hub on loopback: one server for models and data sets, and one for their large files. The name of a data set begins with
//! `datasets/`.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use kit::http::{self, Request};
use microtome::checkpoint::hub::HubSettings;
use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// The commit of what the hub converted to Parquet.
pub const CONVERTED: &str = "89abcdef0123456789abcdef0123456789abcdef";
pub const TOKEN: &str = "hf_secretOfTheTests";

/// What goes wrong with the next answer that contains a large file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// The connection is cut after this many bytes.
    Cut(usize),
    /// This many bytes are sent, and then the connection stalls.
    Stall(usize),
    /// One bit of the file is flipped.
    Flipped,
    /// More bytes are sent than expected.
    TooMany,
    /// A range was requested, and the whole file is sent.
    NoRanges,
}

#[derive(Default)]
pub struct Repo {
    pub files: BTreeMap<String, Vec<u8>>,
    /// What the hub converted to Parquet, if it did.
    pub converted: BTreeMap<String, Vec<u8>>,
    /// Whether requests without a token are refused.
    pub gated: bool,
    /// The etag that is sent instead of the right one.
    pub etag: Option<String>,
    /// Whether its metadata never end.
    pub endless: bool,
    /// The number of failures before the hub answers.
    pub trouble: std::sync::atomic::AtomicUsize,
}

impl Repo {
    fn file(&self, path: &str) -> Option<&Vec<u8>> {
        self.files.get(path).or_else(|| self.converted.get(path))
    }

    fn listed(&self, revision: &str) -> Option<(&str, &BTreeMap<String, Vec<u8>>)> {
        match revision {
            "main" | "v1" | "refs%2Fpr%2F1" | COMMIT => Some((COMMIT, &self.files)),
            "refs%2Fconvert%2Fparquet" if !self.converted.is_empty() => Some((CONVERTED, &self.converted)),
            _ => None,
        }
    }

    fn in_trouble(&self) -> bool {
        use std::sync::atomic::Ordering::SeqCst;
        self.trouble.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

struct HubState {
    repos: BTreeMap<String, Repo>,
    store: OnceLock<String>,
    fault: Mutex<Fault>,
    hub: Mutex<Vec<Request>>,
    kept: Mutex<Vec<Request>>,
}

pub struct Hub {
    pub address: String,
    state: Arc<HubState>,
}

impl Hub {
    pub fn new(repos: BTreeMap<String, Repo>) -> Self {
        let state = Arc::new(HubState {
            repos,
            store: OnceLock::new(),
            fault: Mutex::new(Fault::None),
            hub: Mutex::default(),
            kept: Mutex::default(),
        });
        let store = http::serve(served(state.clone(), answer_of_store));
        // The same machine by another name, so that access rules treat it as another host.
        state.store.set(format!("http://localhost:{store}")).unwrap();
        let hub = http::serve(served(state.clone(), answer_of_hub));
        Self { address: format!("http://127.0.0.1:{hub}"), state }
    }

    /// The settings of a client of this hub, whose cache is in a folder.
    pub fn settings(&self, folder: &Path) -> HubSettings {
        HubSettings { endpoint: self.address.clone(), cache: folder.join("hub"), token: None, offline: false }
    }

    /// The program with this hub, whose settings and cache are in a folder.
    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microtome"));
        command
            .current_dir(folder)
            .env("XDG_CONFIG_HOME", folder)
            .env("HF_HOME", folder.join("hf"))
            .env("HF_ENDPOINT", &self.address)
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("HF_HUB_CACHE");
        command
    }

    pub fn fail_once(&self, fault: Fault) {
        *self.state.fault.lock().unwrap() = fault;
    }

    /// The requests to the hub since the last call.
    pub fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut *self.state.hub.lock().unwrap())
    }

    /// The requests to the server of large files since the last call.
    pub fn asked_of_store(&self) -> Vec<Request> {
        std::mem::take(&mut *self.state.kept.lock().unwrap())
    }
}

type AnswerFunction = fn(&HubState, &Request, &mut TcpStream) -> std::io::Result<()>;

/// One request for each connection.
fn served(state: Arc<HubState>, answer: AnswerFunction) -> impl Fn(TcpStream) + Clone + Send + 'static {
    move |mut stream: TcpStream| {
        if let Some(request) = Request::read(&mut BufReader::new(stream.try_clone().unwrap())) {
            let _gone = answer(&state, &request, &mut stream);
        }
    }
}

/// The token that a request came with.
pub fn token(request: &Request) -> Option<&str> {
    request.header("authorization").map(|said| said.trim_start_matches("Bearer "))
}

fn send(stream: &mut TcpStream, status: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<()> {
    stream.write_all(&http::answer(status, headers, body))
}

fn refuse(stream: &mut TcpStream, status: &str, code: &str) -> std::io::Result<()> {
    send(stream, status, &[("X-Error-Code", code)], br#"{"error": "\u001b[31mwords that move the cursor"}"#)
}

fn answer_of_hub(state: &HubState, request: &Request, stream: &mut TcpStream) -> std::io::Result<()> {
    state.hub.lock().unwrap().push(request.clone());
    let path = request.target.trim_start_matches('/');
    let path = path.strip_prefix("api/").map_or(path, |path| path.trim_start_matches("models/"));
    let Some((name, question)) = parts(path) else { return refuse(stream, "400 Bad Request", "Bad") };
    let Some(repo) = state.repos.get(&name) else { return refuse(stream, "404 Not Found", "RepoNotFound") };
    if repo.gated && token(request) != Some(TOKEN) {
        return refuse(stream, "401 Unauthorized", "GatedRepo");
    }
    match question.split_once('/') {
        Some(("revision", _)) if repo.in_trouble() => send(stream, "503 Service Unavailable", &[], b""),
        Some(("revision", _)) if repo.endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"siblings\": [")?;
            loop {
                stream.write_all(&br#"{"rfilename": "a"}, "#.repeat(10_000))?;
            }
        }
        Some(("revision", revision)) => {
            let Some((commit, files)) = repo.listed(revision) else {
                return refuse(stream, "404 Not Found", "RevisionNotFound");
            };
            let files: Vec<_> = files.keys().map(|file| serde_json::json!({ "rfilename": file })).collect();
            let info = serde_json::json!({ "id": name, "sha": commit, "siblings": files, "tags": [] });
            send(stream, "200 OK", &[], info.to_string().as_bytes())
        }
        Some(("resolve", file)) => resolved(state, repo, &name, file, stream),
        // The redirection of small files, within the hub.
        Some(("small", file)) => match repo.file(file) {
            Some(bytes) => {
                let etag = format!("\"{}\"", repo.etag.clone().unwrap_or_else(|| digits(bytes)));
                let length = bytes.len().to_string();
                let body = if request.method == "HEAD" { &[][..] } else { bytes };
                let headers = [("ETag", etag.as_str()), ("X-Repo-Commit", COMMIT), ("Content-Length", length.as_str())];
                send(stream, "200 OK", &headers, body)
            }
            None => refuse(stream, "404 Not Found", "EntryNotFound"),
        },
        _ => refuse(stream, "404 Not Found", "EntryNotFound"),
    }
}

/// The repository that a path is about, and the rest of the path.
fn parts(path: &str) -> Option<(String, String)> {
    let (kind, path) = path.strip_prefix("datasets/").map_or(("", path), |path| ("datasets/", path));
    match path.split('/').collect::<Vec<_>>().as_slice() {
        [org, name, rest @ ..] => Some((format!("{kind}{org}/{name}"), rest.join("/"))),
        _ => None,
    }
}

/// Redirects to the file: large ones to the store, with their hash and size in the headers.
fn resolved(state: &HubState, repo: &Repo, name: &str, file: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    let Some((_, file)) = file.split_once('/') else { return refuse(stream, "404 Not Found", "EntryNotFound") };
    let Some(bytes) = repo.file(file) else { return refuse(stream, "404 Not Found", "EntryNotFound") };
    if bytes.len() < 1000 {
        let location = format!("/{name}/small/{file}");
        return send(stream, "307 Temporary Redirect", &[("Location", &location)], b"");
    }
    let sha256 = digits_of(bytes);
    let location = format!("{}/{name}/{file}?signature=secret", state.store.get().unwrap());
    let etag = format!("\"{sha256}\"");
    let size = bytes.len().to_string();
    let headers = [
        ("Location", location.as_str()),
        ("X-Linked-Etag", &etag),
        ("X-Linked-Size", &size),
        ("X-Repo-Commit", COMMIT),
        ("ETag", "\"another\""),
    ];
    send(stream, "302 Found", &headers, b"")
}

fn answer_of_store(state: &HubState, request: &Request, stream: &mut TcpStream) -> std::io::Result<()> {
    state.kept.lock().unwrap().push(request.clone());
    let path = request.target.split('?').next().unwrap().trim_start_matches('/');
    let (name, file) = parts(path).unwrap();
    let mut bytes = state.repos[&name].file(&file).unwrap().clone();
    let fault = std::mem::replace(&mut *state.fault.lock().unwrap(), Fault::None);
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let ends = range.map(|(start, end)| (start.parse::<usize>().unwrap(), end.parse::<usize>().ok()));
    if let Some((start, end)) = ends.filter(|_| fault != Fault::NoRanges) {
        if start >= bytes.len() {
            return send(stream, "416 Range Not Satisfiable", &[], b"");
        }
        let end = end.map_or(bytes.len(), |end| (end + 1).min(bytes.len()));
        let said = format!("bytes {start}-{}/{}", end - 1, bytes.len());
        return send(stream, "206 Partial Content", &[("Content-Range", &said)], &bytes[start..end]);
    }
    let length = bytes.len().to_string();
    match fault {
        Fault::Cut(after) => send(stream, "200 OK", &[("Content-Length", &length)], &bytes[..after]),
        Fault::Stall(after) => {
            send(stream, "200 OK", &[("Content-Length", &length)], &bytes[..after])?;
            std::thread::sleep(std::time::Duration::from_secs(20));
            Ok(())
        }
        Fault::Flipped => {
            bytes[500] ^= 1;
            send(stream, "200 OK", &[], &bytes)
        }
        Fault::TooMany => {
            bytes.extend([0; 10]);
            send(stream, "200 OK", &[], &bytes)
        }
        Fault::None | Fault::NoRanges => send(stream, "200 OK", &[], &bytes),
    }
}

pub fn digits_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A name like git's for a small file: forty hexadecimal digits.
fn digits(bytes: &[u8]) -> String {
    digits_of(bytes)[..40].to_string()
}
