//! Fields of JSON as an option.

use serde_json::{Map, Number, Value};

use super::{ElementFault, Plain, Setting};

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

    fn fault(value: &Plain) -> Option<ElementFault<'_>> {
        let Plain::Map(_) = value else { return None };
        fault(String::new(), value)
    }
}

/// Finds the first value that JSON does not have. A number that is infinite or none would be read as null.
fn fault(place: String, value: &Plain) -> Option<ElementFault<'_>> {
    match value {
        Plain::Float(number) if !number.is_finite() => Some(ElementFault::new(place, "a finite number".into(), value)),
        Plain::Other(_) => Some(ElementFault::new(place, "a value that JSON has".into(), value)),
        Plain::List(values) => {
            values.iter().enumerate().find_map(|(index, value)| fault(format!("{place}[{index}]"), value))
        }
        Plain::Map(fields) => fields.iter().find_map(|(name, value)| fault(format!("{place}.{name}"), value)),
        _ => None,
    }
}

fn json(value: &Plain) -> Option<Value> {
    Some(match value {
        Plain::Nothing => Value::Null,
        Plain::Flag(flag) => (*flag).into(),
        Plain::Integer(number) => (*number).into(),
        Plain::Float(number) => Value::Number(Number::from_f64(*number)?),
        Plain::Text(text) => text.as_str().into(),
        Plain::List(values) => values.iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        Plain::Map(fields) => {
            let field = |(key, value): &(String, Plain)| Some((key.clone(), json(value)?));
            Value::Object(fields.iter().map(field).collect::<Option<_>>()?)
        }
        Plain::Other(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Field;

    #[test]
    fn what_json_does_not_have_is_refused_with_its_place() {
        let field = Field::new("config", &["Fields."], &ConfigFields::default());
        let map =
            |value: Plain| Plain::Map(vec![("a".into(), Plain::Map(vec![("b".into(), Plain::List(vec![value]))]))]);
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let refused = field.taken::<ConfigFields>(&map(Plain::Float(number))).unwrap_err();
            let found = Plain::Float(number).described();
            assert_eq!(refused.message, format!("expected a finite number for `config.a.b[0]`, found {found}"));
        }
        let taken = field.taken::<ConfigFields>(&map(Plain::Float(0.5))).unwrap();
        assert_eq!(taken.written(), "{\"a\":{\"b\":[0.5]}}");
        let refused = field.taken::<ConfigFields>(&Plain::Float(f64::NAN)).unwrap_err();
        assert_eq!(refused.message, "expected a map for `config`, found float NaN");
    }
}
