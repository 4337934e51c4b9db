//! The cache of texts that models write: each text has a folder, named by a hash of everything that it depends on, and
//! each group of its rows a file in it, which ends with the SHA-256 of the rows and of the key.

use sha2::{Digest, Sha256};

use super::asset::read_head;
use super::{Asset, Settings, read_asset, write_asset};
use crate::base::access::Access;
use crate::base::cache::{CacheFolder, DescribedFolder, described, unsealed};
use crate::base::files::hex;
use crate::common::*;

/// The ending of the file of a group of rows; its name is the number of the first one.
const ENDING: &str = ".text";

/// Columns of the description of a cached text.
pub const COLUMNS: [&str; 3] = ["seed", "temperature", "tokens"];

/// The texts of a cache folder.
pub struct TextCache {
    cache: CacheFolder,
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
    /// Opens the texts of a cache folder; none if the rules of a run deny to read or to write there.
    pub fn open(cache: &Path, access: &Access, fresh: bool) -> Result<Option<Self>> {
        Ok(CacheFolder::open(&folder(cache), access)?.map(|cache| Self { cache, fresh }))
    }

    /// Returns the group of rows that begins with row `first`, if it is cached; an error if its file is damaged.
    pub fn find(&self, key: &TextKey, first: u64) -> Result<Option<Vec<Vec<u32>>>> {
        if self.fresh {
            return Ok(None);
        }
        let place = self.place(key, first);
        self.cache.find(&place, |files| {
            let bytes = files.bytes(&place)?;
            let asset = read_asset(unsealed(&bytes, "a cached text", |content| key.seal(first, content))?)?;
            Ok(asset.ids.chunks(asset.context.max(1) as usize).map(<[u32]>::to_vec).collect())
        })
    }

    /// Caches the group of rows that begins with row `first`, in place of one with the same key.
    pub fn put(&self, key: &TextKey, first: u64, rows: &[Vec<u32>]) -> Result<()> {
        let asset = Asset { ids: rows.concat(), context: key.context, settings: key.settings, weights: key.digest() };
        let content = write_asset(&asset)?;
        let seal = key.seal(first, &content);
        self.cache.put(|files| files.save_whole(&self.place(key, first), [content, seal.into_bytes()].concat()))
    }

    fn place(&self, key: &TextKey, first: u64) -> PathBuf {
        self.cache.folder.join(hex(&key.digest())).join(format!("{first}{ENDING}"))
    }
}

/// Lists all cached texts, those used last first.
pub fn listed(folder: &Path, files: &Files) -> Vec<DescribedFolder<3>> {
    described(folder, |text| in_words(text, files))
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
