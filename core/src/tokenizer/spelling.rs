//! The spelling of bytes in the tokens of a `tokenizer.json`, by its decoder.

use super::alphabet;
use super::limits::replaced;
use super::vocab::VocabEntry;
use crate::common::*;

/// The rules that turn a token's name into its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spelling {
    /// Whether every letter is a byte.
    pub byte_level: bool,
    /// Texts in names, and their meaning: `▁` for a space.
    replaced: Vec<(String, String)>,
    /// Whether `<0x0A>` is a byte.
    hexadecimal: bool,
    /// The prefix of tokens that continue a word, while others have a space before them (WordPiece).
    glued: Option<String>,
    /// Whether tokens are words separated by spaces.
    spaced: bool,
    /// Whether one space at the beginning of a text was added by the tokenizer.
    pub leading_space: bool,
    /// Maximum length of a token's text relative to its name.
    growth: u64,
}

impl Spelling {
    pub fn of(decoder: &Value) -> Result<Self> {
        let mut spelling = Self { growth: 1, ..Self::default() };
        if decoder.is_null() {
            spelling.spaced = true;
            spelling.leading_space = true;
        } else {
            spelling.add(decoder).map_err(|e| e.within("decoder"))?;
        }
        Ok(spelling)
    }

    fn add(&mut self, decoder: &Value) -> Result<()> {
        match text(decoder, "type")? {
            "ByteLevel" => self.byte_level = true,
            "ByteFallback" => self.hexadecimal = true,
            "Fuse" => {}
            "Sequence" => {
                let parts = decoder.get("decoders").and_then(Value::as_array);
                for part in parts.ok_or_else(|| err!(Format, "expected a list in `decoders`, found none"))? {
                    self.add(part)?;
                }
            }
            "Replace" => {
                let pattern = decoder.pointer("/pattern/String").and_then(Value::as_str);
                let pattern = pattern.ok_or_else(|| err!(Format, "expected a plain text in Replace, found none"))?;
                self.replace(pattern, text(decoder, "content")?)?;
            }
            "Strip" => {
                let count = |key: &str| decoder.get(key).and_then(Value::as_u64);
                match (text(decoder, "content")?, count("start"), count("stop")) {
                    (" ", Some(start @ 0..=1), Some(0)) => self.leading_space |= start == 1,
                    _ => bail!(Format, "expected Strip to take at most one space off the front, found {decoder}"),
                }
            }
            "Metaspace" => {
                self.replace(text(decoder, "replacement")?, " ")?;
                // Older files state whether there is a prefix, newer ones where.
                let never = decoder.get("prepend_scheme").and_then(Value::as_str) == Some("never");
                let without = decoder.get("add_prefix_space") == Some(&Value::Bool(false));
                self.leading_space |= !never && !without;
            }
            "WordPiece" => {
                self.glued = Some(text(decoder, "prefix")?.into());
                self.leading_space = true;
            }
            other => bail!(
                Format,
                "expected ByteLevel, Metaspace, ByteFallback, Fuse, Replace, Strip, WordPiece or Sequence, found {other}"
            ),
        }
        Ok(())
    }

    fn replace(&mut self, pattern: &str, content: &str) -> Result<()> {
        self.growth = replaced(self.growth, pattern, content)?;
        self.replaced.push((pattern.into(), content.into()));
        Ok(())
    }

    /// Makes a token of the model itself.
    pub fn piece(&self, name: String) -> VocabEntry {
        VocabEntry { bytes: self.bytes(&name), name, special: false }
    }

    /// Makes an added token, which stands for its name.
    pub fn added(&self, name: String, special: bool) -> VocabEntry {
        let bytes = if self.byte_level { name.clone().into_bytes() } else { self.bytes(&name) };
        VocabEntry { bytes, name, special }
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        if self.byte_level {
            return alphabet::bytes(name);
        }
        if let Some(byte) = hexadecimal(name).filter(|_| self.hexadecimal) {
            return vec![byte];
        }
        if let Some(prefix) = &self.glued {
            return match name.strip_prefix(prefix.as_str()) {
                Some(rest) => rest.as_bytes().to_vec(),
                None => format!(" {name}").into_bytes(),
            };
        }
        if self.spaced {
            return format!(" {name}").into_bytes();
        }
        let replace = |text: String, (from, to): &(String, String)| text.replace(from.as_str(), to);
        self.replaced.iter().fold(name.to_string(), replace).into_bytes()
    }
}

/// Reads the byte of a name such as `<0x0A>`.
pub fn hexadecimal(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    let two = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if two { u8::from_str_radix(digits, 16).ok() } else { None }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| err!(Format, "expected a text in `{key}`, found none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bytes(decoder: &Value, names: &[&str]) -> Vec<String> {
        let spelling = Spelling::of(decoder).unwrap();
        let piece = |name: &&str| String::from_utf8(spelling.piece(name.to_string()).bytes).unwrap();
        names.iter().map(piece).collect()
    }

    #[test]
    fn each_decoder_spells_in_its_way() {
        assert_eq!(bytes(&json!({ "type": "ByteLevel" }), &["Ġthe", "Ċ"]), [" the", "\n"]);
        assert_eq!(bytes(&Value::Null, &["the"]), [" the"]);
        assert_eq!(bytes(&json!({ "type": "WordPiece", "prefix": "##" }), &["the", "##re"]), [" the", "re"]);
        let pieces = json!({ "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" }, { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 } ] });
        assert_eq!(bytes(&pieces, &["▁the", "<0x0A>", "<0xZZ>"]), [" the", "\n", "<0xZZ>"]);
        assert!(Spelling::of(&pieces).unwrap().leading_space);
        let metaspace = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "never" });
        assert!(!Spelling::of(&metaspace).unwrap().leading_space);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let refused = |decoder: Value| Spelling::of(&decoder).unwrap_err().message;
        assert!(refused(json!({ "type": "CTC" })).ends_with("found CTC"));
        assert!(refused(json!({ "type": "Strip", "content": " ", "start": 2, "stop": 0 })).contains("Strip"));
        assert!(refused(json!({ "type": "Replace", "pattern": { "Regex": "a" }, "content": "" })).contains("Replace"));
        assert_eq!(refused(json!({})), "decoder: expected a text in `type`, found none");
    }
}
