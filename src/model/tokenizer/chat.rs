//! The chat templates of a tokenizer's files, and the names of its special tokens that they write.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Tokenizer;
use super::keep::{Origin, Ours};
use crate::base::files::Files;
use crate::base::{Result, Task};
use crate::err;
use crate::model::tokens::Tokens;

/// The key in tokenizer_config.json: a template, or a list of named ones.
pub(super) const KEY: &str = "chat_template";
/// The file that has the template in newer folders, and the folder beside it that has more of them.
pub const FILE: &str = "chat_template.jinja";
const MORE: &str = "additional_chat_templates";
/// The name of the template that is meant if none is named.
pub const DEFAULT: &str = "default";

/// Templates by name, and what they call special tokens: `bos_token` and the like.
#[derive(Debug, Clone, Default)]
pub struct Chats {
    pub templates: BTreeMap<String, String>,
    pub marks: Map<String, Value>,
}

impl Chats {
    /// Those of a folder, whose tokenizer_config.json has been read; a template in a file of its own comes first.
    pub(super) fn of_folder(files: &Files, folder: &Path, config: &Map<String, Value>) -> Result<Option<Arc<Self>>> {
        let mut templates = in_config(config)?;
        if files.names(folder).iter().any(|name| name == FILE) {
            templates.insert(DEFAULT.into(), files.text(&folder.join(FILE))?);
        }
        let more = folder.join(MORE);
        for file in files.names(&more) {
            if let Some(name) = file.strip_suffix(".jinja") {
                templates.insert(name.into(), files.text(&more.join(&file))?);
            }
        }
        if templates.is_empty() {
            return Ok(None);
        }
        let mark = |key: &String| Some((key.clone(), marker(config, key)?.into()));
        let marks = config.keys().filter(|key| key.ends_with("_token")).filter_map(mark).collect();
        Ok(Some(Arc::new(Self { templates, marks })))
    }

    /// Adds them to a tokenizer_config.json.
    pub(super) fn save(&self, config: &mut Map<String, Value>) {
        for (key, mark) in &self.marks {
            config.entry(key.as_str()).or_insert_with(|| mark.clone());
        }
        let all: Vec<Value> = self
            .templates
            .iter()
            .map(|(name, template)| serde_json::json!({ "name": name, "template": template }))
            .collect();
        let value = match (all.len(), self.templates.get(DEFAULT)) {
            (1, Some(only)) => only.as_str().into(),
            _ => all.into(),
        };
        config.insert(KEY.into(), value);
    }
}

/// The text of a special token, which is a string, or a map with settings of its matching.
pub(super) fn marker<'a>(config: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let value = config.get(key)?;
    value.as_str().or_else(|| value.get("content")?.as_str())
}

fn in_config(config: &Map<String, Value>) -> Result<BTreeMap<String, String>> {
    let wrong = || {
        err!(Format, "expected a text in `{KEY}`, or a list of maps with `name` and `template`, found something else")
    };
    match config.get(KEY) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::String(template)) => Ok([(DEFAULT.to_string(), template.clone())].into()),
        Some(Value::Array(all)) => {
            let named = |item: &Value| {
                let text = |key: &str| item.get(key)?.as_str().map(String::from);
                text("name").zip(text("template")).ok_or_else(wrong)
            };
            all.iter().map(named).collect()
        }
        Some(_) => Err(wrong()),
    }
}

impl Tokenizer {
    /// The chat templates of its files.
    pub fn chats(&self) -> Option<&Chats> {
        self.chats.as_deref()
    }

    /// The tokens of a text that names its special tokens itself, as chats do: nothing is added.
    pub fn encode_chat(&self, text: &str, task: &Task) -> Result<Tokens> {
        if matches!(&*self.origin, Origin::Llama2c(_) | Origin::Ours(Ours::Gguf(_))) {
            return Err(err!(
                Argument,
                "expected a tokenizer of a tokenizer.json, which reads the names of special tokens in a text, found {}",
                self.kind()
            ));
        }
        let (ids, offsets) = self.split.split(text, task)?.into_iter().unzip();
        Ok(Tokens { ids, offsets, text: text.into(), front: 0, back: 0, vocab: self.vocab.clone() })
    }
}
