//! Names of models: where a model is from, and the hooks that it keeps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text between the origin of a model and the hooks that it keeps, where both are shown or recorded as one text.
const KEEPING: &str = ", with ";

/// Text between two hooks.
const BETWEEN: &str = "; ";

/// The name of a model in what is shown and recorded. It is one text in files, `tiny, with zero at mlp_out.0`, and is
/// read from it where a file is read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ModelName {
    /// The source of the model: a path, or `org/name@commit`.
    pub origin: String,
    /// Descriptions of the hooks that the model keeps.
    pub hooks: Vec<String>,
}

impl ModelName {
    /// Returns the names of several models as one text, as what is of all of them names them.
    pub fn joined(names: &[Self]) -> String {
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if self.hooks.is_empty() {
            return Ok(());
        }
        write!(f, "{KEEPING}{}", self.hooks.join(BETWEEN))
    }
}

impl From<&str> for ModelName {
    fn from(text: &str) -> Self {
        match text.split_once(KEEPING) {
            None => Self { origin: text.into(), hooks: Vec::new() },
            Some((origin, hooks)) => {
                Self { origin: origin.into(), hooks: hooks.split(BETWEEN).map(String::from).collect() }
            }
        }
    }
}

impl From<String> for ModelName {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_text_in_files_and_comes_back_from_it() {
        for text in ["", "org/small@main", "a, b", "tiny, with zero at embed; 2 x at z.0", "x, with ", ", with a; "] {
            let name = ModelName::from(text);
            assert_eq!(name.to_string(), text);
            assert_eq!(serde_json::to_value(&name).unwrap(), text);
        }
        let name = ModelName::from("tiny, with zero at embed; 2 x at z.0");
        assert_eq!((name.origin.as_str(), name.hooks.len()), ("tiny", 2));
        assert!(ModelName::from("a, b").hooks.is_empty());
    }
}
