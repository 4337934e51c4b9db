//! Requests as they come: JSON objects, whose keys are in camel case, or in snake case as earlier versions of the
//! protocol had them. Clients of these versions read answers in snake case alone.

use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::base::json;
use crate::err;

/// The most prompts of one request.
const PROMPTS: usize = 4;

/// The beginning of the name of a client that was generated from the description of an earlier version, such as
/// `OpenAPI-Generator/1.10.1/python`. Many of its requests have no key of several words, which would tell the case.
const EARLIER: &str = "OpenAPI-Generator/";

/// Keys of answers that earlier versions had in camel case, too.
const ALWAYS_CAMEL: [&str; 2] = ["activeFeatures", "hookName"];

/// Case of the keys of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyCase {
    Camel,
    Snake,
}

impl KeyCase {
    /// Returns the case that a client reads, by the name that it gives itself.
    pub fn read_by(headers: &HeaderMap) -> Self {
        let name = headers.get(USER_AGENT).map(|name| name.as_bytes());
        let is_earlier = name.is_some_and(|name| name.starts_with(EARLIER.as_bytes()));
        if is_earlier { Self::Snake } else { Self::Camel }
    }

    /// Returns an answer with its keys in this case.
    pub fn written(self, answer: Value) -> Value {
        match self {
            Self::Camel => answer,
            Self::Snake => renamed(answer, snake),
        }
    }
}

/// Parses the body of a request. Keys get the spelling of the newest version.
pub fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let found = json::read::<Value>(body, |e| err!(Format, "expected a request in JSON, found another text: {e}"));
    match found.map(|value| renamed(value, camel)) {
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

/// Returns a value with all keys in another case. Where a key is given in both cases, that one counts.
fn renamed(value: Value, case: fn(&str) -> String) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(|value| renamed(value, case)).collect(),
        Value::Object(fields) => {
            let mut all = Map::new();
            for (key, value) in fields {
                let name = case(&key);
                if name == key || !all.contains_key(&name) {
                    all.insert(name, renamed(value, case));
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

fn snake(key: &str) -> String {
    if ALWAYS_CAMEL.contains(&key) {
        return key.into();
    }
    let written = |letter: char| if letter.is_ascii_uppercase() { format!("_{letter}") } else { letter.into() };
    key.chars().map(written).collect::<String>().to_ascii_lowercase()
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
    fn a_client_of_an_earlier_version_is_answered_in_its_case() {
        let case = |name: &str| KeyCase::read_by(&HeaderMap::from_iter([(USER_AGENT, name.parse().unwrap())]));
        assert_eq!([case("OpenAPI-Generator/1.10.1/python"), case("node")], [KeyCase::Snake, KeyCase::Camel]);
        assert_eq!(KeyCase::read_by(&HeaderMap::new()), KeyCase::Camel);
        let answer = json!({ "tokenStrings": ["a B"], "results": [{ "activeFeatures": { "3": [[1, 0.5]] } }] });
        let earlier = json!({ "token_strings": ["a B"], "results": [{ "activeFeatures": { "3": [[1, 0.5]] } }] });
        assert_eq!(KeyCase::Snake.written(answer.clone()), earlier);
        assert_eq!(KeyCase::Camel.written(answer.clone()), answer);
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
