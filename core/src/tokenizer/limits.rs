//! Limits for a `tokenizer.json`: how much longer a text may become while it is split, and whether splitting is fast.
//! The crate itself has no limits.

use super::splits;
use super::train::is_ours;
use crate::base::budget::Budget;
use crate::common::*;

/// Maximum growth of a text. The steps of published tokenizers make it up to three times as long.
pub const MOST_GROWTH: u64 = 32;

/// Maximum steps before a text is joined to tokens; published tokenizers have less than a dozen.
const MOST_STEPS: usize = 64;

/// Maximum bytes that are inserted before every text, before or after every character, or in place of a match.
const LONGEST_AFFIX: usize = 1 << 10;

/// Maximum bytes of a regular expression.
const LONGEST_EXPRESSION: usize = 1 << 14;

/// Maximum bytes of a Unigram token: from every position, Unigram searches as far as the longest token, in a tree as
/// deep.
const LONGEST_OF_UNIGRAM: usize = 1 << 10;

/// Length of tokens up to which Unigram takes no longer than other models.
const USUAL_OF_UNIGRAM: usize = 64;

/// The usual maximum length of words for WordPiece, which tries all parts of a word.
const USUAL_WORD: u64 = 100;

/// The result of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum growth of a text.
    pub growth: u64,
    /// Whether any text of some kilobytes is split fast.
    pub quick: bool,
}

impl Limits {
    /// Limits of known steps and tables.
    pub const KNOWN: Limits = Limits { growth: 2, quick: true };
}

/// The properties of a model on which its speed depends.
#[derive(Debug, Default)]
pub struct ModelProperties<'a> {
    /// Kind of the model; None in files of older versions of the crate.
    pub kind: Option<&'a str>,
    /// The length of the longest token, in bytes.
    pub longest: usize,
    /// Text that is inserted before or after parts of words, or in their place.
    pub affixes: [Option<&'a str>; 3],
    /// Length of a word, in characters, above which WordPiece does not split it.
    pub longest_word: Option<u64>,
}

/// Checks the steps and the model of a file whose parts have known names.
pub fn limits(normalizer: &Value, pre_tokenizer: &Value, model: &ModelProperties) -> Result<Limits> {
    let mut steps = PreparationSteps { growth: 1, count: 0, quick: true };
    steps.add(normalizer).map_err(|e| e.within("normalizer"))?;
    steps.add(pre_tokenizer).map_err(|e| e.within("pre_tokenizer"))?;
    let joins_quickly = model.is_quick().map_err(|e| e.within("model"))?;
    Ok(Limits { growth: steps.growth, quick: steps.quick && joins_quickly })
}

/// Computes the growth when one text replaces another; refused if it is too large, or if the other is empty and so
/// matches everywhere.
pub fn replaced(growth: u64, pattern: &str, content: &str) -> Result<u64> {
    if pattern.is_empty() {
        bail!(Format, "expected a text to replace, found an empty one");
    }
    grown(growth, content.len().div_ceil(pattern.len()) as u64)
}

/// Memory for each byte of an added token, in the crate's automaton that matches all of them at once.
const BYTES_PER_ADDED: u128 = 256;

/// Refuses added tokens that are too long in total, in bytes, for an automaton.
pub fn added(bytes: usize) -> Result<()> {
    Budget::of_header().take(bytes as u128 * BYTES_PER_ADDED, || "the added tokens".into())
}

fn grown(growth: u64, times: u64) -> Result<u64> {
    match growth.checked_mul(times.max(1)) {
        Some(growth) if growth <= MOST_GROWTH => Ok(growth),
        _ => Err(err!(Format, "expected steps that make a text at most {MOST_GROWTH} times as long, found more")
            .hint("the growth of all steps multiplies; the file is damaged or malicious")),
    }
}

struct PreparationSteps {
    growth: u64,
    count: usize,
    quick: bool,
}

impl PreparationSteps {
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
                    // It may match single bytes.
                    None => grown(self.growth, content.len() as u64)?,
                };
                self.expression(part)?;
            }
            "Split" => self.expression(part)?,
            "Prepend" => affix("prepend", text("prepend"))?,
            // Every byte becomes a letter of up to two bytes.
            "ByteLevel" => self.growth = grown(self.growth, 2)?,
            // A space, which is one byte, becomes a character of up to four.
            "Metaspace" => self.growth = grown(self.growth, 4)?,
            // Other steps make a text a few times as long once, and not again.
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
        // Any other expression may backtrack over a text from every position.
        self.quick &= splits::is_known(expression) || is_ours(expression);
        Ok(())
    }
}

/// Refuses a long text that is inserted often, since it could fill the memory.
fn affix(key: &str, text: &str) -> Result<()> {
    if text.len() > LONGEST_AFFIX {
        bail!(Format, "expected at most {LONGEST_AFFIX} bytes as `{key}`, found {}", text.len());
    }
    Ok(())
}

impl ModelProperties<'_> {
    /// Returns whether some kilobytes are joined fast.
    fn is_quick(&self) -> Result<bool> {
        self.affixes.into_iter().flatten().try_for_each(|text| affix("prefix, suffix or unknown token", text))?;
        // A file without a type may be one, too.
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

    const BPE: ModelProperties =
        ModelProperties { kind: Some("BPE"), longest: 8, affixes: [None; 3], longest_word: None };

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
        let model = |model: ModelProperties| limits(&Value::Null, &Value::Null, &model).map(|found| found.quick);
        let unigram = |longest| model(ModelProperties { kind: Some("Unigram"), longest, ..ModelProperties::default() });
        assert_eq!((unigram(16), unigram(1000)), (Ok(true), Ok(false)));
        assert!(
            unigram(3000).is_err() && model(ModelProperties { longest: 3000, ..ModelProperties::default() }).is_err()
        );
        let words = |most| {
            model(ModelProperties { kind: Some("WordPiece"), longest_word: Some(most), ..ModelProperties::default() })
        };
        assert_eq!((words(100), words(1_000_000)), (Ok(true), Ok(false)));
        let long = "x".repeat(2000);
        assert!(model(ModelProperties { affixes: [None, Some(&long), None], ..BPE }).is_err());
    }
}
