//! Folders in which others publish dictionaries that have layouts of their own: two files each, here or on the hub.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::base::files::Files;
use crate::checkpoint::hub::{self, HubSettings, Name};
use crate::common::*;

/// Fetches the folder of a dictionary from the hub, named as `org/name/path`, with the files of the first layout that
/// is there. `wanted` says in an error what else a source may be.
pub fn fetched(files: &Files, source: &str, layouts: &[[&str; 2]], wanted: &str, task: &Task) -> Result<PathBuf> {
    let name = match Name::parse(source) {
        Ok(name) if !source.starts_with(['.', '/', '~']) => name,
        _ => return Err(hub::neither(files, source, wanted)),
    };
    let inside = name.file.clone().unwrap_or_default();
    let below = |file: &str| if inside.is_empty() { file.to_string() } else { format!("{inside}/{file}") };
    let choose = |listed: &[String]| {
        let mut missing = None;
        for layout in layouts {
            let both = layout.map(&below);
            match both.iter().find(|file| !listed.contains(file)) {
                None => return Ok(BTreeSet::from(both)),
                Some(file) => missing = missing.or(Some(file.clone())),
            }
        }
        let missing = missing.unwrap_or_default();
        Err(err!(File, "expected {missing} in {}, found no such file", name.repo()))
    };
    let snapshot = hub::fetch_files(files, task, &HubSettings::from_env(), &name, &choose);
    Ok(snapshot.map_err(hub::nor_here)?.folder.join(&inside))
}
