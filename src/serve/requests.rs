//! Requests as they come: JSON objects, whose keys are in camel case, or in snake case as earlier versions of the
//! protocol had them.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::base::json;
use crate::err;

/// The most prompts of one request.
const PROMPTS: usize = 4;

/// Parses the body of a request. Keys get the spelling of the newest version.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let found = json::read::<Value>(body, |e| err!(Format, "expected a request in JSON, found another text: {e}"));
    match found.map(renamed) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Refusal::of_form("expected a request as a JSON object, found another value")),
        Err(error) => Err(Refusal::of_form(error.message)),
    }
}

/// Reads the fields of a request.
pub fn fields<T: DeserializeOwned>(request: Map<String, Value>) -> Result<T, Refusal> {
    T::deserialize(Value::Object(request)).map_err(|e| Refusal::of_form(format!("expected other fields: {e}")))
}

/// Takes the prompts out of a request that has several.
pub fn prompts(request: &mut Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let Some(found) = request.shift_remove("prompts") else {
        return Err(Refusal::of_field("prompts", "missing field `prompts`"));
    };
    let found = Vec::<String>::deserialize(found);
    let prompts = found.map_err(|e| Refusal::of_field("prompts", format!("expected an array of texts: {e}")))?;
    match prompts.len() {
        1..=PROMPTS => Ok(prompts),
        count => Err(err!(Argument, "expected 1 to {PROMPTS} prompts, found {count}").hint("ask several times").into()),
    }
}

/// Returns a value with all keys in camel case. Where a key is given in both cases, camel case counts.
fn renamed(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(renamed).collect(),
        Value::Object(fields) => {
            let mut all = Map::new();
            for (key, value) in fields {
                let name = camel(&key);
                if name == key || !all.contains_key(&name) {
                    all.insert(name, renamed(value));
                }
            }
            Value::Object(all)
        }
        other => other,
    }
}

fn camel(key: &str) -> String {
    let mut words = key.split('_');
    let first = words.next().unwrap_or_default().to_string();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase().to_string());
        [name, first.unwrap_or_default(), letters.as_str().into()].concat()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        object(text.as_bytes()).unwrap().into()
    }

    #[test]
    fn keys_of_both_versions_are_read() {
        let newer = r#"{"nCompletionTokens": 3, "features": [{"steeringVector": [1]}], "model": "a_b"}"#;
        let older = r#"{"n_completion_tokens": 3, "features": [{"steering_vector": [1]}], "model": "a_b"}"#;
        assert_eq!(read(newer), read(older));
        let both = json!({ "topK": 2 });
        assert_eq!(read(r#"{"topK": 2, "top_k": 1}"#), both);
        assert_eq!(read(r#"{"top_k": 1, "topK": 2}"#), both);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "{", "null", "[]", "3", "\"a\"", "\u{0}"] {
            assert!(matches!(object(body.as_bytes()), Err(Refusal::Form { field: None, .. })), "{body}");
        }
    }

    #[test]
    fn as_many_prompts_are_taken_as_one_request_may_have() {
        let taken = |value: Value| prompts(&mut json!({ "prompts": value }).as_object().unwrap().clone());
        assert_eq!(taken(json!(["a", "b"])).unwrap(), ["a", "b"]);
        for wrong in [json!([]), json!(["a", "b", "c", "d", "e"])] {
            assert!(matches!(taken(wrong), Err(Refusal::Request(_))));
        }
        for wrong in [json!("a"), json!([1]), Value::Null] {
            assert!(matches!(taken(wrong), Err(Refusal::Form { field: Some("prompts"), .. })));
        }
        assert!(prompts(&mut Map::new()).is_err());
    }
}
