//! The tokens that the post-processor of a `tokenizer.json` adds before and after a text.

use crate::common::*;

/// Ids before the text, and ids after it.
type AddedIds = (Vec<u32>, Vec<u32>);

/// Maximum added ids: a template refers to lists of ids, and may repeat a long one.
const MOST: usize = 1 << 10;

/// Returns the ids that are added to one text; decoders do not use pairs of texts.
pub fn added(processor: &Value) -> Result<AddedIds> {
    if processor.is_null() {
        return Ok(AddedIds::default());
    }
    match processor.get("type").and_then(Value::as_str) {
        // It changes only the ranges of tokens.
        Some("ByteLevel") => Ok(AddedIds::default()),
        Some("TemplateProcessing") => template(processor),
        Some("BertProcessing" | "RobertaProcessing") => {
            Ok((vec![pair_id(processor, "cls")?], vec![pair_id(processor, "sep")?]))
        }
        Some("Sequence") => {
            let mut ends = AddedIds::default();
            for part in list(processor.get("processors"), "processors")? {
                let (front, back) = added(part)?;
                ends.0.splice(0..0, front);
                ends.1.extend(back);
                countable(&ends.0)?;
                countable(&ends.1)?;
            }
            Ok(ends)
        }
        Some(other) => bail!(
            Format,
            "expected ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing or Sequence, found {other}"
        ),
        None => bail!(Format, "expected a `type`, found none"),
    }
}

fn countable(end: &[u32]) -> Result<()> {
    if end.len() > MOST {
        bail!(Format, "expected at most {MOST} tokens at an end of a text, found more");
    }
    Ok(())
}

/// Reads a list such as `<s> $A </s>`.
fn template(processor: &Value) -> Result<AddedIds> {
    let mut front = Vec::new();
    let mut back = Vec::new();
    let mut texts = 0;
    for part in list(processor.get("single"), "single")? {
        if part.get("Sequence").is_some() {
            texts += 1;
            continue;
        }
        let name = part.pointer("/SpecialToken/id").and_then(Value::as_str);
        let name = name.ok_or_else(|| err!(Format, "expected a Sequence or a SpecialToken, found {part}"))?;
        let ids = processor.get("special_tokens").and_then(|tokens| tokens.get(name)?.get("ids"));
        let end = if texts == 0 { &mut front } else { &mut back };
        for value in list(ids, name)? {
            end.push(id(value)?);
            countable(end)?;
        }
    }
    if texts != 1 {
        bail!(Format, "expected the text once in `single`, found it {texts} times");
    }
    Ok((front, back))
}

/// Reads the id in `["[CLS]", 101]`.
fn pair_id(processor: &Value, key: &str) -> Result<u32> {
    id(list(processor.get(key), key)?.get(1).unwrap_or(&Value::Null)).map_err(|e| e.within(key))
}

fn list<'a>(value: Option<&'a Value>, key: &str) -> Result<&'a Vec<Value>> {
    value.and_then(Value::as_array).ok_or_else(|| err!(Format, "expected a list in `{key}`, found none"))
}

fn id(value: &Value) -> Result<u32> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| err!(Format, "expected the id of a token, found {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_stands_around_the_text_is_added() {
        let template = json!({ "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                       { "SpecialToken": { "id": "</s>", "type_id": 0 } }],
            "pair": [], "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] },
                                            "</s>": { "id": "</s>", "ids": [2, 3], "tokens": ["</", "s>"] } } });
        assert_eq!(added(&template).unwrap(), (vec![1], vec![2, 3]));
        let both = json!({ "type": "Sequence", "processors": [{ "type": "ByteLevel" }, template] });
        assert_eq!(added(&both).unwrap(), (vec![1], vec![2, 3]));
        let bert = json!({ "type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101] });
        assert_eq!(added(&bert).unwrap(), (vec![101], vec![102]));
        assert_eq!(added(&Value::Null).unwrap(), (vec![], vec![]));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let refused = |processor: Value| added(&processor).unwrap_err().message;
        assert!(refused(json!({ "type": "Else" })).ends_with("found Else"));
        assert!(refused(json!({ "type": "TemplateProcessing", "single": [] })).contains("0 times"));
        let unknown = json!({ "type": "TemplateProcessing", "special_tokens": {},
            "single": [{ "SpecialToken": { "id": "<s>" } }, { "Sequence": { "id": "A" } }] });
        assert_eq!(refused(unknown), "expected a list in `<s>`, found none");
        let negative = json!({ "type": "BertProcessing", "sep": ["", -1], "cls": ["", 1] });
        assert!(refused(negative).contains("found -1"));
    }
}
