//! Fields of JSON as an option.

use serde_json::{Map, Value};

use super::{Plain, Setting};

/// Fields of a config, as JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfigFields(pub Map<String, Value>);

impl Setting for ConfigFields {
    fn wanted() -> String {
        "a map".into()
    }

    fn of(value: &Plain) -> Option<Self> {
        match json(value)? {
            Value::Object(fields) => Some(Self(fields)),
            _ => None,
        }
    }

    fn written(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

fn json(value: &Plain) -> Option<Value> {
    Some(match value {
        Plain::Nothing => Value::Null,
        Plain::Flag(flag) => (*flag).into(),
        Plain::Integer(number) => (*number).into(),
        Plain::Float(number) => (*number).into(),
        Plain::Text(text) => text.as_str().into(),
        Plain::List(values) => values.iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        Plain::Map(fields) => {
            let field = |(key, value): &(String, Plain)| Some((key.clone(), json(value)?));
            Value::Object(fields.iter().map(field).collect::<Option<_>>()?)
        }
        Plain::Other(_) => return None,
    })
}
