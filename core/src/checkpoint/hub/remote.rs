//! Requests to the hub, and its refusals as errors.

use serde::Deserialize;

use super::cache::RepositoryCache;
use super::name::{Name, is_commit, is_path};
use super::settings::HubSettings;
use crate::base::access::host_of;
use crate::common::*;
use crate::net::{self, Answer, Download, Server};

/// The timeout of a short answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Maximum bytes of the answer about a repository. The largest ones have some hundred thousand files: 30 MiB of JSON.
const LONGEST: u64 = 64 << 20;

/// Attempts after temporary failures of the hub or the network.
const ATTEMPTS: u32 = 2;

/// One repository of the hub.
pub struct Remote<'a> {
    settings: &'a HubSettings,
    name: &'a Name,
    server: Server,
}

/// The part of the hub's answer about a revision that is read.
#[derive(Deserialize)]
struct RevisionInfo {
    sha: Option<String>,
    siblings: Option<Vec<Sibling>>,
}

/// A file of the repository.
#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// The current state of a revision.
pub struct RevisionState {
    pub commit: String,
    pub names: Vec<String>,
}

/// The hub's answer about one file.
pub struct Facts {
    /// The name of the file's content in the cache.
    pub etag: String,
    pub size: Option<u64>,
}

impl Facts {
    /// Returns the SHA-256 by which the hub names a large file; None for small ones, which have git's hashes, of
    /// another kind.
    pub fn sha256(&self) -> Option<&str> {
        let is_hash = self.etag.len() == 64 && self.etag.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then_some(&self.etag)
    }
}

impl<'a> Remote<'a> {
    pub fn new(access: &Access, settings: &'a HubSettings, name: &'a Name) -> Result<Self> {
        let token = settings.token.as_deref();
        if token.is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(err!(Argument, "expected a token of letters and digits, found other characters in it")
                .hint("check HF_TOKEN, or log in again"));
        }
        let server = Server::new(access, token)?;
        Ok(Self { settings, name, server })
    }

    /// Requests the commit of the revision and its files.
    pub async fn state(&self, task: &Task) -> Result<RevisionState> {
        let Name { kind, revision, .. } = self.name;
        let kinds = kind.plural();
        let repo = self.name.repo();
        let revision = escaped(revision);
        let address = format!("{}/api/{kinds}/{repo}/revision/{revision}", self.settings.endpoint);
        let answer = self.answered(task, &address).await?;
        if !(200..300).contains(&answer.status) {
            return Err(self.refusal(&answer));
        }
        let other = |_| err!(Network, "{} did not answer as a hub does", self.host()).hint("check HF_ENDPOINT");
        let RevisionInfo { sha, siblings } = json::read(&answer.content, other)?;
        let Some(commit) = sha.filter(|commit| is_commit(commit)) else {
            bail!(Network, "{} named no commit for {}", self.host(), self.name);
        };
        let files = siblings.unwrap_or_default().into_iter().map(|file| file.rfilename);
        Ok(RevisionState { commit, names: files.filter(|path| is_path(path)).collect() })
    }

    /// Sends a request, and repeats it after temporary failures.
    async fn answered(&self, task: &Task, address: &str) -> Result<Answer> {
        let mut attempt = 1;
        loop {
            let what = format!("{} from {}", self.name.repo(), self.host());
            let answer = self.patient(task, self.server.ask(task, address, &what, LONGEST)).await?;
            let is_passing = match &answer {
                Ok(answer) => matches!(answer.status, 408 | 429 | 500 | 502..=504),
                Err(error) => error.kind == Kind::Network,
            };
            if !is_passing || attempt == ATTEMPTS {
                return answer;
            }
            attempt += 1;
            net::pause(task, Duration::from_millis(200)).await?;
        }
    }

    /// Requests the size of a file and the name of its content.
    pub async fn facts(&self, task: &Task, commit: &str, file: &str) -> Result<Facts> {
        let answer = self.patient(task, self.server.head(task, &self.address(commit, file))).await??;
        let status = answer.status();
        if !(200..400).contains(&status) {
            return Err(match status {
                401 | 403 => self.closed(status, answer.said("x-error-code")),
                404 => err!(File, "{} has no {file} at revision {commit}", self.name.repo()),
                other => self.trouble(other),
            });
        }
        let etag = answer.said("x-linked-etag").or_else(|| answer.said("etag")).map(bare).filter(|etag| is_plain(etag));
        let Some(etag) = etag else { bail!(Network, "{} gave no hash of {file} of {}", self.host(), self.name) };
        // A redirection has a length of its own.
        let size = match answer.said("x-linked-size") {
            None if status >= 300 => None,
            None => answer.said("content-length"),
            linked => linked,
        };
        Ok(Facts { etag: etag.to_string(), size: size.and_then(|size| size.parse().ok()) })
    }

    /// Downloads the content of a file into the cache.
    pub async fn download(
        &self,
        task: &Task,
        cache: &RepositoryCache,
        commit: &str,
        file: &str,
        facts: &Facts,
    ) -> Result<()> {
        let (place, lock) = cache.blob(&facts.etag);
        cache.may_write(&place)?;
        cache.may_write(&lock)?;
        let wanted = Download {
            address: &self.address(commit, file),
            name: file,
            place: &place,
            lock: &lock,
            size: facts.size,
            sha256: facts.sha256(),
        };
        self.server.download(task, &wanted).await
    }

    /// Reads the first bytes of a file, or all of a shorter one.
    pub async fn beginning(&self, task: &Task, commit: &str, file: &str, count: u64) -> Result<Vec<u8>> {
        self.patient(task, self.server.beginning(task, &self.address(commit, file), count)).await?
    }

    fn address(&self, commit: &str, file: &str) -> String {
        let parts: Vec<String> = file.split('/').map(escaped).collect();
        format!("{}/resolve/{commit}/{}", self.page(), parts.join("/"))
    }

    /// Returns the address of the repository's page.
    fn page(&self) -> String {
        format!("{}/{}", self.settings.endpoint, self.name.page())
    }

    async fn patient<T>(&self, task: &Task, question: impl Future<Output = T>) -> Result<T> {
        let answer = net::within(task, PATIENCE, question).await?;
        answer.ok_or_else(|| err!(Network, "{} timed out", self.host()).hint("try again later"))
    }

    fn host(&self) -> &str {
        host_of(&self.settings.endpoint)
    }

    /// Returns the error of a refusal by the hub, without the hub's own text, which is untrusted.
    fn refusal(&self, answer: &Answer) -> Error {
        let Name { revision, .. } = self.name;
        let repo = self.name.repo();
        let kind = self.name.kind.word();
        match (answer.status, answer.code.as_deref()) {
            (401 | 403, code) => self.closed(answer.status, code),
            (404, Some("RepoNotFound")) => self.unknown(),
            (404, Some("RevisionNotFound")) => err!(Name, "{repo} has no revision `{revision}`")
                .hint(format!("its branches and tags are listed at {}/tree/main", self.page())),
            (404, _) => err!(Name, "{} has no {kind} {repo} with a revision `{revision}`", self.host())
                .hint(format!("check both names; a private {kind} requires HF_TOKEN")),
            (429, _) => {
                let when = answer.retry_after.map_or("later".into(), |seconds| format!("in {seconds} seconds"));
                err!(Network, "rate limit of {} reached", self.host()).hint(format!("try again {when}"))
            }
            (status, _) => self.trouble(status),
        }
    }

    fn unknown(&self) -> Error {
        let kind = self.name.kind.word();
        err!(Name, "{} has no {kind} {}", self.host(), self.name.repo())
            .hint(format!("check the name; a private {kind} requires HF_TOKEN"))
    }

    /// Returns the error of a denied access: to unknown users the hub does not tell whether the repository exists.
    fn closed(&self, status: u16, code: Option<&str>) -> Error {
        let repo = self.name.repo();
        let kind = self.name.kind.word();
        let page = self.page();
        match (code, &self.settings.token) {
            (Some("GatedRepo"), None) => err!(Network, "{repo} is gated: it requires a login")
                .hint(format!("accept its conditions at {page}, then set HF_TOKEN to a token of yours")),
            (Some("GatedRepo"), Some(_)) => err!(Network, "{repo} is gated, and this token has no access")
                .hint(format!("accept its conditions at {page} with the account of the token")),
            (_, None) => err!(Network, "{repo} does not exist, or is private ({} answered {status})", self.host())
                .hint(format!("check the name; a private or gated {kind} requires HF_TOKEN")),
            (_, Some(_)) => {
                err!(Network, "{repo} does not exist, or this token has no access ({} answered {status})", self.host())
                    .hint("check the name, and whether HF_TOKEN may read it")
            }
        }
    }

    fn trouble(&self, status: u16) -> Error {
        err!(Network, "{} answered {status} for {}", self.host(), self.name.repo()).hint("try again later")
    }
}

/// Returns an etag without its quotes and the mark of weak ones.
fn bare(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"')
}

/// Returns whether an etag is valid as the name of a file.
fn is_plain(etag: &str) -> bool {
    (1..=128).contains(&etag.len()) && etag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Encodes a part of a path for a URL.
fn escaped(part: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    part.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
