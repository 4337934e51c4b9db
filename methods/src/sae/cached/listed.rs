//! The cache, as the command line lists it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{FILE, file};
use crate::base::cache::{DescribedFolder, described};
use crate::base::files::Files;
use crate::base::{Error, Kind, json};

/// The description of a cached dictionary.
pub const COLUMNS: [&str; 4] = ["dictionary", "site", "model", "text"];

/// Lists all cached dictionaries, those used last first.
pub fn listed(folder: &Path, files: &Files) -> Vec<DescribedFolder<4>> {
    described(folder, |one| Ok(in_words(&file::metadata(&files.map(&one.join(FILE))?)?)))
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
