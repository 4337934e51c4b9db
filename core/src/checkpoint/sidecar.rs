//! Files beside a model that say how it is used, in the folder of the model or on the hub.

use super::hub::{self, HubSettings, Name};
use crate::base::disk;
use crate::common::*;

/// The hint where the files are not there.
const ELSEWHERE: &str = "`meta` names a folder, or a model on the hub, that has the file";

/// Returns the folder that has these files: a folder, that of a file, or one in the cache of the hub, into which they are fetched.
pub fn folder_with(files: &Files, name: &str, wanted: &[&str], task: &Task) -> Result<PathBuf> {
    let path = Path::new(name);
    match files.access().to_read(path) {
        Ok(place) if disk::is_dir(&place) => Ok(path.to_path_buf()),
        Ok(place) if disk::exists(&place) => Ok(path.parent().unwrap_or(path).to_path_buf()),
        _ => match Name::parse(name) {
            Ok(name) => fetched(files, &name, wanted, task),
            Err(_) => {
                let all = wanted.join(" and ");
                Err(err!(File, "expected a model of files with {all} beside them, found {name}").hint(ELSEWHERE))
            }
        },
    }
}

/// Reads a file of the folder.
pub fn text(files: &Files, folder: &Path, name: &str) -> Result<String> {
    files.text(&folder.join(name)).map_err(|e| e.hint(ELSEWHERE))
}

/// Fetches the files of a model on the hub, or of a folder in its repository.
fn fetched(files: &Files, name: &Name, wanted: &[&str], task: &Task) -> Result<PathBuf> {
    let repository = Name { file: None, ..name.clone() };
    let inside = match &name.file {
        Some(file) if Path::new(file).extension().is_some() => file.rsplit_once('/').map_or("", |(folder, _)| folder),
        Some(folder) => folder.trim_end_matches('/'),
        None => "",
    };
    let place = |file: &&str| if inside.is_empty() { file.to_string() } else { format!("{inside}/{file}") };
    let choose = |listed: &[String]| {
        let all: BTreeSet<String> = wanted.iter().map(place).collect();
        match all.iter().find(|file| !listed.contains(file)) {
            None => Ok(all),
            Some(missing) => {
                Err(err!(File, "{} has no {missing} at revision {}", repository.repo(), repository.revision)
                    .hint(ELSEWHERE))
            }
        }
    };
    let snapshot =
        hub::fetch_files(files, task, &HubSettings::from_env(), &repository, &choose).map_err(hub::nor_here)?;
    Ok(snapshot.folder.join(inside))
}
