//! The chat templates of a tokenizer's files, and the names of its special tokens that they write.
//!
//! Texts of chats name special tokens, whatever the tokenizer does with such names in other texts.

use super::saving::{Origin, Ours};
use super::{TokenSpan, Tokenizer};
use crate::common::*;
use crate::tensor::files::gguf_value::Value as Metadata;
use crate::tokenizer::tokens::Tokens;

/// The key in tokenizer_config.json: a template, or a list of named ones.
pub(super) const KEY: &str = "chat_template";
/// The file that has the template in newer folders, and the folder beside it that has more of them.
pub const FILE: &str = "chat_template.jinja";
/// The key in the metadata of a GGUF file; a template that has a name has it behind a dot.
const IN_GGUF: &str = "tokenizer.chat_template";
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
    /// Reads the templates of a folder, whose tokenizer_config.json has been read; a template in a file of its own
    /// comes first.
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

    /// Reads the templates in the metadata of a GGUF file; `marks` are the names of its special tokens.
    pub(super) fn of_metadata(
        metadata: &BTreeMap<String, Metadata>,
        marks: Map<String, Value>,
    ) -> Result<Option<Self>> {
        let mut templates = BTreeMap::new();
        for (key, value) in metadata {
            let name = key.strip_prefix(IN_GGUF).map(|rest| rest.strip_prefix('.').unwrap_or(rest));
            // `tokenizer.chat_templates` lists the names of those that have one.
            let Some(name) = name.filter(|name| *name != "s") else { continue };
            let name = if name.is_empty() { DEFAULT } else { name };
            templates.insert(name.to_string(), value.text().map_err(|e| e.within(key))?.to_string());
        }
        Ok((!templates.is_empty()).then_some(Self { templates, marks }))
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

/// Returns the text of a special token, which is a string, or a map with settings of its matching.
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
    /// Returns the chat templates of the tokenizer's files.
    pub fn chats(&self) -> Option<&Chats> {
        self.chats.as_deref()
    }

    /// Encodes a text that names its special tokens itself, as chats do: nothing is added.
    pub fn encode_chat(&self, text: &str, task: &Task) -> Result<Tokens> {
        let placed = match &*self.origin {
            Origin::Llama2c(_) => {
                return Err(err!(
                    Argument,
                    "expected a tokenizer that has special tokens for chats, found {}",
                    self.kind()
                ));
            }
            Origin::World(_) | Origin::Ours(Ours::Gguf(_)) => self.between_marks(text, task)?,
            _ => self.split.split(text, task)?,
        };
        let (ids, offsets) = placed.into_iter().unzip();
        Ok(Tokens { ids, offsets, text: text.into(), front: 0, back: 0, vocab: self.vocab.clone() })
    }

    /// Encodes a text in which names of special tokens stand for them, the longest where several begin. As in
    /// llama.cpp, what is between two of them is a text of its own.
    fn between_marks(&self, text: &str, task: &Task) -> Result<Vec<TokenSpan>> {
        let mut marks: Vec<(&str, u32)> =
            self.vocab.iter().filter(|(_, piece)| piece.special).map(|(id, piece)| (piece.name.as_str(), id)).collect();
        marks.retain(|(name, _)| !name.is_empty());
        marks.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let first: BTreeSet<u8> = marks.iter().map(|(name, _)| name.as_bytes()[0]).collect();
        let mut placed = Vec::new();
        let mut begin = 0;
        let mut at = 0;
        while at < text.len() {
            let begins = first.contains(&text.as_bytes()[at]);
            let Some((name, id)) = marks.iter().find(|(name, _)| begins && text[at..].starts_with(name)) else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            placed.extend(self.part(text, begin..at, task)?);
            placed.push((*id, at..at + name.len()));
            at += name.len();
            begin = at;
        }
        placed.extend(self.part(text, begin..at, task)?);
        Ok(placed)
    }

    /// Encodes a part of a text; the tokens are placed in the whole.
    fn part(&self, text: &str, place: Range<usize>, task: &Task) -> Result<Vec<TokenSpan>> {
        if place.is_empty() {
            return Ok(Vec::new());
        }
        let moved = |(id, at): TokenSpan| (id, place.start + at.start..place.start + at.end);
        Ok(self.split.split(&text[place.clone()], task)?.into_iter().map(moved).collect())
    }
}
