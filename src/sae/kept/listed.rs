//! What is kept, as the command line lists it and clears it away.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use super::{FILE, file};
use crate::base::cache::{Shelved, days_between, shelved};
use crate::base::files::Files;
use crate::base::{Error, Result};

/// A kept dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is, in words.
    pub what: String,
    pub lies: Shelved,
}

/// What was cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cleared {
    pub dictionaries: usize,
    pub bytes: u64,
}

/// All dictionaries in the folder of kept ones, those used last first.
pub fn listed(folder: &Path, files: &Files) -> Vec<Listed> {
    let mut all: Vec<Listed> = ours(folder)
        .map(|lies| {
            let what = file_of(&lies.folder, files).unwrap_or_else(|e| format!("damaged: {}", e.message));
            Listed { what, lies }
        })
        .collect();
    all.sort_by(|a, b| b.lies.used.cmp(&a.lies.used).then_with(|| a.what.cmp(&b.what)));
    all
}

/// Removes dictionaries that nobody has used for so many days, or all of them.
pub fn clear(folder: &Path, unused_for: Option<u64>, now: SystemTime) -> Result<Cleared> {
    let mut cleared = Cleared::default();
    let is_old = |lies: &Shelved| unused_for.is_none_or(|days| days_between(lies.used, now) >= days);
    for lies in ours(folder).filter(is_old) {
        fs::remove_dir_all(&lies.folder).map_err(|e| Error::io("remove", &lies.folder, &e))?;
        cleared.dictionaries += 1;
        cleared.bytes += lies.bytes;
    }
    Ok(cleared)
}

/// The folders that are named as keys are: what else lies there is somebody else's.
fn ours(folder: &Path) -> impl Iterator<Item = Shelved> {
    let is_key = |name: &str| name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let named = move |lies: &Shelved| lies.folder.file_name().and_then(|name| name.to_str()).is_some_and(is_key);
    shelved(folder).into_iter().filter(named)
}

fn file_of(folder: &Path, files: &Files) -> Result<String> {
    Ok(in_words(&file::said(&files.map(&folder.join(FILE))?)?))
}

/// What a file says of its dictionary.
fn in_words(said: &BTreeMap<String, String>) -> String {
    let key = said.get(file::KEY).and_then(|key| serde_json::from_str(key).ok()).unwrap_or(Value::Null);
    let model = said.get(file::MODEL).map_or("?", String::as_str);
    let word = |path: &str| key.pointer(path).and_then(Value::as_str).unwrap_or("?").to_string();
    let size = |path: &str| key.pointer(path).and_then(Value::as_u64).map_or("?".into(), |size| size.to_string());
    format!(
        "{} of {} features for {} of {model}, on {} rows of {}",
        word("/recipe/kind"),
        size("/d_sae"),
        word("/reads/sites"),
        size("/rows"),
        word("/reads/text/name")
    )
}
