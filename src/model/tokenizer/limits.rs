//! What a `tokenizer.json` may ask of whoever splits with it: how much longer a text may become on the way, and whether
//! it takes a moment only. The crate does whatever the file says, for as long as that takes.

use serde_json::Value;

use super::splits;
use super::train::is_ours;
use crate::base::Result;
use crate::base::budget::Budget;
use crate::{bail, err};

/// How many times as long a text may become. The steps of the tokenizers that are published make three times of it.
pub const MOST_GROWTH: u64 = 32;

/// The steps before a text is joined to tokens; nobody has a dozen.
const MOST_STEPS: usize = 64;

/// What is put before every text, before or behind every character, or in the place of what was found.
const LONGEST_AFFIX: usize = 1 << 10;

/// An expression of more bytes says nothing more than a shorter one.
const LONGEST_EXPRESSION: usize = 1 << 14;

/// A Unigram looks from every place of a text as far as its longest token reaches, and its tree is as deep.
const LONGEST_OF_UNIGRAM: usize = 1 << 10;

/// Up to here that takes no longer than other ways of joining.
const USUAL_OF_UNIGRAM: usize = 64;

/// A WordPiece tries all ends of a word from all places in it. This is the usual length of what it does not leave
/// alone.
const USUAL_WORD: u64 = 100;

/// What was found out about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many times as long a text becomes at most.
    pub growth: u64,
    /// Whether a text of some kilobytes is split in a moment, whatever stands in it.
    pub quick: bool,
}

impl Limits {
    /// Of steps and tables that are known here.
    pub const KNOWN: Limits = Limits { growth: 2, quick: true };
}

/// What decides how a model joins.
#[derive(Debug, Default)]
pub struct Joining<'a> {
    /// None in files from before the crate wrote it down.
    pub kind: Option<&'a str>,
    /// The length of the longest token, in bytes.
    pub longest: usize,
    /// What is put before or behind parts of words, or in their place.
    pub affixes: [Option<&'a str>; 3],
    /// Words of more characters are left alone by a WordPiece.
    pub longest_word: Option<u64>,
}

/// Judges the steps and the model of a file whose parts are known by name.
pub fn limits(normalizer: &Value, pre_tokenizer: &Value, model: &Joining) -> Result<Limits> {
    let mut steps = Steps { growth: 1, count: 0, quick: true };
    steps.add(normalizer).map_err(|e| e.within("normalizer"))?;
    steps.add(pre_tokenizer).map_err(|e| e.within("pre_tokenizer"))?;
    let joins_quickly = model.is_quick().map_err(|e| e.within("model"))?;
    Ok(Limits { growth: steps.growth, quick: steps.quick && joins_quickly })
}

/// How many times as long one text becomes that is put in the place of another; refused where it is too many, or where
/// the other is empty, and so everywhere.
pub fn replaced(growth: u64, pattern: &str, content: &str) -> Result<u64> {
    if pattern.is_empty() {
        bail!(Format, "expected a text to replace, found an empty one");
    }
    grown(growth, content.len().div_ceil(pattern.len()) as u64)
}

/// What the crate makes of a byte of an added token: a part of the machine that looks for all of them at once.
const BYTES_PER_ADDED: u128 = 256;

/// Refuses more text of added tokens, in bytes, than a machine can be made of.
pub fn added(bytes: usize) -> Result<()> {
    Budget::of_header().take(bytes as u128 * BYTES_PER_ADDED, || "the added tokens".into())
}

fn grown(growth: u64, times: u64) -> Result<u64> {
    match growth.checked_mul(times.max(1)) {
        Some(growth) if growth <= MOST_GROWTH => Ok(growth),
        _ => Err(err!(Format, "expected steps that make a text at most {MOST_GROWTH} times as long, found more")
            .hint("each step multiplies what the one before has made; the file is damaged, or was made to do harm")),
    }
}

struct Steps {
    growth: u64,
    count: usize,
    quick: bool,
}

impl Steps {
    fn add(&mut self, part: &Value) -> Result<()> {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
        if kind == "Sequence" {
            let list = ["normalizers", "pretokenizers"].into_iter().find_map(|key| part.get(key)?.as_array());
            return list.into_iter().flatten().try_for_each(|inner| self.add(inner));
        }
        self.count += 1;
        if self.count > MOST_STEPS {
            bail!(Format, "expected at most {MOST_STEPS} steps, found more");
        }
        let text = |key: &str| part.get(key).and_then(Value::as_str).unwrap_or_default();
        match kind {
            "Replace" => {
                affix("content", text("content"))?;
                let content = text("content");
                self.growth = match part.pointer("/pattern/String").and_then(Value::as_str) {
                    Some(pattern) => replaced(self.growth, pattern, content)?,
                    // It may find single bytes.
                    None => grown(self.growth, content.len() as u64)?,
                };
                self.expression(part)?;
            }
            "Split" => self.expression(part)?,
            "Prepend" => affix("prepend", text("prepend"))?,
            // Every byte is written with a letter of up to two.
            "ByteLevel" => self.growth = grown(self.growth, 2)?,
            // A space, which is one byte, becomes a character, which has up to four.
            "Metaspace" => self.growth = grown(self.growth, 4)?,
            // What is left makes a text a few times as long, and the second time does nothing.
            _ => {}
        }
        Ok(())
    }

    fn expression(&mut self, part: &Value) -> Result<()> {
        let Some(expression) = part.pointer("/pattern/Regex").and_then(Value::as_str) else { return Ok(()) };
        if expression.len() > LONGEST_EXPRESSION {
            bail!(
                Format,
                "expected an expression of at most {LONGEST_EXPRESSION} bytes, found one of {}",
                expression.len()
            );
        }
        // Any other may step back over a text again and again, from every place in it.
        self.quick &= splits::is_known(expression) || is_ours(expression);
        Ok(())
    }
}

/// Refuses a text that is put in so often that a long one would fill the memory.
fn affix(key: &str, text: &str) -> Result<()> {
    if text.len() > LONGEST_AFFIX {
        bail!(Format, "expected at most {LONGEST_AFFIX} bytes as `{key}`, found {}", text.len());
    }
    Ok(())
}

impl Joining<'_> {
    /// Whether some kilobytes are joined in a moment.
    fn is_quick(&self) -> Result<bool> {
        self.affixes.into_iter().flatten().try_for_each(|text| affix("prefix, suffix or unknown token", text))?;
        // A file that does not say may be one, too.
        if self.kind.is_none_or(|kind| kind == "Unigram") {
            if self.longest > LONGEST_OF_UNIGRAM {
                let longest = self.longest;
                bail!(Format, "expected tokens of at most {LONGEST_OF_UNIGRAM} bytes, found one of {longest}");
            }
            return Ok(self.longest <= USUAL_OF_UNIGRAM);
        }
        Ok(self.longest_word.is_none_or(|most| most <= USUAL_WORD))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BPE: Joining = Joining { kind: Some("BPE"), longest: 8, affixes: [None; 3], longest_word: None };

    fn replace(from: &str, to: &str) -> Value {
        json!({ "type": "Replace", "pattern": { "String": from }, "content": to })
    }

    fn of(steps: Value) -> Result<Limits> {
        limits(&json!({ "type": "Sequence", "normalizers": steps }), &Value::Null, &BPE)
    }

    #[test]
    fn steps_multiply_each_other() {
        assert_eq!(of(json!([replace(" ", "▁")])).unwrap(), Limits { growth: 3, quick: true });
        assert_eq!(of(json!([replace(" ", "▁"), { "type": "ByteLevel" }])).unwrap().growth, 6);
        let nine: Vec<Value> = (0..9).map(|_| replace("a", "aaaaaaaaaa")).collect();
        let refused = of(json!(nine)).unwrap_err().message;
        assert_eq!(refused, "normalizer: expected steps that make a text at most 32 times as long, found more");
        assert!(of(json!(vec![json!({ "type": "ByteLevel" }); 6])).is_err());
        assert!(of(json!([{ "type": "Replace", "pattern": { "Regex": "." }, "content": "x".repeat(33) }])).is_err());
        assert!(of(json!([replace("", "x")])).is_err());
        assert!(of(json!(vec![json!({ "type": "NFC" }); 65])).unwrap_err().message.contains("at most 64 steps"));
        let long = json!([{ "type": "Prepend", "prepend": "x".repeat(50 << 20) }]);
        assert!(of(long).unwrap_err().message.contains("at most 1024 bytes as `prepend`, found 52428800"));
    }

    #[test]
    fn what_may_take_long_is_known() {
        let split = |expression: &str| {
            let step = json!({ "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated" });
            limits(&Value::Null, &step, &BPE).unwrap().quick
        };
        assert!(split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"));
        assert!(!split("(?=(a+)+b)"));
        let model = |model: Joining| limits(&Value::Null, &Value::Null, &model).map(|found| found.quick);
        let unigram = |longest| model(Joining { kind: Some("Unigram"), longest, ..Joining::default() });
        assert_eq!((unigram(16), unigram(1000)), (Ok(true), Ok(false)));
        assert!(unigram(3000).is_err() && model(Joining { longest: 3000, ..Joining::default() }).is_err());
        let words = |most| model(Joining { kind: Some("WordPiece"), longest_word: Some(most), ..Joining::default() });
        assert_eq!((words(100), words(1_000_000)), (Ok(true), Ok(false)));
        let long = "x".repeat(2000);
        assert!(model(Joining { affixes: [None, Some(&long), None], ..BPE }).is_err());
    }
}
