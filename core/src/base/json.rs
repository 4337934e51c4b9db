//! Untrusted JSON. A small text may parse into large values, so their size is estimated before parsing; the depth is
//! limited by serde_json, to 128.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, DeserializeSeed};
use serde_json::de::SliceRead;

use super::budget::Budget;
use super::{Error, Result, memory};

/// Length up to which texts are not estimated: they parse into some megabytes at most, and there may be millions of
/// them.
const SMALL: usize = 1 << 14;

/// Parses the JSON of a file, within the [budget](Budget::of_header) of a header; `wrong` converts serde's error.
pub fn read<T: DeserializeOwned>(text: &[u8], wrong: impl FnOnce(serde_json::Error) -> Error) -> Result<T> {
    if text.len() > SMALL {
        Budget::of_header().take(size(text), || "what this JSON makes".into())?;
    }
    serde_json::from_slice(text).map_err(wrong)
}

/// Returns the JSON of a file with bare infinities, which Python writes and JSON has not, in the form that newer files
/// of transformers have for them, `{"__float__": "Infinity"}`.
pub fn tagged_infinities(text: &str) -> Cow<'_, str> {
    const WORD: &str = "Infinity";
    let mut found = String::new();
    let mut copied = 0;
    let mut within = false;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match (within, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => within = !within,
            (false, b'I') if text[at..].starts_with(WORD) => {
                let signed = text[copied..at].ends_with('-');
                found += &text[copied..at - usize::from(signed)];
                found += if signed { r#"{"__float__": "-Infinity"}"# } else { r#"{"__float__": "Infinity"}"# };
                copied = at + WORD.len();
            }
            _ => {}
        }
    }
    if copied == 0 { Cow::Borrowed(text) } else { Cow::Owned(found + &text[copied..]) }
}

/// Parses content kept as JSON, such as numbers and texts: only the free memory limits it.
pub fn read_content<T: DeserializeOwned>(text: &[u8], wrong: impl FnOnce(serde_json::Error) -> Error) -> Result<T> {
    memory::check(size(text), || "what this JSON makes".into())?;
    serde_json::from_slice(text).map_err(wrong)
}

/// Parses content kept as JSON by a reader that makes its own values: only the free memory limits it.
pub fn read_content_by<'t, S: DeserializeSeed<'t>>(
    text: &'t [u8],
    reader: S,
    wrong: impl FnOnce(serde_json::Error) -> Error,
) -> Result<S::Value> {
    memory::check(size(text), || "what this JSON makes".into())?;
    let mut content = serde_json::Deserializer::from_slice(text);
    let value = reader.deserialize(&mut content);
    value.and_then(|value| content.end().map(|()| value)).map_err(wrong)
}

/// Reads values that stand one after the other, as in JSON lines; `read` takes the next.
pub fn read_each<'t>(
    text: &'t [u8],
    mut read: impl FnMut(&mut serde_json::Deserializer<SliceRead<'t>>) -> serde_json::Result<()>,
    wrong: impl FnOnce(serde_json::Error) -> Error,
) -> Result<()> {
    memory::check(size(text), || "what this JSON makes".into())?;
    let mut content = serde_json::Deserializer::from_slice(text);
    let mut outcome = Ok(());
    while outcome.is_ok() && content.end().is_err() {
        outcome = read(&mut content);
    }
    outcome.map_err(wrong)
}

/// Estimates the bytes of a JSON text as parsed values, including vectors that grow during parsing. A list or a map has
/// capacity for several values from its first one on.
pub fn size(text: &[u8]) -> u128 {
    const VALUE: u64 = 144;
    const FIELD: u64 = 160;
    const CONTAINER: u64 = 288;
    let mut size = 0_u64;
    let mut within = false;
    let mut escaped = false;
    for byte in text {
        match (within, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => within = !within,
            (true, _) => {}
            (false, b',') => size += VALUE,
            (false, b':') => size += FIELD,
            (false, b'[' | b'{') => size += CONTAINER,
            (false, _) => {}
        }
    }
    u128::from(size) + text.len() as u128
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::base::Kind;
    use crate::err;

    fn parsed(text: &str) -> Result<Value> {
        read(text.as_bytes(), |e| err!(Format, "expected JSON: {e}"))
    }

    #[test]
    fn millions_of_empty_maps_are_refused_before_they_are_made() {
        let many = format!("[{}{{}}]", "{},".repeat(4_000_000));
        let error = parsed(&many).unwrap_err();
        assert_eq!(error.kind, Kind::Format);
        assert!(error.message.contains("expected what this JSON makes to take at most 1.0 GiB"), "{error}");
        // Within a string they are not values.
        assert!(parsed(&Value::from(many).to_string()).is_ok());
    }

    #[test]
    fn bare_infinities_are_tagged() {
        let found =
            tagged_infinities(r#"{"Infinity": "a \"Infinity", "b": [0.0, Infinity, -Infinity], "c": Infinity}"#);
        let tagged = |word: &str| serde_json::json!({"__float__": word});
        let expected = serde_json::json!({"Infinity": "a \"Infinity", "b": [0.0, tagged("Infinity"), tagged("-Infinity")],
            "c": tagged("Infinity")});
        assert_eq!(parsed(&found).unwrap(), expected);
        assert!(matches!(tagged_infinities(r#"{"a": "Infinity"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_honest_is_read() {
        assert_eq!(parsed(r#"{"a": [1, "\"{,", {}]}"#).unwrap()["a"][1], "\"{,");
        let numbers = format!("[{}0]", "0.5,".repeat(1_000_000));
        assert_eq!(parsed(&numbers).unwrap().as_array().unwrap().len(), 1_000_001);
        assert_eq!(parsed("[").unwrap_err().message, "expected JSON: EOF while parsing a list at line 1 column 1");
        assert!(parsed(&"[".repeat(100_000)).unwrap_err().message.contains("recursion limit"));
    }
}
