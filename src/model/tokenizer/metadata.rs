//! The metadata keys of a GGUF file's tokenizer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Chats, Tokenizer};
use crate::base::{Result, Task};
use crate::err;
use crate::model::formats::gguf::Value;

/// The metadata under `tokenizer.ggml`, by their names there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gguf {
    pub model: String,
    pub pre: Option<String>,
    pub tokens: Vec<String>,
    pub scores: Vec<f32>,
    /// Empty if the file has none; then all tokens are plain.
    pub token_type: Vec<i64>,
    pub merges: Vec<String>,
    pub bos_token_id: Option<u32>,
    pub eos_token_id: Option<u32>,
    pub unknown_token_id: Option<u32>,
    pub add_bos_token: Option<bool>,
    pub add_eos_token: Option<bool>,
    pub add_space_prefix: Option<bool>,
}

type Metadata = BTreeMap<String, Value>;

impl Tokenizer {
    /// The tokenizer in the metadata of a GGUF file, if there is one. It is made on another thread, since the largest
    /// take a second or two without a check for interruptions.
    pub fn from_metadata(metadata: &Metadata, task: &Task) -> Result<Option<Self>> {
        let Some(parts) = Gguf::read(metadata)? else { return Ok(None) };
        let ids = [
            ("bos_token", parts.bos_token_id),
            ("eos_token", parts.eos_token_id),
            ("unk_token", parts.unknown_token_id),
        ];
        let tokenizer = task.apart(move || Self::from_gguf(parts))?;
        // SentencePiece has its usual ids where a file states none.
        let usual = [tokenizer.bos, tokenizer.eos, None];
        let named = ids.into_iter().zip(usual).filter_map(|((key, stated), usual)| {
            let piece = tokenizer.vocab.piece(stated.or(usual)?).ok()?;
            Some((key.to_string(), piece.name.as_str().into()))
        });
        let chats = Chats::of_metadata(metadata, named.collect())?.map(Arc::new);
        Ok(Some(Self { chats, ..tokenizer }))
    }
}

impl Gguf {
    fn read(metadata: &Metadata) -> Result<Option<Self>> {
        // A file of a model that reads ids says `none`.
        let model = get(metadata, "model", Value::text)?.filter(|model| *model != "none");
        let Some(model) = model else { return Ok(None) };
        let parts = Self {
            model: model.into(),
            pre: get(metadata, "pre", Value::text)?.map(String::from),
            tokens: list(metadata, "tokens", |value| Ok(value.text()?.to_string()))?,
            scores: list(metadata, "scores", score)?,
            token_type: list(metadata, "token_type", |value| Ok(value.float()? as i64))?,
            merges: list(metadata, "merges", |value| Ok(value.text()?.to_string()))?,
            bos_token_id: get(metadata, "bos_token_id", id)?,
            eos_token_id: get(metadata, "eos_token_id", id)?,
            unknown_token_id: get(metadata, "unknown_token_id", id)?,
            add_bos_token: get(metadata, "add_bos_token", Value::bool)?,
            add_eos_token: get(metadata, "add_eos_token", Value::bool)?,
            add_space_prefix: get(metadata, "add_space_prefix", Value::bool)?,
        };
        Ok(Some(parts))
    }
}

fn get<'a, T>(metadata: &'a Metadata, key: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Option<T>> {
    let key = format!("tokenizer.ggml.{key}");
    metadata.get(&key).map(read).transpose().map_err(|e| e.within(key))
}

/// The values of an array; none if the file does not have it.
fn list<'a, T>(metadata: &'a Metadata, key: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Vec<T>> {
    let all = |value: &'a Value| value.array()?.iter().map(&read).collect::<Result<Vec<T>>>();
    Ok(get(metadata, key, all)?.unwrap_or_default())
}

fn score(value: &Value) -> Result<f32> {
    match value {
        Value::Single(score) => Ok(*score),
        other => Ok(other.float()? as f32),
    }
}

fn id(value: &Value) -> Result<u32> {
    let id = value.unsigned()?;
    u32::try_from(id).map_err(|_| err!(Format, "expected the id of a token, found {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access::{Access, Rules};
    use crate::base::files::Files;

    #[test]
    fn keys_are_read_by_name_and_a_wrong_value_is_refused_by_it() {
        let texts = |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::Text(text.to_string())).collect());
        let mut metadata: Metadata = [
            ("model", Value::Text("llama".into())),
            ("tokens", texts(&["<unk>", "<s>", "</s>", "▁a"])),
            ("scores", Value::Array(vec![Value::Single(0.5); 4])),
            ("token_type", Value::Array([2, 3, 3, 1].map(Value::Signed).to_vec())),
            ("bos_token_id", Value::Unsigned(1)),
            ("add_bos_token", Value::Bool(true)),
        ]
        .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
        .into();
        let parts = Gguf::read(&metadata).unwrap().unwrap();
        assert_eq!((parts.scores, parts.token_type), (vec![0.5; 4], vec![2, 3, 3, 1]));
        assert_eq!((parts.bos_token_id, parts.add_bos_token, parts.eos_token_id), (Some(1), Some(true), None));
        assert_eq!(Tokenizer::from_metadata(&metadata, &Task::default()).unwrap().unwrap().vocab().size(), 4);
        metadata.insert("tokenizer.ggml.bos_token_id".into(), Value::Signed(-1));
        let refused = Tokenizer::from_metadata(&metadata, &Task::default()).unwrap_err();
        assert_eq!(refused.message, "tokenizer.ggml.bos_token_id: expected a number that is not negative, found -1");
        assert!(Tokenizer::from_metadata(&Metadata::new(), &Task::default()).unwrap().is_none());
    }

    fn with_chats() -> Metadata {
        let texts = |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::Text(text.to_string())).collect());
        [
            ("ggml.model", Value::Text("llama".into())),
            ("ggml.tokens", texts(&["<unk>", "<s>", "</s>", "▁a", "<", "s", ">", "a", "▁", "<s", "s>", "<s><s>"])),
            ("ggml.scores", Value::Array(vec![Value::Single(0.0); 12])),
            ("ggml.token_type", Value::Array([2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3].map(Value::Signed).to_vec())),
            (
                "chat_template",
                Value::Text("{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}".into()),
            ),
            ("chat_template.tools", Value::Text("tools".into())),
            ("chat_templates", texts(&["tools"])),
        ]
        .map(|(key, value)| (format!("tokenizer.{key}"), value))
        .into()
    }

    #[test]
    fn a_file_has_its_chat_templates_inside() {
        let tokenizer = Tokenizer::from_metadata(&with_chats(), &Task::default()).unwrap().unwrap();
        let chats = tokenizer.chats().unwrap();
        assert_eq!(chats.templates.keys().collect::<Vec<_>>(), ["default", "tools"]);
        assert_eq!(chats.marks["bos_token"], "<s>");
        assert_eq!((&chats.marks["eos_token"], chats.marks.get("unk_token")), (&"</s>".into(), None));
        // Kept beside the tokenizer.
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(Access::new(folder.path(), &Rules::default()).unwrap(), false);
        tokenizer.save(&files, folder.path()).unwrap();
        let again = Tokenizer::from_folder(&files, folder.path()).unwrap().unwrap();
        assert_eq!(again.chats().unwrap().templates, chats.templates);
        assert_eq!(again.chats().unwrap().marks, chats.marks);
        let wrong =
            [with_chats(), [("tokenizer.chat_template".to_string(), Value::Bool(true))].into()].into_iter().flatten();
        let refused = Tokenizer::from_metadata(&wrong.collect(), &Task::default()).unwrap_err();
        assert_eq!(refused.message, "tokenizer.chat_template: expected a text, found true");
    }

    #[test]
    fn a_chat_names_its_special_tokens_and_the_longest_is_meant() {
        let tokenizer = Tokenizer::from_metadata(&with_chats(), &Task::default()).unwrap().unwrap();
        let tokens = tokenizer.encode_chat("<s>a</s>a<s><s><s", &Task::default()).unwrap();
        // What follows a special token is a text of its own, which begins with SentencePiece's space.
        assert_eq!(tokens.ids, [1, 3, 2, 3, 11, 8, 9]);
        assert_eq!(tokens.offsets[..5], [0..3, 3..4, 4..8, 8..9, 9..15]);
        assert_eq!(tokenizer.encode("<s>", Some(false), &Task::default()).unwrap().ids, [8, 9, 6]);
        assert!(tokenizer.encode_chat("", &Task::default()).unwrap().ids.is_empty());
    }
}
