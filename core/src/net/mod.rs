//! Floor 2: the net. Fetching, downloads that resume, stores of objects, and listening on loopback.
//!
//! Connections are opened here and nowhere else: every host, those of redirections included, is checked first.

mod address;
mod disk_space;
mod download;
mod listen;
#[cfg_attr(not(feature = "objects"), path = "no_objects.rs")]
mod objects;
mod partial;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use sha2::{Digest, Sha256};

use crate::base::files::hex;
use crate::base::memory::human;
use crate::base::task::Bar;
use crate::common::*;

pub(crate) use address::{is_here, named};
use disk_space::DiskSpace;
pub use download::Download;
#[cfg(unix)]
pub use listen::LocalListener;
pub use listen::{Listener, listen, listen_at};
pub use objects::{BucketFolder, Version, is_remote};

/// The user agent.
pub const USER_AGENT: &str = concat!("microtome/", env!("CARGO_PKG_VERSION"));

/// Interval at which a waiting download checks for an interruption.
const GLANCE: Duration = Duration::from_millis(20);

/// Longest silence of a server of files before a request fails.
const SILENCE: Duration = Duration::from_secs(60);

/// Downloads a file to `to` (by default the last part of the address), atomically.
///
/// With a hash, an existing file that has it is not downloaded again, and a download with another hash is refused.
pub fn fetch(files: &Files, task: &Task, address: &str, to: Option<&str>, sha256: Option<&str>) -> Result<PathBuf> {
    let url = Url::parse(address).map_err(|e| err!(Argument, "`{address}` is not an address: {e}").about("address"))?;
    judge(files.access(), &url)?;
    let name = match to {
        Some(name) => name.to_string(),
        None => last_part(&url)?,
    };
    let place = files.access().to_write(Path::new(&name))?;
    if let Some(wanted) = sha256 {
        if !(wanted.len() == 64 && wanted.bytes().all(|b| b.is_ascii_hexdigit())) {
            bail!(Argument, "expected 64 hexadecimal digits for `sha256`, found `{wanted}`");
        }
        if files.has(&place)? && place.is_file() && files.sha256(&place)? == wanted.to_lowercase() {
            return Ok(place);
        }
    }
    let client = client(files.access(), judged(files.access()), SILENCE)?;
    files.save(Path::new(&name), |file| {
        wait_for(async {
            let response = patiently(task, client.get(url.clone()).send()).await?.map_err(|e| failed(&url, e))?;
            let mut response = accepted(&url, response)?;
            let bar = task.begin(&format!("downloading {name}"), response.content_length());
            let mut hash = Sha256::new();
            let expected = response.content_length();
            let room = DiskSpace::of(&place);
            room.check(expected.unwrap_or(0), &named(&url))?;
            let received = copy(task, &url, &mut response, &mut hash, file, &room, bar.as_ref()).await?;
            if let Some(expected) = expected.filter(|expected| *expected != received) {
                bail!(Network, "{} ended early: received {received} of {expected} bytes", named(&url));
            }
            let found = hex(&hash.finalize());
            match sha256 {
                Some(wanted) if wanted.to_lowercase() != found => {
                    let named = named(&url);
                    Err(err!(Network, "{named} is not the expected file: expected SHA-256 {wanted}, found {found}"))
                }
                _ => Ok(()),
            }
        })
    })
}

/// Runs connections on this thread, which waits for them.
pub fn wait_for<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| err!(Network, "cannot start the network client: {e}"))?;
    let outcome = runtime.block_on(work);
    // The system's name lookup may take half a minute and cannot be cancelled; an interruption does not wait for it.
    runtime.shutdown_background();
    outcome
}

/// Follows redirections, if the script may connect there.
fn judged(access: &Access) -> redirect::Policy {
    let access = access.clone();
    redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > 10 {
            return attempt.error(err!(Network, "more than ten redirections"));
        }
        let was_secret = attempt.previous().last().is_some_and(|before| before.scheme() == "https");
        if was_secret && attempt.url().scheme() != "https" {
            let named = named(attempt.url());
            return attempt.error(err!(Network, "the server redirects to {named}, which is not encrypted"));
        }
        match judge(&access, attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(refusal) => attempt.error(refusal),
        }
    })
}

/// A resolver of hosts without denied addresses: a host that is denied as 127.0.0.1 is denied as localhost, too.
struct HostResolver {
    access: Access,
}

impl Resolve for HostResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let access = self.access.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let left = access.to_connect(name.as_str(), found, SocketAddr::ip)?;
            Ok(Box::new(left.into_iter()) as Addrs)
        })
    }
}

fn client(access: &Access, redirections: redirect::Policy, silence: Duration) -> Result<Client> {
    // There is one TLS provider for each process; a program that embeds this crate may have installed another before.
    let _there_already = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(redirections)
        .dns_resolver(Arc::new(HostResolver { access: access.clone() }))
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(silence)
        // An address may be signed, and is nobody else's business.
        .referer(false)
        .user_agent(USER_AGENT)
        .build()
        .map_err(|e| err!(Network, "cannot start the network client: {e}"))
}

/// The answer of a server.
pub struct Answer {
    pub status: u16,
    /// The server's own error code.
    pub code: Option<String>,
    /// The seconds of its Retry-After.
    pub retry_after: Option<u64>,
    pub content: Vec<u8>,
}

/// The answer of a server about a file, without its content.
pub struct FileAnswer(Response);

impl FileAnswer {
    pub fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// Returns the value of a header, if it is text.
    pub fn said(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name)?.to_str().ok()
    }
}

/// A connection to one server with authentication, and to those that it redirects to.
pub struct Server {
    access: Access,
    following: Client,
    staying: Client,
    token: Option<String>,
}

impl Server {
    /// Builds a connection whose token is sent to its server, and to none that the server redirects to.
    pub fn new(access: &Access, token: Option<&str>) -> Result<Self> {
        Self::patient(access, token, SILENCE)
    }

    /// Builds a connection to a server that may be silent for longer than [`Server::new`] allows.
    pub fn patient(access: &Access, token: Option<&str>, silence: Duration) -> Result<Self> {
        Ok(Self {
            access: access.clone(),
            following: client(access, judged(access), silence)?,
            staying: client(access, redirect::Policy::none(), silence)?,
            token: token.map(str::to_string),
        })
    }

    /// Sends a GET request; `what` names its subject in errors. An answer of more than `most` bytes is refused.
    pub async fn ask(&self, task: &Task, address: &str, what: &str, most: u64) -> Result<Answer> {
        let request = self.signed(self.following.get(self.url(address)?));
        answered(task, request, what, most).await
    }

    /// Sends JSON by POST, and follows no redirection.
    pub async fn post(&self, task: &Task, address: &str, what: &str, json: String, most: u64) -> Result<Answer> {
        let request = self.signed(self.staying.post(self.url(address)?)).header(CONTENT_TYPE, "application/json");
        answered(task, request.body(json), what, most).await
    }

    /// Returns the server's own answer about a file: redirections are followed only within the server, so the answer
    /// may be a redirection.
    pub async fn head(&self, task: &Task, address: &str) -> Result<FileAnswer> {
        let mut url = self.url(address)?;
        for _ in 0..10 {
            let request = self.signed(self.staying.head(url.clone()));
            let response = patiently(task, request.send()).await?.map_err(|e| failed(&url, e))?;
            let next = response.headers().get(LOCATION).and_then(|to| url.join(to.to_str().ok()?).ok());
            match next {
                Some(next) if response.status().is_redirection() && next.origin() == url.origin() => url = next,
                _ => return Ok(FileAnswer(response)),
            }
        }
        Err(err!(Network, "{} answered with more than ten redirections", named(&url)))
    }

    fn url(&self, address: &str) -> Result<Url> {
        let url = Url::parse(address).map_err(|e| err!(Argument, "`{address}` is not an address: {e}"))?;
        judge(&self.access, &url)?;
        Ok(url)
    }

    /// Signs a request with the token, if there is one. Compression in transit is not requested, since sizes are those
    /// of the stored bytes.
    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = request.header(ACCEPT_ENCODING, "identity");
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

async fn answered(task: &Task, request: reqwest::RequestBuilder, what: &str, most: u64) -> Result<Answer> {
    let failed = |e: reqwest::Error| failure(what, &e);
    let mut response = patiently(task, request.send()).await?.map_err(failed)?;
    let said = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_string);
    let code = said("x-error-code");
    let retry_after = said("retry-after").and_then(|seconds| seconds.parse().ok());
    let mut content = Vec::new();
    while let Some(chunk) = patiently(task, response.chunk()).await?.map_err(failed)? {
        if (content.len() + chunk.len()) as u64 > most {
            let most = human(most.into());
            return Err(err!(Format, "expected an answer of at most {most} about {what}, found more"));
        }
        content.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status().as_u16(), code, retry_after, content })
}

fn judge(access: &Access, url: &Url) -> Result<()> {
    match url.scheme() {
        "http" | "https" => access.to_fetch(url),
        scheme => Err(err!(Argument, "expected an http or https address, found `{scheme}:`").about("address")),
    }
}

fn last_part(url: &Url) -> Result<String> {
    let last = url.path_segments().and_then(|mut parts| parts.next_back().map(str::to_string));
    last.filter(|name| !name.is_empty() && !name.starts_with('.')).ok_or_else(|| {
        err!(Argument, "{} does not name a file", named(url)).hint("choose a name for it: `#{ to: \"name\" }`")
    })
}

fn accepted(url: &Url, response: Response) -> Result<Response> {
    let hint = match response.status() {
        status if status.is_success() => return Ok(response),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "the server requires a login, or denies access",
        StatusCode::NOT_FOUND => "there is nothing at this address",
        status if status.is_server_error() => "the server has an error; try again later",
        _ => "check the address",
    };
    Err(err!(Network, "{} answered {}", named(url), response.status()).hint(hint))
}

async fn copy(
    task: &Task,
    url: &Url,
    response: &mut Response,
    hash: &mut Sha256,
    file: &mut dyn std::io::Write,
    room: &DiskSpace,
    bar: &dyn Bar,
) -> Result<u64> {
    let mut received = 0;
    while let Some(chunk) = patiently(task, response.chunk()).await?.map_err(|e| failed(url, e))? {
        // A server need not say how much it sends, and another program may fill the disk meanwhile.
        room.check(chunk.len() as u64, &named(url))?;
        hash.update(&chunk);
        file.write_all(&chunk).map_err(|e| err!(File, "cannot write what {} sent: {e}", named(url)))?;
        received += chunk.len() as u64;
        bar.advance(chunk.len() as u64);
    }
    Ok(received)
}

/// Waits for the network, regularly checking for an interruption.
pub async fn patiently<T>(task: &Task, work: impl Future<Output = T>) -> Result<T> {
    let mut work = std::pin::pin!(work);
    loop {
        task.check()?;
        if let Ok(done) = tokio::time::timeout(GLANCE, &mut work).await {
            return Ok(done);
        }
    }
}

/// Waits for a while, regularly checking for an interruption.
pub async fn pause(task: &Task, length: Duration) -> Result<()> {
    patiently(task, tokio::time::sleep(length)).await
}

/// Waits for the network like [`patiently`], but no longer than `most`, after which there is no answer.
pub async fn within<T>(task: &Task, most: Duration, work: impl Future<Output = T>) -> Result<Option<T>> {
    Ok(patiently(task, tokio::time::timeout(most, work)).await?.ok())
}

/// Returns the error of a failed request: its innermost cause, which says most, or a refusal of our own, unchanged.
pub fn failure(what: &str, error: &reqwest::Error) -> Error {
    match innermost(error) {
        Cause::Refusal(ours) => ours,
        Cause::Words(why) => {
            err!(Network, "cannot fetch {what}: {why}").hint("check the address and the network connection")
        }
    }
}

/// The reason why a request failed.
enum Cause {
    /// A refusal of our own.
    Refusal(Error),
    /// The words of the innermost error.
    Words(String),
}

/// Finds the innermost cause of a failed request.
fn innermost(error: &reqwest::Error) -> Cause {
    let mut cause: &dyn std::error::Error = error;
    loop {
        if let Some(ours) = cause.downcast_ref::<Error>() {
            return Cause::Refusal(ours.clone());
        }
        match cause.source() {
            Some(next) => cause = next,
            None => return Cause::Words(cause.to_string()),
        }
    }
}

fn failed(url: &Url, error: reqwest::Error) -> Error {
    failure(&named(url), &error)
}
