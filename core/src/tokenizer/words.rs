//! The tokenizer of words and their parts in GGUF files of encoders, which is that of a `tokenizer.json`: WordPiece (Wu et al.
//! 2016), as BERT has it.

use super::Tokenizer;
use super::metadata::{Gguf, GgufMetadata};
use crate::common::*;
use crate::tensor::files::gguf_value;

/// The kind of tokenizer in GGUF files.
pub(super) const WORDS: &str = "bert";

/// The mark of a part that begins no word, in a `tokenizer.json`.
const INSIDE: &str = "##";

/// The mark of a word, in GGUF files.
const BEGINS: char = '▁';

/// Characters of a word above which it is unknown.
const LONGEST: usize = 100;

/// The type of tokens that no text yields, in `tokenizer.ggml.token_type`.
const CONTROL: i64 = 3;

/// Ids that BERT has where a file states none.
const USUAL: [(&str, u32); 3] = [("bos_token_id", 101), ("unknown_token_id", 100), ("seperator_token_id", 102)];

impl Tokenizer {
    /// Makes the tokenizer of an encoder. `[MASK]` and the names of other special tokens in a text are these tokens.
    pub(super) fn of_words(parts: &Gguf, metadata: &GgufMetadata) -> Result<Self> {
        let flag = |key: &str| metadata.get(&format!("tokenizer.ggml.{key}")).map(gguf_value::Value::bool).transpose();
        let lowercase = flag("normalizer.lowercase")?.unwrap_or(true);
        let strip_accents = flag("normalizer.strip_accents")?.unwrap_or(lowercase);
        let [class, unknown, end] = USUAL.map(|(key, usual)| named(parts, metadata, key, usual));
        let class = class?;
        let unknown = unknown?;
        let end = end?;
        let mut vocab = Map::new();
        let mut special = Vec::new();
        for (id, name) in parts.tokens.iter().enumerate() {
            let is_special = parts.token_type.get(id) == Some(&CONTROL) || [&class, &unknown, &end].contains(&name);
            let own = match name.strip_prefix(BEGINS) {
                _ if is_special => name.clone(),
                Some(word) => word.to_string(),
                None => format!("{INSIDE}{name}"),
            };
            if is_special {
                special.push(json!({
                    "id": id, "content": own, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false,
                }));
            }
            if vocab.insert(own.clone(), json!(id)).is_some() {
                return Err(err!(Format, "expected each token once, found `{own}` twice"));
            }
        }
        let place = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
        let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
        let added = |name: &str| json!({ "id": name, "ids": [vocab.get(name)], "tokens": [name] });
        let single = [place(&class), text, place(&end)];
        let file = json!({
            "version": "1.0",
            "added_tokens": special,
            "normalizer": {
                "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": strip_accents, "lowercase": lowercase,
            },
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "post_processor": {
                "type": "TemplateProcessing", "single": single, "pair": single,
                "special_tokens": { class.clone(): added(&class), end.clone(): added(&end) },
            },
            "decoder": { "type": "WordPiece", "prefix": INSIDE, "cleanup": true },
            "model": {
                "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": INSIDE,
                "max_input_chars_per_word": LONGEST, "vocab": Value::Object(vocab),
            },
        });
        Self::from_json(file.to_string().as_bytes())
    }
}

/// Returns the name of the token with the id of this key, or with the usual one.
fn named(parts: &Gguf, metadata: &GgufMetadata, key: &str, usual: u32) -> Result<String> {
    let stated = metadata.get(&format!("tokenizer.ggml.{key}")).map(gguf_value::Value::unsigned).transpose()?;
    let id = stated.unwrap_or(u64::from(usual));
    let name = usize::try_from(id).ok().and_then(|id| parts.tokens.get(id));
    name.cloned().ok_or_else(|| err!(Format, "expected a token with the id of `{key}`, {id}, found none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::files::gguf_value::Value;

    const TOKENS: [&str; 11] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁keep", "er", "▁é", "▁e", "▁,", "▁The"];

    fn metadata(changes: &[(&str, Value)]) -> GgufMetadata {
        let texts = |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::Text(text.to_string())).collect());
        let types = [3_u64, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1].map(Value::Unsigned).to_vec();
        let usual = [
            ("model", Value::Text("bert".into())),
            ("tokens", texts(&TOKENS)),
            ("token_type", Value::Array(types)),
            ("bos_token_id", Value::Unsigned(2)),
            ("unknown_token_id", Value::Unsigned(1)),
            ("seperator_token_id", Value::Unsigned(3)),
        ];
        let all = usual.into_iter().chain(changes.iter().map(|(key, value)| (*key, value.clone())));
        all.map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect()
    }

    fn ids(metadata: &GgufMetadata, text: &str) -> Vec<u32> {
        let tokenizer = Tokenizer::from_metadata(metadata, &Task::default()).unwrap().unwrap();
        tokenizer.encode(text, None, &Task::default()).unwrap().ids
    }

    #[test]
    fn words_are_their_longest_parts_between_the_marks_of_a_text() {
        let usual = metadata(&[]);
        assert_eq!(ids(&usual, "Keeper, keepers"), [2, 5, 6, 9, 1, 3]);
        assert_eq!(ids(&usual, "keep [MASK] É"), [2, 5, 4, 8, 3]);
        assert_eq!(ids(&usual, ""), [2, 3]);
        let cased = metadata(&[("normalizer.lowercase", Value::Bool(false))]);
        assert_eq!(ids(&cased, "The Keep é"), [2, 10, 1, 7, 3]);
        let accents = [("normalizer.lowercase", Value::Bool(false)), ("normalizer.strip_accents", Value::Bool(true))];
        assert_eq!(ids(&metadata(&accents), "é"), [2, 8, 3]);
    }

    #[test]
    fn what_is_missing_or_twice_is_refused() {
        let refused = |key: &str, value: Value| {
            Tokenizer::from_metadata(&metadata(&[(key, value)]), &Task::default()).unwrap_err().message
        };
        let far = refused("seperator_token_id", Value::Unsigned(99));
        assert_eq!(far, "tokenizer.ggml: expected a token with the id of `seperator_token_id`, 99, found none");
        let names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "a"].map(|name| Value::Text(name.into()));
        assert!(refused("tokens", Value::Array(names.to_vec())).contains("found `##a` twice"));
        let named = |pre: &str| metadata(&[("pre", Value::Text(pre.into()))]);
        assert_eq!(ids(&named("bert-bge"), "keep"), [2, 5, 3]);
        let cut = Tokenizer::from_metadata(&named("gpt-2"), &Task::default()).unwrap_err().message;
        assert_eq!(cut, "tokenizer.ggml: expected no byte-level `pre` of a tokenizer of the kind bert, found `gpt-2`");
    }
}
