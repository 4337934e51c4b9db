//! Data sets of the hub: the files of a split, each fetched when the reading comes to it.
//!
//! The card of a data set says which files these are, or else their names do. Where none has a format that is read here, the
//! hub's own conversion to Parquet is read.

mod card;
mod layout;

use super::find::TextFile;
use crate::checkpoint::hub::{HubSettings, Name, Repository};
use crate::common::*;
use layout::{DataSetLayout, DataSetSplit};

/// Beginning of the address of anything on the hub.
const HUB: &str = "hf://";

/// Beginning of the address of a data set.
pub const DATA_SETS: &str = "hf://datasets/";

/// Revision that holds the hub's conversion of a data set to Parquet.
const CONVERTED: &str = "refs/convert/parquet";

const CARD: &str = "README.md";

/// Split that is read unless another is asked for.
const SPLIT: &str = "train";

/// Maximum number of names that an error lists.
const LISTED: usize = 12;

/// Tells whether a source is an address of the hub.
pub fn is_on_hub(source: &str) -> bool {
    source.starts_with(HUB)
}

/// A request for a split of a data set.
pub struct SplitRequest<'a> {
    pub split: Option<&'a str>,
    pub subset: Option<&'a str>,
}

/// The files of a split.
pub struct DataSet {
    repository: Repository,
    shards: Vec<String>,
    identity: String,
}

impl DataSet {
    /// Finds the files of a split, and fetches none of them yet.
    pub fn open(
        files: &Files,
        settings: &HubSettings,
        source: &str,
        wanted: &SplitRequest,
        task: &Task,
    ) -> Result<Self> {
        let name = source.strip_prefix(DATA_SETS).ok_or_else(|| {
            err!(Argument, "expected the address of a data set of the hub, found `{source}`")
                .hint("hf://datasets/org/name, or hf://datasets/org/name@revision")
        })?;
        let name = Name::data_set(name)?;
        let own = Repository::open(files, task, settings, &name)?;
        let why = match layout(&own, files, task).and_then(|layout| Self::chosen(own, &layout, wanted, task)) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => "it has no files of a format that is read here".into(),
            Err(error) if error.kind == Kind::Format => format!("its card cannot be read ({})", error.message),
            Err(error) => return Err(error),
        };
        let none = |more: &str| {
            err!(File, "cannot read {name}: {why}{more}").hint(
                "files that end in .parquet, .arrow, .jsonl, .tsv or .txt are read, all but the first two plain or .gz",
            )
        };
        if !name.is_main() {
            return Err(none(""));
        }
        let converted =
            Repository::open(files, task, settings, &name.at(CONVERTED)).map_err(|error| match error.kind {
                Kind::Name => none(", and the hub has not converted it to Parquet"),
                _ => error,
            })?;
        task.say(&format!("{name} is read as the hub converted it to Parquet, since {why}"));
        let found = Self::chosen(converted, &DataSetLayout::Converted, wanted, task)?;
        found.ok_or_else(|| none(", and what the hub converted has none either"))
    }

    /// Finds the files of the split that is asked for; none if no split has files that are read here.
    fn chosen(
        repository: Repository,
        layout: &DataSetLayout,
        wanted: &SplitRequest,
        task: &Task,
    ) -> Result<Option<Self>> {
        let name = repository.name();
        let listed = repository.names();
        let subset = subset(layout, wanted.subset, name, listed)?;
        let splits = layout.splits(&subset, listed, task)?;
        if splits.is_empty() {
            return Ok(None);
        }
        let wanted = wanted.split.unwrap_or(SPLIT);
        let Some(DataSetSplit { name: split, files: shards }) =
            splits.iter().find(|split| split.name == wanted).cloned()
        else {
            let all = splits.iter().map(|split| split.name.as_str());
            return Err(among(err!(Name, "{name} has no split `{wanted}`"), wanted, all).about("split"));
        };
        if !repository.is_whole() {
            let files = if shards.len() == 1 { "1 file".into() } else { format!("{} files", shards.len()) };
            task.say(&format!(
                "{name} is read from the cache, which has {files} of the split `{split}`; only the hub knows whether there are more"
            ));
        }
        let repo = name.repo();
        let commit = repository.commit();
        let identity = format!("{DATA_SETS}{repo}@{commit}, subset {subset}, split {split}, {} files", shards.len());
        Ok(Some(Self { repository, shards, identity }))
    }

    /// Returns what the documents follow from: the commit, and the split of it.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns the addresses of the files.
    pub fn names(&self) -> Vec<String> {
        self.shards.iter().map(|shard| self.shown(shard)).collect()
    }

    /// Returns the file at a place, which is fetched unless the cache has it; none after the last.
    pub fn file(&self, at: usize, task: &Task) -> Result<Option<TextFile>> {
        let Some(shard) = self.shards.get(at) else { return Ok(None) };
        let path = self.repository.fetch(shard, task)?;
        Ok(Some(TextFile::new(path, self.shown(shard))))
    }

    /// Returns the address of a file, which is the same on every machine.
    fn shown(&self, shard: &str) -> String {
        format!("{DATA_SETS}{}/{shard}", self.repository.name())
    }
}

/// Reads what says which files are a split.
fn layout(repository: &Repository, files: &Files, task: &Task) -> Result<DataSetLayout> {
    if !repository.names().iter().any(|name| name == CARD) {
        return Ok(DataSetLayout::Names);
    }
    let place = repository.fetch(CARD, task)?;
    let configs = card::configs(&files.text(&place)?)?;
    Ok(if configs.is_empty() { DataSetLayout::Names } else { DataSetLayout::Card(configs) })
}

/// Returns the subset that is asked for, or the usual one.
fn subset(layout: &DataSetLayout, wanted: Option<&str>, name: &Name, listed: &[String]) -> Result<String> {
    let subsets = layout.subsets(listed);
    match wanted {
        Some(wanted) if subsets.iter().any(|subset| subset == wanted) => Ok(wanted.into()),
        Some(wanted) => {
            let error = err!(Name, "{name} has no subset `{wanted}`");
            Err(among(error, wanted, subsets.iter().map(String::as_str)).about("subset"))
        }
        None => layout.usual(&subsets).ok_or_else(|| {
            let error = err!(Name, "expected one of the {} subsets of {name} for `subset`, found none", subsets.len());
            among(error, "", subsets.iter().map(String::as_str)).about("subset")
        }),
    }
}

/// Adds the names that there are to an error about one that there is not.
fn among<'a>(error: Error, wanted: &str, all: impl Iterator<Item = &'a str> + Clone) -> Error {
    let count = all.clone().count();
    let first: Vec<&str> = all.clone().take(LISTED).collect();
    let more = if count > LISTED { format!(" and {} more", count - LISTED) } else { String::new() };
    let near = names::nearest(wanted, all).map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    error.hint(format!("{near}it has {}{more}", first.join(", ")))
}
