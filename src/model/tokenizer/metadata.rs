//! The keys of a GGUF file that its tokenizer stands under.

use std::collections::BTreeMap;

use super::{Gguf, Tokenizer};
use crate::base::{Result, Task};
use crate::err;
use crate::model::formats::gguf::Value;

type Metadata = BTreeMap<String, Value>;

impl Tokenizer {
    /// The tokenizer in the metadata of a GGUF file, if there is one. It is made apart, since that takes a second or
    /// two of the largest and knows of no interruption.
    pub fn from_metadata(metadata: &Metadata, task: &Task) -> Result<Option<Self>> {
        let Some(parts) = Gguf::read(metadata)? else { return Ok(None) };
        task.apart(move || Self::from_gguf(parts)).map(Some)
    }
}

impl Gguf {
    fn read(metadata: &Metadata) -> Result<Option<Self>> {
        let Some(model) = get(metadata, "model", Value::text)? else { return Ok(None) };
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

/// The values of an array; of none where the file has none.
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
}
