//! The general solver: a program that answers by calls alone. It sees the words of a question, what they are about, and the
//! form of the answer; it measures every possible answer with one script for each quantity, and measures on more data where
//! the two best are near each other.
//!
//! Its scripts were written while the questions of the seeds 1 to 20 were looked at.

use serde_json::{Map, Value, json};

use super::calls::Calls;
use super::questions::{Asked, Field};

/// A quantity that is measured: the script, and how far the best answer's score must lie above the second's.
struct Quantity {
    script: &'static str,
    margins: &'static [(&'static str, f64)],
}

/// How much data is measured on, in multiples of the least.
const SIZES: [usize; 3] = [1, 2, 4];

/// Returns the quantity of an answer by the names of its parts.
fn quantity(asked: &Asked) -> Option<Quantity> {
    let names: Vec<&str> = asked.fields.iter().map(|(name, _)| name.as_str()).collect();
    let (script, margins): (_, &[(&str, f64)]) = match names.as_slice() {
        ["head"] => (include_str!("solve/head.rhai"), &[("head", 0.5)]),
        ["edge"] => (include_str!("solve/edge.rhai"), &[("edge", 0.5)]),
        ["circuit"] => (include_str!("solve/circuit.rhai"), &[("circuit", 0.03)]),
        ["layer"] => (include_str!("solve/layer.rhai"), &[("layer", 0.0)]),
        ["subspace"] => (include_str!("solve/subspace.rhai"), &[("subspace", 0.1)]),
        ["token"] => (include_str!("solve/token.rhai"), &[("token", 0.3)]),
        ["layer", "token"] => (include_str!("solve/adapter.rhai"), &[("layer", 1.0), ("token", 0.1)]),
        ["site"] => (include_str!("solve/site.rhai"), &[("site", 0.04)]),
        ["feature"] => (include_str!("solve/feature.rhai"), &[("feature", 0.03)]),
        ["number"] => (include_str!("solve/number.rhai"), &[]),
        _ => return None,
    };
    Some(Quantity { script, margins })
}

/// Answers a question.
pub fn solve(asked: &Asked, calls: &mut dyn Calls) -> Result<Value, String> {
    let quantity = quantity(asked).ok_or("an answer of no known form")?;
    let mut best = Err("nothing was measured".to_string());
    for size in SIZES {
        let reply = calls.run(&script(quantity.script, asked, size));
        if reply.is_error {
            best = best.or(Err(reply.text));
            continue;
        }
        let (answer, is_clear) = chosen(asked, &reply.value, quantity.margins)?;
        best = Ok(answer);
        if is_clear {
            break;
        }
    }
    best
}

/// Returns the text of a script with what a question is about before it.
pub fn script(text: &str, asked: &Asked, size: usize) -> String {
    let quoted = |value: &Value| Value::String(value.to_string()).to_string();
    format!(
        "let about = parse_json({});\nlet answer = parse_json({});\nlet size = {size};\n{text}",
        quoted(&asked.about),
        quoted(&asked.schema),
    )
}

/// Chooses for each part of an answer what has the largest score, or the number that was found; and says whether all were
/// clear.
pub fn chosen(asked: &Asked, found: &Value, margins: &[(&str, f64)]) -> Result<(Value, bool), String> {
    let mut answer = Map::new();
    let mut is_clear = true;
    for (name, field) in &asked.fields {
        let value = match &found[name] {
            Value::Object(scores) => {
                let mut ranked: Vec<(&String, f64)> =
                    scores.iter().map(|(key, score)| (key, score.as_f64().unwrap_or(f64::NEG_INFINITY))).collect();
                ranked.sort_by(|one, other| other.1.total_cmp(&one.1));
                let (key, score) = ranked.first().ok_or(format!("no scores of `{name}`"))?;
                let margin = margins.iter().find(|(of, _)| of == name).map_or(0.0, |(_, margin)| *margin);
                is_clear &= ranked.get(1).is_none_or(|(_, second)| score - second >= margin);
                match field {
                    Field::Integer { .. } => json!(key.parse::<i64>().map_err(|e| format!("`{key}`: {e}"))?),
                    _ => json!(key),
                }
            }
            Value::Null => return Err(format!("nothing was found of `{name}`: {found}")),
            number => number.clone(),
        };
        answer.insert(name.clone(), value);
    }
    Ok((Value::Object(answer), is_clear))
}
