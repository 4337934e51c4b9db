//! The metadata keys of a GGUF file's tokenizer.

use serde::{Deserialize, Serialize};

use crate::common::*;
use crate::tensor::files::gguf_value::Value;

/// The metadata under `tokenizer.ggml`, by their names there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gguf {
    pub model: String,
    pub pre: Option<String>,
    pub tokens: Vec<String>,
    pub scores: Vec<f32>,
    /// Types of the tokens; empty if the file has none: then all tokens are plain.
    pub token_type: Vec<i64>,
    pub merges: Vec<String>,
    pub bos_token_id: Option<u32>,
    pub eos_token_id: Option<u32>,
    pub unknown_token_id: Option<u32>,
    pub add_bos_token: Option<bool>,
    pub add_eos_token: Option<bool>,
    pub add_space_prefix: Option<bool>,
}

pub(super) type GgufMetadata = BTreeMap<String, Value>;

impl Gguf {
    pub(super) fn read(metadata: &GgufMetadata) -> Result<Option<Self>> {
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

fn get<'a, T>(metadata: &'a GgufMetadata, key: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Option<T>> {
    let key = format!("tokenizer.ggml.{key}");
    metadata.get(&key).map(read).transpose().map_err(|e| e.within(key))
}

/// Returns the values of an array; none if the file does not have it.
fn list<'a, T>(metadata: &'a GgufMetadata, key: &str, read: impl Fn(&'a Value) -> Result<T>) -> Result<Vec<T>> {
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
    use crate::tokenizer::Tokenizer;

    #[test]
    fn keys_are_read_by_name_and_a_wrong_value_is_refused_by_it() {
        let texts = |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::Text(text.to_string())).collect());
        let mut metadata: GgufMetadata = [
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
        assert!(Tokenizer::from_metadata(&GgufMetadata::new(), &Task::default()).unwrap().is_none());
    }
}
