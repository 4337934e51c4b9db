//! Choice of the files of a repository that make up a model.

use serde::Deserialize;

use super::name::{Name, is_path};
use crate::checkpoint::formats::gguf;
use crate::checkpoint::nla_meta::{HEAD, META};
use crate::common::*;
use crate::tokenizer::{CHAT_FILE, WORLD_FILE};

const CONFIG: &str = "config.json";
const TOKENIZER: [&str; 4] = ["tokenizer.json", "tokenizer_config.json", WORLD_FILE, CHAT_FILE];
/// Weights in the order of preference: files of tensors alone before those of Python's objects.
const WEIGHTS: [&str; 3] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"];
const INDEX: &str = ".safetensors.index.json";
/// Extensions of files that can be loaded by themselves.
const LOADABLE: [&str; 5] = [".safetensors", ".gguf", ".bin", ".pt", ".pth"];

/// The files that are needed, by their paths in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    files: BTreeSet<String>,
    index: Option<String>,
    /// Whether the repository may have more files that belong to it.
    partial: bool,
}

/// An index of shards: the file of each tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Choice {
    /// Chooses among the files that a repository has.
    pub fn of(name: &Name, listed: &[String]) -> Result<Self> {
        let has = |file: &str| listed.iter().any(|listed| listed == file);
        let (weights, folder) = match &name.file {
            Some(file) if has(file) => (file.clone(), folder_of(file)),
            Some(file) => return Err(missing(name, file, listed)),
            None if !has(CONFIG) => return Err(missing(name, CONFIG, listed)),
            None => match WEIGHTS.into_iter().find(|file| has(file)) {
                Some(file) => (file.to_string(), ""),
                None => return Err(missing(name, WEIGHTS[0], listed)),
            },
        };
        let index = weights.ends_with(INDEX).then(|| weights.clone());
        // Config and tokenizer are beside the file, except that a GGUF file contains them. A reconstructor of vectors has no
        // unembedding, as another file says.
        let beside = [CONFIG].into_iter().chain(TOKENIZER).chain([META, HEAD]).map(|file| format!("{folder}{file}"));
        let beside = beside.filter(|file| !weights.ends_with(".gguf") && has(file));
        // A GGUF file may be one part of several.
        let parts = gguf::part_names(&weights).map_or_else(|| vec![weights.clone()], |(_, parts)| parts);
        if let Some(part) = parts.iter().find(|part| !has(part)) {
            return Err(err!(File, "{} has no {part} at revision {}", name.repo(), name.revision)
                .hint(format!("it is one part of {}, which cannot be read without it", parts.len())));
        }
        let files: BTreeSet<String> = beside.chain(parts).collect();
        // A model may have no tokenizer.
        let partial = name.file.is_none() && !files.contains(TOKENIZER[0]);
        Ok(Self { files, index, partial })
    }

    /// Builds a choice of these files and no others.
    pub fn plain(files: BTreeSet<String>) -> Self {
        Self { files, index: None, partial: false }
    }

    /// Returns whether the choice among some files of a repository holds for all of them.
    pub fn is_whole(&self) -> bool {
        !self.partial
    }

    pub fn files(&self) -> &BTreeSet<String> {
        &self.files
    }

    /// Returns the index of the shards, if the weights are in shards.
    pub fn index(&self) -> Option<&str> {
        self.index.as_deref()
    }

    /// Adds the shards that the text of the index names.
    pub fn add_shards(&mut self, text: &str) -> Result<()> {
        let Some(place) = &self.index else { return Ok(()) };
        let wrong = |e| err!(Format, "expected an index of shards, found: {e}");
        let index: Index = json::read(text.as_bytes(), wrong).map_err(|e| e.within(place))?;
        let folder = folder_of(place);
        for shard in index.weight_map.values() {
            if !is_path(shard) {
                return Err(
                    err!(Format, "expected the names of shards, found `{}`", shard.escape_default()).within(place)
                );
            }
            self.files.insert(format!("{folder}{shard}"));
        }
        Ok(())
    }
}

/// Returns the folder of a path with the slash after it; empty at the top.
fn folder_of(path: &str) -> &str {
    path.rfind('/').and_then(|slash| path.get(..=slash)).unwrap_or("")
}

/// Returns the error of a missing file, with the files that exist.
fn missing(name: &Name, file: &str, listed: &[String]) -> crate::base::Error {
    let error = err!(File, "{} has no {file} at revision {}", name.repo(), name.revision);
    let loadable = || listed.iter().map(String::as_str).filter(|f| LOADABLE.iter().any(|end| f.ends_with(end)));
    match (names::nearest(file, loadable()), loadable().next()) {
        (Some(near), _) if name.file.is_some() => error.hint(format!("did you mean `{}/{near}`?", name.repo())),
        (_, Some(first)) => {
            let all: Vec<&str> = loadable().take(12).collect();
            error.hint(format!("it has {}; ask for one as `{}/{first}`", all.join(", "), name.repo()))
        }
        (_, None) => error.hint("it has no weights that can be loaded"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(files: &[&str]) -> Vec<String> {
        files.iter().map(|file| file.to_string()).collect()
    }

    fn chosen(name: &str, files: &[&str]) -> Vec<String> {
        Choice::of(&Name::parse(name).unwrap(), &listed(files)).unwrap().files.into_iter().collect()
    }

    #[test]
    fn tensors_come_before_pickles_and_the_tokenizer_is_optional() {
        let all = ["README.md", "config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json"];
        assert_eq!(chosen("o/n", &all), ["config.json", "model.safetensors", "tokenizer.json"]);
        assert_eq!(chosen("o/n", &["config.json", "pytorch_model.bin"]), ["config.json", "pytorch_model.bin"]);
    }

    #[test]
    fn a_reconstructor_comes_with_its_map() {
        let all = ["config.json", "model.safetensors", "nla_meta.yaml", "value_head.safetensors"];
        assert_eq!(chosen("o/n", &all), all);
    }

    #[test]
    fn one_file_comes_with_what_belongs_to_it() {
        let all = ["config.json", "tokenizer.json", "a/config.json", "a/x.pt", "a/y.gguf"];
        assert_eq!(chosen("o/n/a/x.pt", &all), ["a/config.json", "a/x.pt"]);
        assert_eq!(chosen("o/n/a/y.gguf", &all), ["a/y.gguf"]);
    }

    #[test]
    fn a_part_of_a_model_comes_with_the_others() {
        let all = ["a/m-00001-of-00002.gguf", "a/m-00002-of-00002.gguf", "a/n-00001-of-00002.gguf", "a/config.json"];
        assert_eq!(chosen("o/n/a/m-00002-of-00002.gguf", &all), all[..2]);
        let error = Choice::of(&Name::parse("o/n/a/n-00001-of-00002.gguf").unwrap(), &listed(&all)).unwrap_err();
        assert_eq!(error.message, "o/n has no a/n-00002-of-00002.gguf at revision main");
    }

    #[test]
    fn shards_are_those_of_the_index() {
        let name = Name::parse("o/n").unwrap();
        let mut choice = Choice::of(&name, &listed(&["config.json", "model.safetensors.index.json"])).unwrap();
        choice.add_shards(r#"{"metadata": {}, "weight_map": {"a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"}}"#).unwrap();
        let files: Vec<_> = choice.files().iter().collect();
        assert_eq!(files, ["config.json", "m-1.safetensors", "m-2.safetensors", "model.safetensors.index.json"]);
        let outside = choice.add_shards(r#"{"weight_map": {"a": "../../x"}}"#).unwrap_err();
        assert!(
            outside.message.contains("model.safetensors.index.json: expected the names of shards, found `../../x`")
        );
        assert!(choice.add_shards("[]").is_err());
    }

    #[test]
    fn what_is_missing_is_answered_with_what_there_is() {
        let answer = |name: &str, files: &[&str]| {
            let error = Choice::of(&Name::parse(name).unwrap(), &listed(files)).unwrap_err();
            (error.message, error.hint.unwrap())
        };
        let (message, hint) = answer("o/n", &["x.Q8_0.gguf", "README.md"]);
        assert_eq!(message, "o/n has no config.json at revision main");
        assert_eq!(hint, "it has x.Q8_0.gguf; ask for one as `o/n/x.Q8_0.gguf`");
        let (message, hint) = answer("o/n/x.Q8_1.gguf@v1", &["x.Q8_0.gguf", "y.gguf"]);
        assert_eq!(message, "o/n has no x.Q8_1.gguf at revision v1");
        assert_eq!(hint, "did you mean `o/n/x.Q8_0.gguf`?");
        let (message, hint) = answer("o/n", &["config.json"]);
        assert_eq!(message, "o/n has no model.safetensors at revision main");
        assert_eq!(hint, "it has no weights that can be loaded");
    }
}
