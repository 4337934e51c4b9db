//! The little YAML of published configs: sections of plain values, one a line.

use serde_json::{Map, Value};

use crate::common::*;

/// Reads sections of values: `section:` at the beginning of a line, and below it, indented, `key: value`. Deeper
/// sections are left out, and so are lists.
pub fn sections(text: &str) -> Result<Value> {
    let mut all = Map::new();
    let mut section: Option<(String, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_end();
        let plain = content.trim_start();
        if plain.is_empty() || plain.starts_with(['#', '-']) {
            continue;
        }
        let depth = content.len() - plain.len();
        let Some((key, value)) = plain.split_once(':') else {
            return Err(err!(Format, "expected `key: value` in line {}, found {plain:?}", number + 1));
        };
        let value = value.trim();
        match (&mut section, depth, value.is_empty()) {
            (_, 0, true) => section = Some((key.into(), 0)),
            (_, 0, false) => {
                section = None;
                all.insert(key.into(), scalar(value));
            }
            (Some((name, indent)), depth, is_empty) => {
                if *indent == 0 {
                    *indent = depth;
                }
                if depth == *indent && !is_empty {
                    let fields = all.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
                    fields.as_object_mut().map(|fields| fields.insert(key.into(), scalar(value)));
                }
            }
            (None, _, _) => {}
        }
    }
    Ok(Value::Object(all))
}

/// Reads one value: a number, true, false, null, or a text with or without quotes.
fn scalar(text: &str) -> Value {
    let quoted = |mark: char| text.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    if let Some(inner) = quoted('\'').or_else(|| quoted('"')) {
        return inner.into();
    }
    let text = text.split(" #").next().unwrap_or_default().trim_end();
    match text {
        "true" | "True" => true.into(),
        "false" | "False" => false.into(),
        "null" | "~" | "None" => Value::Null,
        _ => match (text.parse::<i64>(), text.replace('_', "").parse::<f64>()) {
            (Ok(whole), _) => whole.into(),
            (_, Ok(number)) => number.into(),
            _ => text.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sections_have_plain_values() {
        let text = [
            "deploy: true",
            "data:",
            "  dtype: \"bfloat16\" ",
            "  steps: 200_000",
            "  deeper:",
            "    x: 1",
            "  more: 2 # said",
            "- a",
            "",
            "sae:",
            "  rate: 1e-3",
            "  tied: False",
            "  k: null",
            "  name: 'x: y'",
        ];
        let expected = json!({
            "deploy": true, "data": { "dtype": "bfloat16", "steps": 200_000.0, "more": 2 },
            "sae": { "rate": 1e-3, "tied": false, "k": null, "name": "x: y" },
        });
        assert_eq!(sections(&text.join("\n")).unwrap(), expected);
        assert_eq!(sections("a: 1\nb").unwrap_err().message, "expected `key: value` in line 2, found \"b\"");
    }
}
