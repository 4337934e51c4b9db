//! The cache of texts that models write: each text has a folder, named by a hash of everything that it depends on, and
//! each group of its rows a file in it, which ends with the SHA-256 of the rows and of the key.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::asset::read_head;
use super::{Asset, Settings, read_asset, write_asset};
use crate::base::access::Access;
use crate::base::cache::{CachedFolder, keyed};
use crate::base::files::{self, Files, hex};
use crate::base::{Error, Result};
use crate::err;

/// The number of digits of a hash.
const DIGITS: usize = 64;

/// The ending of the file of a group of rows; its name is the number of the first one.
const ENDING: &str = ".text";

/// Columns of the description of a cached text.
pub const COLUMNS: [&str; 3] = ["seed", "temperature", "tokens"];

/// The texts of a cache folder.
pub struct TextCache {
    files: Files,
    folder: PathBuf,
    /// Whether texts are written anew although they are cached.
    fresh: bool,
}

/// The key of one text.
pub struct TextKey {
    text: String,
    context: u32,
    settings: Settings,
}

/// Returns the folder of texts in the cache folder.
pub fn folder(cache: &Path) -> PathBuf {
    cache.join("texts")
}

impl TextKey {
    /// Builds the key; `identity` is all that the text depends on.
    pub fn new(identity: &Value, context: usize, settings: Settings) -> Result<Self> {
        let context =
            u32::try_from(context).map_err(|_| err!(Memory, "rows of {context} tokens are too long to keep"))?;
        Ok(Self { text: identity.to_string(), context, settings })
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }

    /// Returns the hash at the end of the file of a group.
    fn seal(&self, first: u64, content: &[u8]) -> String {
        let of_group = Sha256::new().chain_update(self.digest()).chain_update(first.to_le_bytes());
        hex(&of_group.chain_update(content).finalize())
    }
}

impl TextCache {
    /// Opens the texts of a cache folder; none if the rules of a run deny to read or to write there. The files read and
    /// written there are neither input nor output of the run: a cached text is the one that would be written.
    pub fn open(cache: &Path, access: &Access, fresh: bool) -> Result<Option<Self>> {
        let access = access.within(&folder(cache))?;
        let folder = access.out().to_path_buf();
        let may = access.to_read(&folder).and_then(|_| access.to_write(&folder)).is_ok();
        Ok(may.then(|| Self { files: Files::new(access, false), folder, fresh }))
    }

    /// Returns the group of rows that begins with row `first`, if it is cached; an error if its file is damaged.
    pub fn find(&self, key: &TextKey, first: u64) -> Result<Option<Vec<Vec<u32>>>> {
        let place = self.place(key, first);
        if self.fresh || !place.exists() {
            return Ok(None);
        }
        let bytes = self.files.bytes(&place)?;
        let (content, seal) = halves(&bytes)?;
        if key.seal(first, content).as_bytes() != seal {
            return Err(err!(Format, "its bytes have changed since it was written"));
        }
        let asset = read_asset(content)?;
        // A read-only cache is useful, too; the time of use is then not recorded.
        let _only_read = files::mark_used(&place);
        Ok(Some(asset.ids.chunks(asset.context.max(1) as usize).map(<[u32]>::to_vec).collect()))
    }

    /// Caches the group of rows that begins with row `first`, in place of one with the same key.
    pub fn put(&self, key: &TextKey, first: u64, rows: &[Vec<u32>]) -> Result<()> {
        let asset = Asset { ids: rows.concat(), context: key.context, settings: key.settings, weights: key.digest() };
        let content = write_asset(&asset)?;
        let seal = key.seal(first, &content);
        let saved = self.files.save_whole(&self.place(key, first), [content, seal.into_bytes()].concat());
        // The run goes on for long, and needs the folder no more.
        self.files.release();
        saved.map(|_| ())
    }

    fn place(&self, key: &TextKey, first: u64) -> PathBuf {
        self.folder.join(hex(&key.digest())).join(format!("{first}{ENDING}"))
    }
}

fn halves(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let halves = bytes.len().checked_sub(DIGITS).and_then(|at| bytes.split_at_checked(at));
    halves.ok_or_else(|| err!(Format, "expected a cached text, found {} bytes", bytes.len()))
}

/// A cached text, in the words of the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedText {
    pub words: [String; 3],
    pub lies: CachedFolder,
}

/// Lists all cached texts, those used last first.
pub fn listed(folder: &Path, files: &Files) -> Vec<CachedText> {
    let damaged = |e: Error| [format!("damaged: {}", e.message), String::new(), String::new()];
    let in_words =
        |lies: CachedFolder| CachedText { words: in_words(&lies.folder, files).unwrap_or_else(damaged), lies };
    let mut all: Vec<CachedText> = keyed(folder).map(in_words).collect();
    all.sort_by(|a, b| b.lies.used.cmp(&a.lies.used).then_with(|| a.words.cmp(&b.words)));
    all
}

fn in_words(folder: &Path, files: &Files) -> Result<[String; 3]> {
    let groups = files.names(folder).into_iter().filter(|name| name.ends_with(ENDING));
    let read = |name: String| read_head(&files.bytes(&folder.join(name))?);
    let all = groups.map(read).collect::<Result<Vec<_>>>()?;
    let tokens: u64 = all.iter().map(|(_, tokens)| tokens).sum();
    let Some((Settings { seed, temperature, .. }, _)) = all.first() else {
        return Err(err!(Format, "expected rows of a text, found none"));
    };
    Ok([seed.to_string(), temperature.to_string(), tokens.to_string()])
}
