//! The files of each split of a data set: as its card says, or else as their names say by the hub's conventions.

use std::collections::HashSet;

use globset::{GlobBuilder, GlobSet};

use super::super::find::{self, FileKind};
use super::card::Config;
use crate::common::*;

/// Name of the only subset, where the card names none.
const DEFAULT: &str = "default";

/// Words for each split in the names of folders and files.
const WORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// Formats in the order of preference, where a split has as many files of several.
const KINDS: [FileKind; 5] = [FileKind::Parquet, FileKind::Arrow, FileKind::Records, FileKind::Tabs, FileKind::Plain];

/// The source of what is known about splits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSetLayout {
    Card(Vec<Config>),
    /// The names of folders and files.
    Names,
    /// `SUBSET/SPLIT/0000.parquet`, as the hub converts data sets.
    Converted,
}

/// A split and its files, in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSetSplit {
    pub name: String,
    pub files: Vec<String>,
}

impl DataSetLayout {
    /// Returns the names of the subsets.
    pub fn subsets(&self, listed: &[String]) -> Vec<String> {
        match self {
            DataSetLayout::Card(configs) => configs.iter().map(|config| config.name.clone()).collect(),
            DataSetLayout::Names => vec![DEFAULT.into()],
            DataSetLayout::Converted => {
                let folders = listed.iter().filter_map(|path| Some(path.split_once('/')?.0));
                let mut names: Vec<String> = folders.filter(|name| !name.starts_with('.')).map(String::from).collect();
                names.sort();
                names.dedup();
                names
            }
        }
    }

    /// Returns the subset that is read unless another is asked for, if there is one.
    pub fn usual(&self, subsets: &[String]) -> Option<String> {
        let marked = match self {
            DataSetLayout::Card(configs) => {
                configs.iter().find(|config| config.is_default).map(|config| config.name.clone())
            }
            DataSetLayout::Names | DataSetLayout::Converted => None,
        };
        let named = || subsets.iter().find(|name| *name == DEFAULT).cloned();
        let only = || if let [one] = subsets { Some(one.clone()) } else { None };
        marked.or_else(named).or_else(only)
    }

    /// Finds the splits of a subset that have files of a format that is read here.
    pub fn splits(&self, subset: &str, listed: &[String], task: &Task) -> Result<Vec<DataSetSplit>> {
        let listed: Vec<&str> = listed.iter().map(String::as_str).filter(|path| is_data(path)).collect();
        let found = match self {
            DataSetLayout::Card(configs) => match configs.iter().find(|config| config.name == subset) {
                Some(config) => of_config(config, &listed, task)?,
                None => Vec::new(),
            },
            DataSetLayout::Names => by_names("", &listed),
            DataSetLayout::Converted => {
                let inside = |path: &&str| path.strip_prefix(subset).is_some_and(|rest| rest.starts_with('/'));
                by(listed.iter().copied().filter(inside), |path| path.split('/').nth(1))
            }
        };
        let found = found.into_iter().map(|split| DataSetSplit { files: of_one_kind(split.files), ..split });
        Ok(found.filter(|split| !split.files.is_empty()).collect())
    }
}

/// Tells whether a file may be one of the data set: of a format that is read here, and neither hidden nor a page.
fn is_data(path: &str) -> bool {
    let is_seen = path.split('/').all(|part| !part.starts_with('.') && !part.starts_with("__"));
    is_seen && !path.ends_with(".md") && find::kind(Path::new(path)).is_some()
}

/// Finds the splits of a subset of the card.
fn of_config(config: &Config, listed: &[&str], task: &Task) -> Result<Vec<DataSetSplit>> {
    let folder = config.folder.as_deref().map_or("", |folder| folder.trim_start_matches("./").trim_matches('/'));
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    if config.splits.is_empty() {
        let inside: Vec<&str> = listed.iter().copied().filter(|path| path.starts_with(&prefix)).collect();
        return Ok(by_names(&prefix, &inside));
    }
    let mut found = Vec::new();
    for (name, patterns) in &config.splits {
        let mut files = Vec::new();
        for pattern in patterns {
            task.check()?;
            let matcher = matcher(&format!("{prefix}{pattern}"))?;
            let mut of_pattern: Vec<&str> = listed.iter().copied().filter(|path| matcher.is_match(path)).collect();
            of_pattern.sort_unstable();
            files.extend(of_pattern.into_iter().map(String::from));
        }
        found.push(DataSetSplit { name: name.clone(), files: each_once(files) });
    }
    Ok(found)
}

/// Compiles a pattern, in which `*` is any part of a name and `**` any folders.
fn matcher(pattern: &str) -> Result<GlobSet> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    // A set of one pattern, since of a pattern that is too large it returns an error where a single pattern panics.
    glob.and_then(|glob| GlobSet::builder().add(glob).build())
        .map_err(|e| err!(Format, "expected a pattern of file names in the card, found {pattern:?}: {}", e.kind()))
}

/// Finds the splits that the names of files below a folder say: `data/NAME-00000-of-00002`, else folders that are named like a
/// split, else such names of files, else all files as `train`.
fn by_names(folder: &str, listed: &[&str]) -> Vec<DataSetSplit> {
    let shards = by(listed.iter().copied(), |path| shard_of(path.strip_prefix(folder)?));
    if !shards.is_empty() {
        return shards;
    }
    let folders = by(listed.iter().copied(), |path| {
        let (folders, _) = path.strip_prefix(folder)?.rsplit_once('/')?;
        folders.rsplit('/').find_map(word_of)
    });
    if !folders.is_empty() {
        return folders;
    }
    let files = by(listed.iter().copied(), |path| word_of(path.rsplit('/').next()?));
    if !files.is_empty() {
        return files;
    }
    by(listed.iter().copied(), |_| Some("train"))
}

/// Groups paths by the split that each of them names, in the order of the names of splits and of paths.
fn by<'a>(paths: impl Iterator<Item = &'a str>, split: impl Fn(&'a str) -> Option<&'a str>) -> Vec<DataSetSplit> {
    let mut found: Vec<DataSetSplit> = Vec::new();
    for path in paths {
        let Some(name) = split(path) else { continue };
        match found.iter_mut().find(|known| known.name == name) {
            Some(known) => known.files.push(path.into()),
            None => found.push(DataSetSplit { name: name.into(), files: vec![path.into()] }),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.iter_mut().for_each(|split| split.files.sort());
    found
}

/// Returns `NAME` of `data/NAME-00000-of-00002.parquet`.
fn shard_of(path: &str) -> Option<&str> {
    let (name, count) = path.strip_prefix("data/")?.rsplit_once("-of-")?;
    let (name, number) = name.rsplit_once('-')?;
    let is_number = |text: &str| text.len() >= 5 && text.bytes().take(5).all(|b| b.is_ascii_digit());
    (is_number(number) && number.len() == 5 && is_number(count) && !name.is_empty() && !name.contains('/'))
        .then_some(name)
}

/// Returns the split that one of the words of a name stands for.
fn word_of(name: &str) -> Option<&'static str> {
    let ends = |c: char| matches!(c, '-' | '.' | '_' | ' ') || c.is_ascii_digit();
    WORDS.iter().find(|(_, words)| name.split(ends).any(|part| words.contains(&part))).map(|(split, _)| *split)
}

/// Keeps the files of the format that most of them have: a table may lie beside a licence.
fn of_one_kind(files: Vec<String>) -> Vec<String> {
    let kind_of = |path: &String| find::kind(Path::new(path));
    let count = |kind: FileKind| files.iter().filter(|path| kind_of(path) == Some(kind)).count();
    // Of equally many the first in the order of preference.
    let most = KINDS.into_iter().rev().max_by_key(|kind| count(*kind));
    files.iter().filter(|path| kind_of(path) == most).cloned().collect()
}

/// Removes repetitions.
fn each_once(files: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    files.into_iter().filter(|path| seen.insert(path.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::card::configs;
    use super::*;

    fn splits(layout: &DataSetLayout, subset: &str, listed: &[&str]) -> Vec<(String, Vec<String>)> {
        let listed: Vec<String> = listed.iter().map(|path| path.to_string()).collect();
        let found = layout.splits(subset, &listed, &Task::default()).unwrap();
        found.into_iter().map(|split| (split.name, split.files)).collect()
    }

    fn said(found: &[(String, Vec<String>)]) -> String {
        found.iter().map(|(name, files)| format!("{name}: {}", files.join(" "))).collect::<Vec<_>>().join("; ")
    }

    fn by_name(listed: &[&str]) -> String {
        said(&splits(&DataSetLayout::Names, DEFAULT, listed))
    }

    #[test]
    fn numbered_files_say_their_split_whatever_it_is_called() {
        let listed = [
            "README.md",
            "data/train-00001-of-00002-ab12.parquet",
            "data/train-00000-of-00002-ab12.parquet",
            "data/hard_eval-00000-of-00001.parquet",
            "data/extra.parquet",
        ];
        let expected = "hard_eval: data/hard_eval-00000-of-00001.parquet; train: data/train-00000-of-00002-ab12.parquet \
                        data/train-00001-of-00002-ab12.parquet";
        assert_eq!(by_name(&listed), expected);
    }

    #[test]
    fn folders_are_asked_before_files_and_files_before_all() {
        assert_eq!(
            by_name(&["a/train/test.jsonl", "a/dev_2/x.jsonl"]),
            "train: a/train/test.jsonl; validation: a/dev_2/x.jsonl"
        );
        let files = ["my-train.jsonl.gz", "x/val.jsonl", "contest.jsonl", ".hidden/test.jsonl", "test.csv"];
        assert_eq!(by_name(&files), "train: my-train.jsonl.gz; validation: x/val.jsonl");
        assert_eq!(by_name(&["b.txt", "a.txt"]), "train: a.txt b.txt");
        assert_eq!(by_name(&["README.md", "x.csv", "x.py"]), "");
    }

    #[test]
    fn a_split_has_files_of_one_format() {
        assert_eq!(by_name(&["LICENSE.txt", "a.parquet"]), "train: a.parquet");
        assert_eq!(by_name(&["index.parquet", "a.jsonl", "b.jsonl"]), "train: a.jsonl b.jsonl");
    }

    #[test]
    fn the_card_decides_where_it_says_something() {
        let card = "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/**/*.parquet\n  - split: dev\n    \
                    path: [b.jsonl, b.jsonl, a.jsonl, none.jsonl]\n- config_name: de\n  data_dir: de\n  default: true\n- \
                    config_name: csv\n  data_files: x.csv\n---";
        let layout = DataSetLayout::Card(configs(card).unwrap());
        let listed =
            ["a.jsonl", "b.jsonl", "en/2.parquet", "en/1/1.parquet", "de/test.jsonl", "de/train.jsonl", "x.csv"];
        assert_eq!(said(&splits(&layout, "en", &listed)), "train: en/1/1.parquet en/2.parquet; dev: b.jsonl a.jsonl");
        assert_eq!(said(&splits(&layout, "de", &listed)), "test: de/test.jsonl; train: de/train.jsonl");
        assert_eq!(said(&splits(&layout, "csv", &listed)), "");
        let subsets = layout.subsets(&[]);
        assert_eq!(subsets, ["en", "de", "csv"]);
        assert_eq!(layout.usual(&subsets).as_deref(), Some("de"));
    }

    #[test]
    fn what_the_hub_converted_lies_in_folders() {
        let listed: Vec<String> = [
            "en/train/0000.parquet",
            "en/train/0001.parquet",
            "en/test/0000.parquet",
            "x/train/0000.parquet",
            ".gitattributes",
        ]
        .map(String::from)
        .into();
        assert_eq!(DataSetLayout::Converted.subsets(&listed), ["en", "x"]);
        assert_eq!(DataSetLayout::Converted.usual(&DataSetLayout::Converted.subsets(&listed)), None);
        let found = DataSetLayout::Converted.splits("en", &listed, &Task::default()).unwrap();
        assert_eq!(
            found[1],
            DataSetSplit {
                name: "train".into(),
                files: vec!["en/train/0000.parquet".into(), "en/train/0001.parquet".into()]
            }
        );
        assert_eq!(found[0].name, "test");
    }
}
