//! Object storage on loopback: one server that speaks as S3, Google Cloud Storage (its XML interface) and Azure Blob Storage
//! do, with what goes wrong there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};

use kit::http;
use sha2::{Digest, Sha256};

pub const KEY: &str = "AKIDOFTHETESTS";
pub const ACCOUNT: &str = "accountofthetests";

/// What goes wrong from now on.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    None,
    /// This many requests are answered with 503.
    Busy(usize),
    /// The next answer with content is cut after this many bytes.
    Cut(usize),
    /// After this many writes each is refused.
    RefuseAfter(usize),
    /// What is written under a name with this in it is said to be kept, and is not.
    Forget(&'static str),
    /// Before the next write of a name with this in it another program writes there.
    Overtake(&'static str),
}

#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub query: BTreeMap<String, String>,
    sent: http::Request,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.sent.header(name)
    }

    pub fn method(&self) -> &str {
        &self.sent.method
    }

    fn asks(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct BucketState {
    /// By path, with the number of the write.
    objects: BTreeMap<String, (Vec<u8>, u64)>,
    writes: u64,
    /// Uploads in parts: by id, the path, and the parts by number.
    uploads: BTreeMap<String, (String, BTreeMap<u32, Vec<u8>>)>,
    /// Azure's blocks: by path and id.
    blocks: BTreeMap<(String, String), Vec<u8>>,
    asked: Vec<Request>,
    fault: Option<Fault>,
}

pub struct Buckets {
    pub port: u16,
    kept: Arc<Mutex<BucketState>>,
}

impl Buckets {
    pub fn new() -> Self {
        let kept: Arc<Mutex<BucketState>> = Arc::default();
        let shared = kept.clone();
        let port = http::serve(move |stream| serve(stream, &shared));
        Self { port, kept }
    }

    /// The variables by which a program finds this server.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let here = format!("http://127.0.0.1:{}", self.port);
        let account = serde_json::json!({
            "gcs_base_url": here, "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": "",
        });
        vec![
            ("AWS_ENDPOINT_URL", here.clone()),
            ("AWS_ACCESS_KEY_ID", KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", "secret of the tests".into()),
            ("GOOGLE_SERVICE_ACCOUNT_KEY", account.to_string()),
            ("AZURE_STORAGE_ENDPOINT", format!("{here}/{ACCOUNT}")),
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.into()),
            ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0IG9mIHRoZSB0ZXN0cw==".into()),
        ]
    }

    pub fn fail(&self, fault: Fault) {
        held(&self.kept).fault = Some(fault);
    }

    /// The objects below a folder such as `/bucket/folder`, by name.
    pub fn objects(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let within = |path: &String| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_string);
        let kept = held(&self.kept);
        kept.objects.iter().filter_map(|(path, (bytes, _))| Some((within(path)?, bytes.clone()))).collect()
    }

    /// Changes one byte of an object.
    pub fn damage(&self, path: &str, at: usize) {
        held(&self.kept).objects.get_mut(path).unwrap().0[at] ^= 1;
    }

    pub fn forget(&self, path: &str) {
        held(&self.kept).objects.remove(path).unwrap();
    }

    /// The requests since the last call.
    pub fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut held(&self.kept).asked)
    }

    /// Whether parts of an upload are left that nobody ended.
    pub fn has_parts(&self) -> bool {
        !held(&self.kept).uploads.is_empty()
    }
}

fn held(kept: &Mutex<BucketState>) -> MutexGuard<'_, BucketState> {
    kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct BucketAnswer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn answer(status: &'static str, headers: Vec<(&'static str, String)>) -> BucketAnswer {
    BucketAnswer { status, headers, body: Vec::new() }
}

fn refusal(status: &'static str, code: &str) -> BucketAnswer {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>refused</Message></Error>");
    BucketAnswer { status, headers: Vec::new(), body: body.into_bytes() }
}

/// Requests of one connection, one after the other.
fn serve(stream: TcpStream, kept: &Mutex<BucketState>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        let cut = match &held(kept).fault {
            Some(Fault::Cut(at)) if request.method() == "GET" => Some(*at),
            _ => None,
        };
        let answer = answered(&mut held(kept), &request);
        let length = match request.method() {
            "HEAD" => {
                answer.headers.iter().find(|(name, _)| *name == "X-Length").map_or("0".into(), |(_, n)| n.clone())
            }
            _ => answer.body.len().to_string(),
        };
        let mut head = format!("HTTP/1.1 {}\r\nContent-Length: {length}\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut whole = (head + "\r\n").into_bytes();
        let head = whole.len();
        whole.extend(&answer.body);
        if let Some(at) = cut.filter(|at| answer.body.len() > *at) {
            held(kept).fault = None;
            let _gone = (&stream).write_all(&whole[..head + at]);
            let _closed = stream.shutdown(std::net::Shutdown::Both);
            return;
        }
        if (&stream).write_all(&whole).is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<Request> {
    let sent = http::Request::read(reader)?;
    let (path, query) = sent.target.split_once('?').unwrap_or((&sent.target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_string(), decoded(value))
    };
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    let path = decoded(path);
    // Azure names the account in the path of a server that is not its own.
    let path = path.strip_prefix(&format!("/{ACCOUNT}")).unwrap_or(&path).to_string();
    Some(Request { path, query, sent })
}

/// What percent signs stand for.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |whole, part| {
        let (code, rest) = part.split_at(2);
        format!("{whole}{}{rest}", char::from(u8::from_str_radix(code, 16).unwrap()))
    })
}

fn is_signed(request: &Request) -> bool {
    let Some(said) = request.header("authorization") else {
        // Google's service account of the tests asks for no token.
        return true;
    };
    let by_amazon = said.starts_with("AWS4-HMAC-SHA256") && said.contains(&format!("Credential={KEY}/"));
    let hash = request.header("x-amz-content-sha256").filter(|hash| hash.len() == 64);
    let is_whole = hash.is_none_or(|hash| {
        let found: String = Sha256::digest(&request.sent.body).iter().map(|byte| format!("{byte:02x}")).collect();
        found == hash
    });
    let by_azure = said.starts_with(&format!("SharedKey {ACCOUNT}:"));
    by_azure || by_amazon && is_whole || said.trim() == "Bearer"
}

fn answered(kept: &mut BucketState, request: &Request) -> BucketAnswer {
    let mut asked = request.clone();
    asked.sent.body.clear();
    kept.asked.push(asked);
    let is_write = matches!(request.method(), "PUT" | "POST");
    match &mut kept.fault {
        Some(Fault::Busy(left)) if *left > 0 => {
            *left -= 1;
            return refusal("503 Service Unavailable", "SlowDown");
        }
        Some(Fault::RefuseAfter(0)) if is_write => return refusal("403 Forbidden", "AccessDenied"),
        Some(Fault::RefuseAfter(left)) if is_write => *left -= 1,
        _ => {}
    }
    if !is_signed(request) {
        return refusal("403 Forbidden", "SignatureDoesNotMatch");
    }
    match request.method() {
        "PUT" => put(kept, request),
        "POST" => post(kept, request),
        "GET" | "HEAD" => get(kept, request),
        "DELETE" => {
            kept.uploads.remove(request.asks("uploadId").unwrap_or_default());
            answer("204 No Content", Vec::new())
        }
        _ => refusal("405 Method Not Allowed", "MethodNotAllowed"),
    }
}

fn put(kept: &mut BucketState, request: &Request) -> BucketAnswer {
    let path = request.path.clone();
    if let (Some(part), Some(id)) = (request.asks("partNumber"), request.asks("uploadId")) {
        let Some((_, parts)) = kept.uploads.get_mut(id) else { return refusal("404 Not Found", "NoSuchUpload") };
        parts.insert(part.parse().unwrap(), request.sent.body.clone());
        return answer("200 OK", vec![("ETag", format!("\"part-{part}\""))]);
    }
    match (request.asks("comp"), request.asks("blockid")) {
        (Some("block"), Some(id)) => {
            kept.blocks.insert((path, id.to_string()), request.sent.body.clone());
            answer("201 Created", Vec::new())
        }
        (Some("blocklist"), _) => {
            let listed = String::from_utf8(request.sent.body.clone()).unwrap();
            let ids = listed.split("<Uncommitted>").skip(1).filter_map(|rest| rest.split_once('<').map(|(id, _)| id));
            let whole = ids.flat_map(|id| kept.blocks.remove(&(path.clone(), id.to_string())).unwrap()).collect();
            keep(kept, request, whole)
        }
        _ => keep(kept, request, request.sent.body.clone()),
    }
}

fn post(kept: &mut BucketState, request: &Request) -> BucketAnswer {
    let path = request.path.clone();
    let mut answer = answer("200 OK", Vec::new());
    if request.asks("uploads").is_some() {
        let id = format!("upload-{}", kept.uploads.len() + 1);
        kept.uploads.insert(id.clone(), (path, BTreeMap::new()));
        let body = format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
        answer.body = body.into_bytes();
        return answer;
    }
    let Some((_, parts)) = kept.uploads.remove(request.asks("uploadId").unwrap_or_default()) else {
        return refusal("404 Not Found", "NoSuchUpload");
    };
    let mut done = keep(kept, request, parts.into_values().flatten().collect());
    done.body = b"<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>".to_vec();
    done
}

/// Keeps an object, if what the request demands of the one that is there holds.
fn keep(kept: &mut BucketState, request: &Request, content: Vec<u8>) -> BucketAnswer {
    let path = request.path.clone();
    if let Some(Fault::Overtake(name)) = kept.fault
        && path.contains(name)
    {
        kept.fault = None;
        kept.writes += 1;
        kept.objects.insert(path.clone(), (b"of another".to_vec(), kept.writes));
    }
    let there = kept.objects.get(&path).map(|(_, write)| *write);
    let is_wrong = |wanted: Option<&str>| wanted.is_some_and(|wanted| wanted != format!("\"{}\"", there.unwrap_or(0)));
    let generation = request.header("x-goog-if-generation-match");
    if request.header("if-none-match") == Some("*") && there.is_some()
        || is_wrong(request.header("if-match"))
        || generation.is_some_and(|wanted| wanted != there.unwrap_or(0).to_string())
    {
        return refusal("412 Precondition Failed", "PreconditionFailed");
    }
    kept.writes += 1;
    let write = kept.writes;
    if !matches!(kept.fault, Some(Fault::Forget(name)) if path.contains(name)) {
        kept.objects.insert(path, (content, write));
    }
    answer("201 Created", marks(write))
}

/// The headers that tell one version of an object from another.
fn marks(write: u64) -> Vec<(&'static str, String)> {
    vec![
        ("ETag", format!("\"{write}\"")),
        ("x-goog-generation", write.to_string()),
        ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT".into()),
    ]
}

fn get(kept: &mut BucketState, request: &Request) -> BucketAnswer {
    let Some((content, write)) = kept.objects.get(&request.path) else {
        return match request.method() {
            "HEAD" => answer("404 Not Found", Vec::new()),
            _ => refusal("404 Not Found", "NoSuchKey"),
        };
    };
    let mut headers = marks(*write);
    if request.method() == "HEAD" {
        headers.push(("X-Length", content.len().to_string()));
        return answer("200 OK", headers);
    }
    let asked = request.header("range").or(request.header("x-ms-range"));
    let Some((start, end)) = asked.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return BucketAnswer { status: "200 OK", headers, body: content.clone() };
    };
    let start: usize = start.parse().unwrap();
    let end: usize = end.parse().unwrap_or(usize::MAX);
    let end = end.min(content.len() - 1);
    headers.push(("Content-Range", format!("bytes {start}-{end}/{}", content.len())));
    BucketAnswer { status: "206 Partial Content", headers, body: content[start..=end].to_vec() }
}
