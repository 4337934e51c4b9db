//! Models and data sets from a hub: found in the cache or downloaded into it, with the layout that other programs share.
//!
//! All requests go through `net`. The hf-hub crate fetches large files through another library, whose hosts
//! cannot be checked; it does not resume downloads, does not compare hashes, does not see the hash of a file on another
//! server, and reads an answer of any length.

mod cache;
mod choice;
mod name;
mod remote;
mod repository;
mod settings;

use std::fmt::Display;

use url::Url;

use crate::base::disk;
use crate::common::*;
use crate::net;
use crate::tensor::files::safetensors::Header;
use cache::RepositoryCache;
use choice::Choice;
use remote::Remote;

pub use cache::{kept, name_in};
pub use name::{Name, RepoKind};
pub use repository::Repository;
pub use settings::HubSettings;

/// A model of the hub in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The folder with the files of this commit.
    pub folder: PathBuf,
    /// The commit of the revision: `org/name@commit` always names the same files.
    pub commit: String,
    /// The one file that was requested, if any.
    pub file: Option<PathBuf>,
}

impl Snapshot {
    fn new(cache: &RepositoryCache, name: &Name, commit: &str) -> Self {
        let folder = cache.snapshot(commit);
        let file = name.file.as_ref().map(|file| folder.join(file));
        Self { folder, commit: commit.to_string(), file }
    }

    /// Returns the path to load: the requested file, or else the folder.
    pub fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or(&self.folder)
    }
}

/// A function that chooses among the files of a repository.
type Choose<'a> = &'a dyn Fn(&[String]) -> Result<Choice>;

/// Downloads the missing files of a model into the cache, and returns their place.
///
/// Without access to the hub, or with `HF_HUB_OFFLINE` set, only the cache is used.
pub fn fetch(files: &Files, task: &Task, settings: &HubSettings, name: &Name) -> Result<Snapshot> {
    fetched(files, task, settings, name, &|listed| Choice::of(name, listed))
}

/// Returns the place of a model in the cache as its revision was when the hub was last asked, which it is not now; None
/// where it never was. Some of the files may be missing.
pub fn in_cache(files: &Files, settings: &HubSettings, name: &Name) -> Result<Option<Snapshot>> {
    let cache = RepositoryCache::new(files.access(), settings, name)?;
    Ok(cache.commit(name)?.map(|commit| Snapshot::new(&cache, name, &commit)))
}

/// Fetches files that are not a model: `choose` selects them among the paths of the repository.
pub fn fetch_files(
    files: &Files,
    task: &Task,
    settings: &HubSettings,
    name: &Name,
    choose: &dyn Fn(&[String]) -> Result<BTreeSet<String>>,
) -> Result<Snapshot> {
    fetched(files, task, settings, name, &|listed| Ok(Choice::plain(choose(listed)?)))
}

/// Bytes of a file that are asked for to find its header, and the most that a header may have.
const BEGINNING: u64 = 1 << 16;
const LONGEST_HEADER: u64 = 1 << 25;

/// Returns the header of a safetensors file of a repository, without a download of the file; None for another file,
/// where the file is in the cache already, and where the hub may not be asked.
pub fn header(
    files: &Files,
    task: &Task,
    settings: &HubSettings,
    name: &Name,
    commit: &str,
    file: &str,
) -> Result<Option<Header>> {
    let cache = RepositoryCache::new(files.access(), settings, name)?;
    if !file.ends_with(".safetensors") || cache.has(commit, file) || may_ask(files, settings).is_err() {
        return Ok(None);
    }
    net::wait_for(header_of(&Remote::new(files.access(), settings, name)?, task, commit, file))
}

async fn header_of(remote: &Remote<'_>, task: &Task, commit: &str, file: &str) -> Result<Option<Header>> {
    let Some(size) = remote.facts(task, commit, file).await?.size else { return Ok(None) };
    let mut beginning = remote.beginning(task, commit, file, BEGINNING).await?;
    let length = Header::length(&beginning)?;
    if length > LONGEST_HEADER {
        return Ok(None);
    }
    if length > beginning.len() as u64 {
        beginning = remote.beginning(task, commit, file, length).await?;
    }
    let whole = usize::try_from(size).unwrap_or(usize::MAX);
    Header::parse(&beginning, whole).map(Some).map_err(|e| e.within(file))
}

/// Returns whether the hub is asked for the files of a repository; else they come from the cache, which may have some
/// of them.
pub fn is_asked(files: &Files, settings: &HubSettings) -> bool {
    may_ask(files, settings).is_ok()
}

fn fetched(files: &Files, task: &Task, settings: &HubSettings, name: &Name, choose: Choose) -> Result<Snapshot> {
    task.check()?;
    let cache = RepositoryCache::new(files.access(), settings, name)?;
    if let Err(refusal) = may_ask(files, settings) {
        return from_cache(files, &cache, name, choose, refusal);
    }
    // A commit never changes, but the cache may have only a part of its files.
    if name.is_commit() && chosen(files, &cache, choose, &name.revision)?.is_some_and(|choice| choice.is_whole()) {
        return Ok(Snapshot::new(&cache, name, &name.revision));
    }
    net::wait_for(from_hub(files, task, settings, &cache, name, choose))
}

/// Returns the name on the hub that a source is, and None for a path of a file or folder here. `may_be` tells whether a name
/// may be meant, and `hint` what else was expected where there is neither.
pub fn unless_here(
    files: &Files,
    source: &str,
    may_be: impl Fn(&Name) -> bool,
    hint: impl FnOnce() -> String,
) -> Result<Option<Name>> {
    let path = Path::new(source);
    let place = files.access().to_read(path);
    if place.as_ref().is_ok_and(|place| disk::exists(place)) {
        return Ok(None);
    }
    // A path deeper than a hub name, in a folder that exists, is a mistyped path.
    let beside = |place: &PathBuf| place.parent().is_some_and(Path::is_dir);
    let nested = path.components().count() > 2 && place.as_ref().is_ok_and(beside);
    let name = Name::parse(source).ok().filter(|name| !nested && may_be(name));
    name.map(Some).ok_or_else(|| neither(files, source, hint()))
}

/// Returns the reason why a source that is no name of the hub cannot be read, with the nearest existing name or else this hint.
pub fn neither(files: &Files, source: &str, hint: impl Into<String>) -> Error {
    let error = files.open(Path::new(source)).err().unwrap_or_else(|| err!(File, "cannot read {source}"));
    if error.hint.is_none() { error.hint(hint) } else { error }
}

/// Adds to the error of an unknown model that there is no such path either, since a path may have been meant.
pub fn nor_here(error: Error) -> Error {
    match error.kind {
        Kind::Name | Kind::Network | Kind::Access => Error {
            message: format!("{}; there is no local file or folder of that name either", error.message),
            ..error
        },
        _ => error,
    }
}

/// Refuses requests to the hub that are not allowed.
fn may_ask(files: &Files, settings: &HubSettings) -> Result<()> {
    if settings.offline {
        return Err(err!(Network, "HF_HUB_OFFLINE is set").hint("unset HF_HUB_OFFLINE to allow downloads"));
    }
    let endpoint = Url::parse(&settings.endpoint).map_err(|e| {
        err!(Argument, "expected the address of a hub in HF_ENDPOINT, found `{}`: {e}", settings.endpoint)
            .hint("write it with its scheme, as in https://huggingface.co")
    })?;
    files.access().to_fetch(&endpoint)
}

fn from_cache(files: &Files, cache: &RepositoryCache, name: &Name, choose: Choose, refusal: Error) -> Result<Snapshot> {
    let Some(commit) = cache.commit(name)? else { return Err(without(name, "not", cache, &refusal)) };
    match chosen(files, cache, choose, &commit)? {
        Some(_) => Ok(Snapshot::new(cache, name, &commit)),
        None => Err(without(name, "only partly", cache, &refusal)),
    }
}

/// Returns the error of what is not in the cache while the hub may not be asked.
fn without(what: impl Display, how: &str, cache: &RepositoryCache, refusal: &Error) -> Error {
    let root = cache.root().display();
    Error { message: format!("{what} is {how} in the cache ({root}), and {}", refusal.message), ..refusal.clone() }
}

/// Returns the choice of files of a commit, if all of them are in the cache.
fn chosen(files: &Files, cache: &RepositoryCache, choose: Choose, commit: &str) -> Result<Option<Choice>> {
    let Ok(mut choice) = choose(&cache.names(commit)) else { return Ok(None) };
    if let Some(index) = choice.index() {
        choice.add_shards(&files.text(&cache.place(commit, index))?)?;
    }
    Ok(choice.files().iter().all(|file| cache.has(commit, file)).then_some(choice))
}

async fn from_hub(
    files: &Files,
    task: &Task,
    settings: &HubSettings,
    cache: &RepositoryCache,
    name: &Name,
    choose: Choose<'_>,
) -> Result<Snapshot> {
    let remote = Remote::new(files.access(), settings, name)?;
    let state = remote.state(task).await.map_err(|e| kept_hint(e, cache, name))?;
    let mut choice = choose(&state.names)?;
    if let Some(index) = choice.index() {
        let index = index.to_string();
        bring(task, cache, &remote, &state.commit, &index).await?;
        choice.add_shards(&files.text(&cache.place(&state.commit, &index))?)?;
    }
    for file in choice.files() {
        bring(task, cache, &remote, &state.commit, file).await?;
    }
    cache.note(name, &state.commit).map_err(about_the_cache)?;
    Ok(Snapshot::new(cache, name, &state.commit))
}

/// Adds a hint at the cache to the error of a missing network: the cache may have the repository, but maybe an old one,
/// so it is not used unasked.
fn kept_hint(error: Error, cache: &RepositoryCache, name: &Name) -> Error {
    match cache.commit(name) {
        Ok(Some(_)) if error.kind == Kind::Network => {
            error.hint("HF_HUB_OFFLINE=1 uses the cache, without asking the hub")
        }
        _ => error,
    }
}

/// Downloads one file, unless the cache has it.
async fn bring(task: &Task, cache: &RepositoryCache, remote: &Remote<'_>, commit: &str, file: &str) -> Result<()> {
    if cache.has(commit, file) {
        return Ok(());
    }
    let facts = remote.facts(task, commit, file).await?;
    remote.download(task, cache, commit, file, &facts).await.map_err(about_the_cache)?;
    cache.point(commit, file, &facts.etag).map_err(about_the_cache)
}

/// Says where models and data sets are cached, since the outputs of scripts are elsewhere, below `--out`.
fn about_the_cache(error: Error) -> Error {
    match error.kind {
        Kind::File => {
            error.hint("models and data sets are cached there; set HF_HOME or HF_HUB_CACHE to use another folder")
        }
        _ => error,
    }
}
