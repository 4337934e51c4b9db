//! The cache, as the command line lists it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{FILE, file};
use crate::base::cache::{CachedFolder, keyed};
use crate::base::files::Files;
use crate::base::{Error, Kind, Result, json};

/// The description of a cached dictionary.
pub const COLUMNS: [&str; 4] = ["dictionary", "site", "model", "text"];

/// A cached dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedDictionary {
    /// Description of the dictionary in the columns of the list, or of the damage in the first of them.
    pub words: [String; 4],
    pub lies: CachedFolder,
}

/// Lists all cached dictionaries, those used last first.
pub fn listed(folder: &Path, files: &Files) -> Vec<CachedDictionary> {
    let mut all: Vec<CachedDictionary> = keyed(folder)
        .map(|lies| {
            let damaged = |e: Error| [format!("damaged: {}", e.message), String::new(), String::new(), String::new()];
            CachedDictionary { words: file_of(&lies.folder, files).unwrap_or_else(damaged), lies }
        })
        .collect();
    all.sort_by(|a, b| b.lies.used.cmp(&a.lies.used).then_with(|| a.words.cmp(&b.words)));
    all
}

fn file_of(folder: &Path, files: &Files) -> Result<[String; 4]> {
    Ok(in_words(&file::metadata(&files.map(&folder.join(FILE))?)?))
}

/// Describes a dictionary by the metadata of its file.
fn in_words(said: &BTreeMap<String, String>) -> [String; 4] {
    let read = |key: &String| json::read(key.as_bytes(), |e| Error::new(Kind::Format, e.to_string())).ok();
    let key = said.get(file::KEY).and_then(read).unwrap_or(Value::Null);
    let word = |path: &str| match key.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "?".into(),
    };
    [
        format!("{} of {}", word("/recipe/kind"), word("/d_sae")),
        word("/reads/sites"),
        said.get(file::MODEL).map_or("?", String::as_str).into(),
        word("/reads/text/name"),
    ]
}
