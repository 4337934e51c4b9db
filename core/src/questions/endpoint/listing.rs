//! Kept exchanges, as the command line lists and clears them.

use std::fs;
use std::time::SystemTime;

use walkdir::WalkDir;

use super::exchanges::Exchange;
pub use super::exchanges::folder;
use crate::base::cache::{CachedFolder, ClearedFolders, DescribedFolder, days_between, is_key};
use crate::common::*;

/// The description of the exchanges with one model.
pub const COLUMNS: [&str; 3] = ["model", "address", "answers"];

/// Lists the kept exchanges of a cache folder, by model and address.
pub fn listed(cache: &Path, files: &Files) -> Vec<DescribedFolder<3>> {
    let mut all = BTreeMap::<(String, String), (usize, u64, SystemTime)>::new();
    for (path, bytes, used) in ours(&folder(cache)) {
        let said = said(&path, files).unwrap_or_else(|_| ("damaged".into(), String::new()));
        let (count, sum, last) = all.entry(said).or_insert((0, 0, SystemTime::UNIX_EPOCH));
        (*count, *sum, *last) = (*count + 1, sum.saturating_add(bytes), used.max(*last));
    }
    let listed = |((model, address), (count, bytes, used))| DescribedFolder {
        words: [model, address, usize::to_string(&count)],
        lies: CachedFolder { folder: folder(cache), bytes, used },
    };
    all.into_iter().map(listed).collect()
}

/// Counts the kept exchanges.
pub fn count(cache: &Path) -> usize {
    ours(&folder(cache)).count()
}

/// Removes exchanges that were not used for this many days, or all of them.
pub fn clear(cache: &Path, unused_for: Option<u64>, now: SystemTime) -> Result<ClearedFolders> {
    let mut cleared = ClearedFolders::default();
    for (path, bytes, used) in ours(&folder(cache)) {
        if unused_for.is_none_or(|days| days_between(used, now) >= days) {
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, &e))?;
            cleared.count += 1;
            cleared.bytes = cleared.bytes.saturating_add(bytes);
        }
    }
    Ok(cleared)
}

/// Iterates over the files of exchanges, in order, with size and time of last use: others there are not ours.
fn ours(folder: &Path) -> impl Iterator<Item = (PathBuf, u64, SystemTime)> + use<> {
    let all = WalkDir::new(folder).min_depth(2).max_depth(2).sort_by_file_name().into_iter().flatten();
    all.filter_map(|entry| {
        let hash = entry.file_name().to_str()?.strip_suffix(".json")?;
        let meta = entry.metadata().ok().filter(|meta| meta.is_file() && is_key(hash))?;
        Some((entry.path().to_path_buf(), meta.len(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH)))
    })
}

/// Reads the model and the address that were asked.
fn said(path: &Path, files: &Files) -> Result<(String, String)> {
    let damaged = |e: serde_json::Error| Error::new(Kind::Format, e.to_string());
    let exchange: Exchange = json::read_content(&files.bytes(path)?, damaged)?;
    let request: Value = json::read_content(exchange.request.as_bytes(), damaged)?;
    let model = request.get("model").and_then(Value::as_str).unwrap_or("?");
    Ok((model.into(), exchange.address))
}
